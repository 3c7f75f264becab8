"""Recipes of networks that predict depth from one image and learn from ground truth."""

from __future__ import annotations

from dataclasses import replace

from depth_ros.training.crop import CropSettings
from depth_ros.training.data.source import Source, held_out
from depth_ros.training.recipes.recipe import Recipe
from depth_ros.training.recipes.stereo import HELD_OUT_WORLD, TRAINING_WORLDS
from depth_ros.training.supervision.depth import DepthSupervision

KITTI_PAIRS = Source(
    "kitti2015_stereo", right_view=True, stereo_weight=0.2, stereo_model="stereo_driving", repeat=2
)
KITTI_CLIP = Source("kitti_odometry_06", part="all", stereo_weight=0.3, stereo_model="stereo_driving")


def mono_driving_start() -> Recipe:
    """Pre-training for mono_driving: all recorded roads and rendered streets, strong augmentation."""
    return Recipe(
        name="mono_driving_start",
        family="compact",
        crop=CropSettings(640, 192),
        sources=(
            KITTI_PAIRS,
            Source("kitti_raw_jam"),
            KITTI_CLIP,
            Source("world:street", count=240),
        ),
        validation=(held_out("kitti2015_stereo"),),
        description="Metric depth from one camera on roads, trained on KITTI and rendered streets",
        licence="CC BY-NC-SA 3.0 (weights, as the KITTI data); code Apache-2.0",
        terms="Non-commercial: trained on KITTI (CC BY-NC-SA 3.0, Geiger et al. 2012, Menze and Geiger 2015).",
        settings={"std": True},
        steps=2200,
    )


def mono_driving() -> Recipe:
    """Metric depth on roads from one camera: mono_driving_start, refined on the data with the best ground truth."""
    return replace(
        mono_driving_start(),
        name="mono_driving",
        start_recipe="mono_driving_start",
        crop=CropSettings(736, 224, zoom=1.4, max_roll=2.0),
        sources=(
            KITTI_PAIRS,
            Source("kitti_raw_jam"),
            KITTI_CLIP,
            Source("world:street", count=60),
        ),
        calibration=(Source("kitti2015_stereo", part="calibration"),),
        steps=900,
        learning_rate=5e-4,
        weight_decay=0.05,
    )


def mono() -> Recipe:
    """Metric depth and its standard deviation from one camera in rooms, corridors, halls and streets: mono_indoor,
    continued with path-traced buildings and rendered streets."""
    return Recipe(
        name="mono",
        family="compact",
        crop=CropSettings(320, 224, max_roll=12.0),
        sources=(
            *(Source(f"rendered_rooms_mono/{world}_*", part="all") for world in TRAINING_WORLDS),
            Source("hololens_office", repeat=2),
            Source("tum_fr1_rpy", repeat=2),
            Source("world:room", count=240),
            Source("world:street", count=120),
        ),
        validation=(
            held_out("hololens_office"),
            held_out("tum_fr1_rpy"),
            Source(f"rendered_rooms_mono/{HELD_OUT_WORLD}_*", part="all"),
        ),
        calibration=(
            Source("hololens_office", part="calibration"),
            Source("tum_fr1_rpy", part="calibration"),
            Source(f"rendered_rooms_mono/{HELD_OUT_WORLD}_f65", part="all"),  # errors in buildings never seen
        ),
        description="Metric depth and its standard deviation from one camera in rooms, halls and streets, trained on "
        "rendered buildings, HoloLens and TUM RGB-D",
        licence="Apache-2.0",
        terms=(
            "Trained on views of the AWS RoboMaker worlds (MIT-0), hololens_office (MIT, deep-video-mvs repository, "
            "Duzceker et al. 2021) and TUM RGB-D freiburg1_rpy (CC BY 4.0, Sturm et al. 2012)."
        ),
        settings={"std": True},
        start_recipe="mono_indoor",
        steps=1800,
        learning_rate=5e-4,
        validate_every=450,
    )


def mono_indoor() -> Recipe:
    """Metric depth in rooms from one camera."""
    return Recipe(
        name="mono_indoor",
        family="compact",
        crop=CropSettings(320, 224, max_roll=15.0),
        sources=(
            Source("hololens_office", repeat=2),
            Source("tum_fr1_rpy", repeat=2),
            Source("world:room", count=240),
        ),
        validation=(held_out("hololens_office"), held_out("tum_fr1_rpy")),
        description="Metric depth from one camera in rooms, trained on HoloLens, TUM RGB-D and rendered rooms",
        licence="Apache-2.0",
        terms=(
            "Trained on hololens_office (MIT, deep-video-mvs repository, Duzceker et al. 2021) and "
            "TUM RGB-D freiburg1_rpy (CC BY 4.0, Sturm et al. 2012)."
        ),
        settings={"std": True},
        steps=1300,
    )


def fcrn_indoor() -> Recipe:
    """The up-projections and loss of FCRN (Laina et al. 2016) behind a small encoder, in rooms."""
    return replace(
        mono_indoor(),
        name="fcrn_indoor",
        family="fcrn",
        crop=CropSettings(224, 160, max_roll=15.0),
        deployed_size=(256, 192),
        description="FCRN (EfficientNet-Lite0 encoder), trained on HoloLens, TUM RGB-D and rendered rooms",
        settings={"backbone": "lite0"},
        steps=1000,
    )


def depth_anything() -> Recipe:
    """Fine-tuning of an imported metric network of transformers, such as Depth Anything, in rooms: the decoder alone.

    Needs `--start MODEL`. Width and height of the crops are multiples of 14 px, the patches of Depth Anything.
    """
    return replace(
        mono_indoor(),
        name="depth_anything",
        family="hugging_face",
        crop=CropSettings(280, 210, max_roll=15.0),
        settings={},
        description="A depth network of transformers, trained on HoloLens, TUM RGB-D and rendered rooms",
        steps=600,
        learning_rate=1e-4,
    )


def mannequin_indoor() -> Recipe:
    """The single-image network of Li et al. (2019) with a quarter of the channels, from scratch, in rooms."""
    return replace(
        mono_indoor(),
        name="mannequin_indoor",
        family="mannequin",
        crop=CropSettings(128, 96, max_roll=15.0),
        deployed_size=(160, 128),
        description="mannequin (single image, a quarter of the channels), trained on HoloLens, TUM RGB-D and rooms",
        settings={"width_divisor": 4},
        supervision=DepthSupervision(scale="up_to_scale"),
        steps=600,
        weight_decay=0.0,
        learning_rate=2e-3,
    )


def mannequin_two_views() -> Recipe:
    """The two-view network of Li et al. (2019) with a quarter of the channels, in rendered rooms with moving boxes."""
    return replace(
        mannequin_indoor(),
        name="mannequin_two_views",
        sources=(Source("world:room", count=300),),
        validation=(),
        crop=CropSettings(128, 96, zoom=1.2, max_roll=5.0),
        description="mannequin (two views, a quarter of the channels), trained on rendered rooms with moving boxes",
        settings={"width_divisor": 4, "inputs": "parallax"},
        supervision=DepthSupervision("up_to_scale", ("people", "parallax", "confidence")),
        terms="Trained on rendered rooms alone.",
        steps=400,
    )


def mannequin_one_view() -> Recipe:
    """The single-image network on the images of mannequin_two_views, for comparison."""
    return replace(
        mannequin_two_views(),
        name="mannequin_one_view",
        description="mannequin (single image, a quarter of the channels), trained on rendered rooms with moving boxes",
        settings={"width_divisor": 4},
    )


def mannequin_hdf5() -> Recipe:
    """The two-view network with key points as published, on HDF5 files of the authors' code: name them with --on."""
    names = ("people", "keypoints", "parallax", "confidence")
    return replace(
        mannequin_indoor(),
        name="mannequin_hdf5",
        sources=(),
        validation=(),
        crop=CropSettings(512, 288, zoom=1.04),  # of the files' 532x299 px
        deployed_size=None,
        description="mannequin (two views and key points), trained on MannequinChallenge",
        terms="Trained on MannequinChallenge (CC BY 4.0, Li et al. 2019).",
        settings={"inputs": "keypoints"},
        supervision=DepthSupervision("up_to_scale", names),
        steps=200_000,
        batch_size=16,
        learning_rate=4e-4,
        validate_every=5000,
    )
