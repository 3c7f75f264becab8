"""Recipes: what is trained, on what, for how long. One function each; `recipes()` lists them.

A recipe names folders relative to the data folder that the user gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from depth_ros.errors import DepthRosError

MODEL = "model:"
"""What `Recipe.start` begins with where it names a model."""


@dataclass(frozen=True)
class Source:
    """One origin of training images.

    folder: below the data folder, or "world:street" / "world:room" for rendered scenes (`count` of them; for video,
    clips of `frames` at `rate` Hz, 0 = usual), or "world:pairs" for stereo pairs, new in every epoch (`count` each).
    part: "training" (what datasets.split keeps for it) or "all". right_eye: also learn from the right image.
    stereo: weight of depth matched between the eyes where there is no truth; 0 = not used.
    """

    folder: str
    part: str = "training"
    right_eye: bool = False
    stereo: float = 0.0
    count: int = 0
    frames: int = 5
    rate: float = 0.0
    repeat: int = 1


@dataclass(frozen=True)
class Recipe:
    """What `loop.train` needs. width, height: px of the training crops. zoom: widest crop / narrowest crop.

    roll: the camera is turned about its axis by up to so many degrees. average: decay of the weights' average.
    start: the recipe whose trained weights this one begins with, or `model:` and the name or folder of a model, which
    is then refined: its batch norms stay folded, its settings stay but for `settings`. parts_of: a model, perhaps of
    another family, that lends what has the same name and shape.
    scale: what the card says of the depth: "metric" or "up_to_scale"; the latter is validated under median scaling.
    supervision: "depth"; "planes" for depth and planes; "stereo" for families that learn from pairs alone;
    "disparity" for pairs with truth: then sources with one eye lend only the textures of "world:pairs"; or "video"
    for families that learn from clips of `frames`. Clips between whose frames the image moves less than
    least_motion, px, are left out; moving: so many things drive about in rendered clips.
    Of single images and clips: mirror: half are mirrored; recolour: they get other brightness, colours, sharpness.
    deployed: width and height of the images that the model is for, where crops are smaller: whole images at the size
    of the crops are smaller in scale than any crop was.
    loss: what differs from the family's `LossSettings`.
    """

    name: str
    family: str
    width: int
    height: int
    sources: tuple[Source, ...]
    validation: tuple[str, ...]
    description: str
    licence: str
    terms: str
    settings: dict[str, Any] = field(default_factory=dict)
    steps: int = 3000
    batch: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    zoom: float = 1.6
    roll: float = 0.0
    seed: int = 0
    scale: str = "metric"
    supervision: str = "depth"
    start: str = ""
    parts_of: str = ""
    validate_every: int = 250
    deployed: tuple[int, int] | None = None
    average: float = 0.995
    frames: int = 3
    least_motion: float = 0.5
    mirror: bool = True
    recolour: bool = True
    moving: int = 3
    loss: dict[str, Any] = field(default_factory=dict)

    @property
    def refines(self) -> str:
        """The model that it begins with, by name or folder; empty if it begins otherwise."""
        return self.start.removeprefix(MODEL) if self.start.startswith(MODEL) else ""


def mono_driving_start() -> Recipe:
    """What mono_driving begins with: roads of every kind at hand, wide augmentation."""
    return Recipe(
        name="mono_driving_start",
        family="compact",
        width=640,
        height=192,
        sources=(
            Source("kitti2015_stereo", right_eye=True, stereo=0.2, repeat=2),
            Source("kitti_raw_jam"),
            Source("kitti_odometry_06", part="all", stereo=0.3),
            Source("world:street", count=240),
        ),
        validation=("kitti2015_stereo",),
        description="Metric depth from one camera on roads, trained on KITTI and rendered streets",
        licence="CC BY-NC-SA 3.0 (weights, as the KITTI data); code Apache-2.0",
        terms="Non-commercial: trained on KITTI (CC BY-NC-SA 3.0, Geiger et al. 2012, Menze and Geiger 2015).",
        steps=2200,
    )


def mono_driving() -> Recipe:
    """Metric depth on the road from one camera: mono_driving_start, refined on the data with the best truth."""
    return replace(
        mono_driving_start(),
        name="mono_driving",
        start="mono_driving_start",
        sources=(
            Source("kitti2015_stereo", right_eye=True, stereo=0.2, repeat=2),
            Source("kitti_raw_jam"),
            Source("world:street", count=60),
        ),
        width=736,
        height=224,
        steps=900,
        learning_rate=5e-4,
        weight_decay=0.05,
        zoom=1.4,
        roll=2.0,
    )


def mono_indoor() -> Recipe:
    """Metric depth in rooms from one camera."""
    return Recipe(
        name="mono_indoor",
        family="compact",
        width=320,
        height=224,
        sources=(
            Source("hololens_office", repeat=2),
            Source("tum_fr1_rpy", repeat=2),
            Source("world:room", count=240),
        ),
        validation=("hololens_office", "tum_fr1_rpy"),
        description="Metric depth from one camera in rooms, trained on HoloLens, TUM RGB-D and rendered rooms",
        licence="Apache-2.0",
        terms=(
            "Trained on hololens_office (MIT, deep-video-mvs repository, Duzceker et al. 2021) and "
            "TUM RGB-D freiburg1_rpy (CC BY 4.0, Sturm et al. 2012)."
        ),
        steps=1300,
        roll=15.0,
    )


def planes_indoor() -> Recipe:
    """Planes of rooms from one camera: planenet with the small network, which knows depth from mono_indoor."""
    return replace(
        mono_indoor(),
        name="planes_indoor",
        family="planenet",
        parts_of="mono_indoor",
        width=192,
        height=128,
        deployed=(256, 192),
        sources=(
            Source("hololens_office"),
            Source("tum_fr1_rpy"),
            Source("world:room", count=500),
        ),
        description="Planes and depth from one camera in rooms, trained on HoloLens, TUM RGB-D and rendered rooms",
        settings={
            "network": "lite",
            "fitted": True,
            "planes": 20,
            "matching": "masks",
            "crf_iterations": 0,
            "max_depth": 20.0,
            "folded": True,
        },
        steps=700,
        learning_rate=5e-4,
        supervision="planes",
    )


def planes_room() -> Recipe:
    """Planes of one room that the camera has seen, whose images are taken as they are: with --on, of one's own.

    There a plane's distance follows from what is seen, and not from what rooms are like in general.
    """
    return replace(
        planes_indoor(),
        name="planes_room",
        width=256,
        height=192,
        deployed=None,
        sources=(Source("hololens_office"),),
        validation=("hololens_office",),
        description="Planes and depth from one camera in the room where it learned",
        steps=4400,
        batch=4,
        learning_rate=1e-3,
        validate_every=1100,
        zoom=1.1,
        roll=0.0,
        mirror=False,
        recolour=False,
    )


def monodepth_kitti() -> Recipe:
    """monodepth from stereo pairs alone, as published (Godard et al. 2017), at the published size."""
    return Recipe(
        name="monodepth_kitti",
        family="monodepth",
        width=512,
        height=256,
        sources=(Source("kitti2015_stereo"), Source("kitti_odometry_06", part="all")),
        validation=("kitti2015_stereo",),
        description="monodepth (VGG encoder), learned from stereo pairs without depth truth",
        licence="CC BY-NC-SA 3.0 (weights, as the KITTI data); see the note on patents",
        terms="Non-commercial: trained on KITTI (CC BY-NC-SA 3.0).",
        learning_rate=1e-4,
        weight_decay=0.0,
        supervision="stereo",
    )


def fcrn_indoor() -> Recipe:
    """FCRN's up-projections and loss (Laina et al. 2016) behind a small encoder, in rooms."""
    return replace(
        mono_indoor(),
        name="fcrn_indoor",
        family="fcrn",
        width=224,
        height=160,
        deployed=(256, 192),
        description="FCRN (EfficientNet-Lite0 encoder), trained on HoloLens, TUM RGB-D and rendered rooms",
        settings={"backbone": "lite0"},
        steps=1000,
    )


def mannequin_indoor() -> Recipe:
    """The single-image network of Li et al. (2019), a quarter as wide, from scratch on rooms; depth up to scale."""
    return replace(
        mono_indoor(),
        name="mannequin_indoor",
        family="mannequin",
        width=128,
        height=96,
        deployed=(160, 128),
        description="mannequin (single image, a quarter of the channels), trained on HoloLens, TUM RGB-D and rooms",
        settings={"narrow": 4},
        scale="up_to_scale",
        steps=600,
        weight_decay=0.0,
        learning_rate=2e-3,
    )


def _video(name: str, family: str, settings: dict[str, Any], **changes: Any) -> Recipe:
    """What the recipes from video share: clips of rendered streets, at the size that two cores train in an hour.

    SfMLearner and vid2depth smooth the disparity as it is, which starts near 5: with the published weights a wall at
    one distance costs less than the truth until, after very many steps, all disparities have shrunk. Weights that
    make the truth the cheapest from the start reach it in few (measured on rendered depth at this size). The networks
    are half as wide as published, which at this size takes less than half the time; but for vid2depth's, which learn
    more in 5000 steps than those of half the width in 12000.
    """
    rendered = Recipe(
        name=name,
        family=family,
        width=224,
        height=64,
        sources=(Source("world:street", count=1000, frames=3),),
        validation=("world:street",),
        description=f"{family}, learned from video of rendered streets without depth truth",
        licence="Apache-2.0",
        terms="Trained on rendered images alone.",
        settings={"narrow": 2, **settings},
        steps=3000,
        batch=4,
        learning_rate=3e-4,
        weight_decay=0.0,
        zoom=1.15,
        supervision="video",
        validate_every=500,
    )
    return replace(rendered, **changes)


def _kitti(recipe: Recipe, name: str, **changes: Any) -> Recipe:
    """Goes on from a recipe with the frames of a car: the last fifth of each drive is kept out, and the whole of the
    jam. Since these frames are few, and all fast, also with rendered streets, at two speeds."""
    return replace(
        recipe,
        name=name,
        start=recipe.name,
        learning_rate=3e-4,
        sources=(
            Source("kitti_raw_city"),
            Source("kitti_raw_road"),
            Source("kitti_odometry_06", part="all"),
            Source("world:street", count=40),
            Source("world:street", count=40, rate=30.0),
        ),
        validation=("kitti_raw_city", "kitti_raw_road", "kitti_raw_jam"),
        description=f"{recipe.family}, learned from the video of a car without depth truth",
        licence="CC BY-NC-SA 3.0 (weights, as the KITTI data); code Apache-2.0",
        terms="Non-commercial: trained on KITTI (CC BY-NC-SA 3.0, Geiger et al. 2012).",
        **changes,
    )


def sfmlearner_street_start() -> Recipe:
    """What sfmlearner_street begins with: smooth depth, and no mask yet, which would say that all can be explained."""
    return _video(
        "sfmlearner_street_start",
        "sfmlearner",
        settings={},
        loss={"smoothness_weight": 0.005},
        sources=(Source("world:street", count=300),),
        learning_rate=1e-3,
        steps=8000,
        moving=0,
    )


def sfmlearner_street() -> Recipe:
    """SfMLearner (Zhou et al. 2017) from rendered streets in which nothing moves, as it takes for granted.

    The published weight of the mask's regulariser belongs to images in -1..1; here they are in 0..1.
    """
    start = sfmlearner_street_start()
    return replace(
        start,
        name="sfmlearner_street",
        start=start.name,
        settings={**start.settings, "explain": True},
        loss={"smoothness_weight": 0.00125, "explain_weight": 0.1},
        learning_rate=3e-4,
        steps=2000,
    )


def sfmlearner_kitti() -> Recipe:
    """sfmlearner_street, gone on with KITTI."""
    loss = {**sfmlearner_street().loss, "smoothness_weight": 0.005}
    return _kitti(sfmlearner_street(), "sfmlearner_kitti", loss=loss, steps=1500)


def vid2depth_street() -> Recipe:
    """vid2depth (Mahjourian et al. 2018) from rendered streets in which nothing moves, as it takes for granted.

    What the alignment leaves over counts as a share of depth: as a length, with the published weight, it makes depth
    worse than the recipe without it, since what is far and blurred outweighs all else.
    """
    loss = {"smoothness_weight": 0.006, "alignment_relative": True}
    return _video(
        "vid2depth_street", "vid2depth", {"narrow": 1}, loss=loss, learning_rate=1e-3, steps=5000, moving=0
    )


def vid2depth_street_unaligned() -> Recipe:
    """The same without the loss between clouds, to see what that is worth."""
    aligned = vid2depth_street()
    loss = {**aligned.loss, "alignment_weight": 0.0}
    return replace(aligned, name="vid2depth_street_unaligned", loss=loss)


def vid2depth_street_narrow() -> Recipe:
    """vid2depth_street with networks half as wide, in less than half the time."""
    return replace(vid2depth_street(), name="vid2depth_street_narrow", settings={"narrow": 2})


def vid2depth_kitti() -> Recipe:
    """vid2depth_street_narrow, gone on with KITTI."""
    return _kitti(vid2depth_street_narrow(), "vid2depth_kitti", steps=2000)


def struct2depth_street_start() -> Recipe:
    """What struct2depth_street begins with: smooth depth, whose cars stand on the road.

    With the published motion_scale 0.001 it takes many more steps until anything moves; with the published weight of
    the size prior, 0.0005, as many until cars that are as high are said to be as far.
    """
    return _video(
        "struct2depth_street_start",
        "struct2depth",
        settings={"motion_scale": 0.01},
        loss={"size_weight": 0.02},
        learning_rate=6e-4,
        steps=6000,
    )


def struct2depth_street() -> Recipe:
    """struct2depth (Casser et al. 2019) from rendered streets with moving cars, whose masks are given.

    A quarter of the smoothness and of the size prior, once they are no longer needed to tell what moves from what is
    near: with so little from the beginning, cars that move with the camera come too close.
    """
    return replace(
        struct2depth_street_start(),
        name="struct2depth_street",
        start="struct2depth_street_start",
        loss={"size_weight": 0.005, "smoothness_weight": 0.01},
        learning_rate=3e-4,
        steps=2000,
    )


def struct2depth_street_still_start() -> Recipe:
    """What struct2depth_street_still begins with."""
    return _still(struct2depth_street_start())


def struct2depth_street_still() -> Recipe:
    """The same without motions of objects, to see what they are worth."""
    return _still(struct2depth_street())


def _still(moved: Recipe) -> Recipe:
    name, start = (each.replace("street", "street_still") for each in (moved.name, moved.start))
    return replace(moved, name=name, start=start, loss={**moved.loss, "motion": False})


def struct2depth_kitti() -> Recipe:
    """struct2depth_street, gone on with KITTI; there are no masks, so that nothing moves on its own."""
    return _kitti(
        struct2depth_street(), "struct2depth_kitti", loss=struct2depth_street_start().loss, steps=2500
    )


def stereo_start() -> Recipe:
    """What stereo begins with: generated pairs, so that it matches anything, and a few recorded ones."""
    return Recipe(
        name="stereo_start",
        family="stereo",
        width=512,
        height=256,
        deployed=(1248, 384),
        sources=(
            Source("kitti2015_stereo"),
            Source("hololens_office"),
            Source("tum_fr1_rpy"),
            Source("kitti_raw_city", part="all"),
            Source("world:pairs", count=350),
        ),
        validation=("kitti2015_stereo",),
        description="Disparity and its standard deviation from rectified pairs, trained on KITTI and generated pairs",
        licence="CC BY-NC-SA 3.0 (weights, as the KITTI data); code Apache-2.0",
        terms=(
            "Non-commercial: trained on KITTI (CC BY-NC-SA 3.0, Geiger et al. 2012, Menze and Geiger 2015). "
            "Textures of generated pairs from KITTI, hololens_office (MIT) and TUM RGB-D freiburg1_rpy (CC BY 4.0)."
        ),
        steps=2200,
        batch=2,
        average=0.998,
        learning_rate=8e-4,
        validate_every=500,
        zoom=1.5,
        supervision="disparity",
    )


def stereo() -> Recipe:
    """Stereo of any kind, refined on roads: stereo_start, then more recorded pairs than generated ones."""
    start = stereo_start()
    return replace(
        start,
        name="stereo",
        start="stereo_start",
        sources=(*(replace(s, count=90) if s.count else s for s in start.sources),),
        steps=2800,
        learning_rate=5e-4,
    )


_ALL = (
    mono_driving_start, mono_driving, mono_indoor, planes_indoor, planes_room, monodepth_kitti, stereo_start, stereo,
    sfmlearner_street_start, sfmlearner_street, sfmlearner_kitti, vid2depth_street, vid2depth_street_unaligned,
    vid2depth_street_narrow, vid2depth_kitti,
    struct2depth_street_start, struct2depth_street, struct2depth_street_still_start, struct2depth_street_still,
    struct2depth_kitti, fcrn_indoor, mannequin_indoor,
)  # fmt: skip


def on_own_data(recipe: Recipe, start: str, folders: Sequence[str]) -> Recipe:
    """The recipe, beginning with the model `start` if one is given, on `folders` if there are any: their measured depth
    and, beside it, what the recipe renders. Figures of training are those of the part that is held out of them."""
    if start:
        recipe = replace(recipe, name=f"{recipe.name}_own", start=f"{MODEL}{start}")
    if folders:
        rendered = tuple(source for source in recipe.sources if source.folder.startswith("world:"))
        own = tuple(Source(folder) for folder in folders)
        recipe = replace(
            recipe,
            name=f"{recipe.name.removesuffix('_own')}_own",
            sources=(*own, *rendered),
            validation=tuple(folders),
        )
    return recipe


def recipes() -> list[str]:
    """The names of all recipes."""
    return [make.__name__ for make in _ALL]


def recipe(name: str) -> Recipe:
    """A recipe by name. Raises DepthRosError naming the known ones."""
    for make in _ALL:
        if make.__name__ == name:
            return make()
    raise DepthRosError(f"unknown recipe '{name}'; known are {', '.join(recipes())}")
