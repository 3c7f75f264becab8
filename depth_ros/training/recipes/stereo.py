"""Recipes that learn from rectified stereo pairs."""

from __future__ import annotations

from dataclasses import replace

from depth_ros.training.crop import CropSettings
from depth_ros.training.data.source import Source, held_out
from depth_ros.training.recipes.recipe import Recipe
from depth_ros.training.supervision.disparity import DisparitySupervision
from depth_ros.training.supervision.stereo_pairs import StereoPairSupervision

TRAINING_WORLDS = ("hospital", "small_house", "small_warehouse")
"""Buildings of the path-traced rooms to learn from."""
HELD_OUT_WORLD = "bookstore"
"""The building that models are measured on."""


def monodepth_kitti() -> Recipe:
    """monodepth from stereo pairs without ground truth, as published (Godard et al. 2017), at the published size."""
    return Recipe(
        name="monodepth_kitti",
        family="monodepth",
        crop=CropSettings(512, 256, fit="stretch"),
        sources=(Source("kitti2015_stereo"), Source("kitti_odometry_06", part="all")),
        validation=(held_out("kitti2015_stereo"),),
        description="monodepth (VGG encoder), learned from stereo pairs without ground-truth depth",
        licence="CC BY-NC-SA 3.0 (weights, as the KITTI data); see the note on patents",
        terms="Non-commercial: trained on KITTI (CC BY-NC-SA 3.0).",
        supervision=StereoPairSupervision(),
        learning_rate=1e-4,
        weight_decay=0.0,
    )


def monodepth_resnet50_kitti() -> Recipe:
    """The same with the published ResNet-50 encoder."""
    return replace(
        monodepth_kitti(),
        name="monodepth_resnet50_kitti",
        description="monodepth (ResNet-50 encoder), learned from stereo pairs without ground-truth depth",
        settings={"encoder": "resnet50"},
    )


def monodepth_stereo_kitti() -> Recipe:
    """The published variant that takes both images: disparity from pairs, learned without ground truth."""
    return replace(
        monodepth_kitti(),
        name="monodepth_stereo_kitti",
        description="monodepth for stereo pairs (VGG encoder of both images), learned without ground-truth depth",
        settings={"stereo": True},
    )


def stereo() -> Recipe:
    """Stereo of any scene: generated pairs, path-traced rooms and rendered streets; no recorded ground truth."""
    return Recipe(
        name="stereo",
        family="stereo",
        crop=CropSettings(448, 256, zoom=1.5),
        deployed_size=(640, 480),
        sources=(
            *(Source(f"rendered_rooms_stereo/{world}_*", part="all") for world in TRAINING_WORLDS),
            Source("world:street", count=120),
            Source("world:room", count=60),
            Source("world:pairs", count=420),
            *(Source(f"rendered_rooms_mono/{world}_*", part="all") for world in TRAINING_WORLDS),
            Source("hololens_office"),
            Source("tum_fr1_rpy"),
        ),
        validation=(Source(f"rendered_rooms_stereo/{HELD_OUT_WORLD}_*", part="all"),),
        description="Disparity and its standard deviation from rectified pairs, trained on rendered pairs",
        licence="Apache-2.0",
        terms=(
            "Trained on views of the AWS RoboMaker worlds (MIT-0) and on generated pairs, with textures from "
            "hololens_office (MIT) and TUM RGB-D freiburg1_rpy (CC BY 4.0)."
        ),
        supervision=DisparitySupervision(),
        steps=5800,
        batch_size=2,
        average_decay=0.998,
        learning_rate=8e-4,
        validate_every=1000,
    )


def stereo_driving_start() -> Recipe:
    """Pre-training for stereo_driving: mostly generated pairs, for matching of any scene, and a few recorded ones."""
    return Recipe(
        name="stereo_driving_start",
        family="stereo",
        crop=CropSettings(512, 256, zoom=1.5),
        deployed_size=(1248, 384),
        sources=(
            Source("kitti2015_stereo"),
            Source("hololens_office"),
            Source("tum_fr1_rpy"),
            Source("kitti_raw_city", part="all"),
            Source("world:pairs", count=350),
        ),
        validation=(held_out("kitti2015_stereo"),),
        description="Disparity and its standard deviation from rectified pairs, trained on KITTI and generated pairs",
        licence="CC BY-NC-SA 3.0 (weights, as the KITTI data); code Apache-2.0",
        terms=(
            "Non-commercial: trained on KITTI (CC BY-NC-SA 3.0, Geiger et al. 2012, Menze and Geiger 2015). "
            "Textures of generated pairs from KITTI, hololens_office (MIT) and TUM RGB-D freiburg1_rpy (CC BY 4.0)."
        ),
        supervision=DisparitySupervision(),
        steps=2200,
        batch_size=2,
        average_decay=0.998,
        learning_rate=8e-4,
        validate_every=500,
    )


def stereo_driving() -> Recipe:
    """Stereo refined on roads: stereo_driving_start, then more recorded than generated pairs."""
    start = stereo_driving_start()
    return replace(
        start,
        name="stereo_driving",
        start_recipe="stereo_driving_start",
        sources=tuple(replace(s, count=90) if s.count else s for s in start.sources),
        steps=2800,
        learning_rate=5e-4,
    )
