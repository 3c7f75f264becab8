"""Recipes: what is trained, on what, for how long. One function each; `recipes()` lists them.

A recipe names folders relative to the data folder that the user gives.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from depth_ros.errors import DepthRosError


@dataclass(frozen=True)
class Source:
    """One origin of training images.

    folder: below the data folder, or "world:street" / "world:room" for rendered scenes (`count` of them).
    part: "training" (what datasets.split keeps for it) or "all". right_eye: also learn from the right image.
    stereo: weight of depth matched between the eyes where there is no truth; 0 = not used.
    """

    folder: str
    part: str = "training"
    right_eye: bool = False
    stereo: float = 0.0
    count: int = 0
    repeat: int = 1


@dataclass(frozen=True)
class Recipe:
    """What `loop.train` needs. width, height: px of the training crops. zoom: widest crop / narrowest crop.

    roll: the camera is turned about its axis by up to so many degrees. average: decay of the weights' average.
    start: the recipe whose trained weights this one begins with.
    scale: what the card says of the depth: "metric" or "up_to_scale"; the latter is validated under median scaling.
    supervision: "depth", or "stereo" for families that learn from pairs alone.
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
    validate_every: int = 250
    average: float = 0.995


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
        description="FCRN (EfficientNet-Lite0 encoder), trained on HoloLens, TUM RGB-D and rendered rooms",
        settings={"backbone": "lite0"},
        steps=1200,
    )


def mannequin_indoor() -> Recipe:
    """The single-image network of Li et al. (2019), a quarter as wide, from scratch on rooms; depth up to scale."""
    return replace(
        mono_indoor(),
        name="mannequin_indoor",
        family="mannequin",
        width=224,
        height=160,
        description="mannequin (single image, a quarter of the channels), trained on HoloLens, TUM RGB-D and rooms",
        settings={"narrow": 4},
        scale="up_to_scale",
        steps=2200,
        weight_decay=0.0,
        learning_rate=2e-3,
    )


_ALL = (mono_driving_start, mono_driving, mono_indoor, monodepth_kitti, fcrn_indoor, mannequin_indoor)


def recipes() -> list[str]:
    """The names of all recipes."""
    return [make.__name__ for make in _ALL]


def recipe(name: str) -> Recipe:
    """A recipe by name. Raises DepthRosError naming the known ones."""
    for make in _ALL:
        if make.__name__ == name:
            return make()
    raise DepthRosError(f"unknown recipe '{name}'; known are {', '.join(recipes())}")
