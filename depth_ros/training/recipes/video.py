"""Recipes that learn from video alone: rendered streets and KITTI.

The published smoothness weights of SfMLearner and vid2depth apply to disparity in its own unit, which starts near 5:
with them a fronto-parallel wall costs less than the true scene until, after very many steps, all disparities have
shrunk. The weights here make the true scene the cheapest from the start (measured on rendered depth at this size).
"""

from __future__ import annotations

from dataclasses import replace

from depth_ros.training.crop import CropSettings
from depth_ros.training.data.clip import ClipSettings
from depth_ros.training.data.source import Source, held_out
from depth_ros.training.recipes.recipe import Recipe
from depth_ros.training.supervision.video import VideoSupervision

HELD_OUT_SCENES = 6
"""Number of rendered recordings for validation."""
STATIC_SCENES = VideoSupervision(ClipSettings(moving_count=0))
"""Clips of scenes without moving objects, which SfMLearner and vid2depth assume."""


def _street(name: str, family: str) -> Recipe:
    """Clips of rendered streets, at a size that trains on two cores in an hour.

    The networks have half the published width, which at this size takes less than half the time.
    """
    return Recipe(
        name=name,
        family=family,
        crop=CropSettings(224, 64, zoom=1.15),
        sources=(Source("world:street", count=1000, frames=3),),
        validation=(Source("world:street", part="held_out", count=HELD_OUT_SCENES),),
        description=f"{family}, learned from video of rendered streets without ground-truth depth",
        licence="Apache-2.0",
        terms="Trained on rendered images alone.",
        settings={"width_divisor": 2},
        supervision=VideoSupervision(),
        steps=3000,
        batch_size=4,
        learning_rate=3e-4,
        weight_decay=0.0,
        validate_every=500,
    )


def _continued_on_kitti(recipe: Recipe, name: str, steps: int) -> Recipe:
    """A recipe continued on recordings of a car. The last fifth of each drive and the whole traffic jam are held out.

    Rendered streets at two speeds are added, since the recorded frames are few and all fast.
    """
    return replace(
        recipe,
        name=name,
        start_recipe=recipe.name,
        steps=steps,
        learning_rate=3e-4,
        sources=(
            Source("kitti_raw_city"),
            Source("kitti_raw_road"),
            Source("kitti_odometry_06", part="all"),
            Source("world:street", count=40),
            Source("world:street", count=40, rate=30.0),
        ),
        validation=(
            held_out("kitti_raw_city"),
            held_out("kitti_raw_road"),
            Source("kitti_raw_jam", part="all"),
        ),
        description=f"{recipe.family}, learned from the video of a car without ground-truth depth",
        licence="CC BY-NC-SA 3.0 (weights, as the KITTI data); code Apache-2.0",
        terms="Non-commercial: trained on KITTI (CC BY-NC-SA 3.0, Geiger et al. 2012).",
    )


def sfmlearner_street_start() -> Recipe:
    """Pre-training for sfmlearner_street: smooth depth, without the explainability mask, which at first would explain
    everything."""
    return replace(
        _street("sfmlearner_street_start", "sfmlearner"),
        sources=(Source("world:street", count=300),),
        supervision=STATIC_SCENES,
        loss_settings={"smoothness_weight": 0.01, "outside": "ignored"},
        learning_rate=1e-3,
        steps=8000,
    )


def sfmlearner_street() -> Recipe:
    """SfMLearner (Zhou et al. 2017) from rendered streets without moving objects."""
    start = sfmlearner_street_start()
    return replace(
        start,
        name="sfmlearner_street",
        start_recipe=start.name,
        settings={**start.settings, "explain": True},
        loss_settings={**start.loss_settings, "smoothness_weight": 0.0025, "explain_weight": 0.1},
        learning_rate=3e-4,
        steps=2000,
    )


def sfmlearner_kitti() -> Recipe:
    """sfmlearner_street, continued on KITTI."""
    start = sfmlearner_street()
    loss_settings = {**start.loss_settings, "smoothness_weight": 0.01}
    return replace(_continued_on_kitti(start, "sfmlearner_kitti", steps=1500), loss_settings=loss_settings)


def vid2depth_street() -> Recipe:
    """vid2depth (Mahjourian et al. 2018) from rendered streets without moving objects.

    The networks have the published width: in 5000 steps they learn more than those of half the width in 12000.
    The residual of the alignment is relative to depth: as a length, with the published weight, it makes depth worse
    than no alignment, since distant blurred points dominate it.
    """
    return replace(
        _street("vid2depth_street", "vid2depth"),
        settings={"width_divisor": 1},
        supervision=STATIC_SCENES,
        loss_settings={"smoothness_weight": 0.006, "alignment_relative": True},
        learning_rate=1e-3,
        steps=5000,
    )


def vid2depth_street_unaligned() -> Recipe:
    """vid2depth_street without the alignment loss, for comparison."""
    aligned = vid2depth_street()
    loss_settings = {**aligned.loss_settings, "alignment_weight": 0.0}
    return replace(aligned, name="vid2depth_street_unaligned", loss_settings=loss_settings)


def vid2depth_street_narrow() -> Recipe:
    """vid2depth_street with networks of half the width, in less than half the time."""
    return replace(vid2depth_street(), name="vid2depth_street_narrow", settings={"width_divisor": 2})


def vid2depth_kitti() -> Recipe:
    """vid2depth_street_narrow, continued on KITTI."""
    return _continued_on_kitti(vid2depth_street_narrow(), "vid2depth_kitti", steps=2000)


def struct2depth_street_start() -> Recipe:
    """Pre-training for struct2depth_street: smooth depth, with cars at the depth of the road below them.

    With the published motion_scale, 0.001, it takes many more steps until any motion is predicted; with the published
    weight of the size prior, 0.0005, as many until cars of the same height get the same depth.
    """
    street = _street("struct2depth_street_start", "struct2depth")
    return replace(
        street,
        settings={**street.settings, "motion_scale": 0.01},
        loss_settings={"size_weight": 0.02, "size_prior": "paper"},
        learning_rate=6e-4,
        steps=6000,
    )


def struct2depth_street() -> Recipe:
    """struct2depth (Casser et al. 2019) from rendered streets with moving cars, whose masks are given.

    Smoothness and size prior have a quarter of their weight, now that they are no longer needed to distinguish moving
    objects from near ones: with such small weights from the start, cars that move with the camera come too close.
    """
    return replace(
        struct2depth_street_start(),
        name="struct2depth_street",
        start_recipe="struct2depth_street_start",
        loss_settings={"size_weight": 0.005, "size_prior": "paper", "smoothness_weight": 0.01},
        learning_rate=3e-4,
        steps=2000,
    )


def struct2depth_street_still_start() -> Recipe:
    """Pre-training for struct2depth_street_still."""
    return _without_object_motion(struct2depth_street_start())


def struct2depth_street_still() -> Recipe:
    """struct2depth_street without object motion, for comparison."""
    return _without_object_motion(struct2depth_street())


def _without_object_motion(recipe: Recipe) -> Recipe:
    name, start = (each.replace("street", "street_still") for each in (recipe.name, recipe.start_recipe))
    loss_settings = {**recipe.loss_settings, "motion": False}
    return replace(recipe, name=name, start_recipe=start, loss_settings=loss_settings)


def struct2depth_kitti() -> Recipe:
    """struct2depth_street, continued on KITTI, where no masks are given and no object moves on its own."""
    recipe = _continued_on_kitti(struct2depth_street(), "struct2depth_kitti", steps=2500)
    return replace(recipe, loss_settings=struct2depth_street_start().loss_settings)
