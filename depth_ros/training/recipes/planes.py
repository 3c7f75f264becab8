"""Recipes of networks that predict planes and depth from one image."""

from __future__ import annotations

from dataclasses import replace

from depth_ros.training.crop import CropSettings
from depth_ros.training.data.source import Source, held_out
from depth_ros.training.recipes.depth import mono_indoor
from depth_ros.training.recipes.recipe import Recipe
from depth_ros.training.supervision.planes import PlaneSupervision

MAX_PLANES = 20
"""Planes per image that the network predicts."""


def planes_indoor() -> Recipe:
    """Planes of rooms from one camera: planenet with the small network, whose depth comes from mono."""
    return replace(
        mono_indoor(),
        name="planes_indoor",
        family="planenet",
        matching_weights_from="mono",
        crop=CropSettings(192, 128, max_roll=15.0),
        deployed_size=(256, 192),
        sources=(
            Source("hololens_office"),
            Source("tum_fr1_rpy"),
            Source("world:room", count=500),
        ),
        description="Planes and depth from one camera in rooms, trained on HoloLens, TUM RGB-D and rendered rooms",
        settings={
            "network": "lite",
            "fitted": True,
            "planes": MAX_PLANES,
            "matching": "masks",
            "crf_iterations": 0,
            "max_depth": 20.0,
            "folded": True,
        },
        supervision=PlaneSupervision(MAX_PLANES),
        steps=700,
        learning_rate=5e-4,
    )


def planes_room() -> Recipe:
    """Planes of one known room, learned without augmentation; for your own room give its recording with --on.

    There the distance of a plane follows from the image content, not from what rooms are like in general.
    """
    return replace(
        planes_indoor(),
        name="planes_room",
        crop=CropSettings(256, 192, zoom=1.1, mirror=False, colours="none"),
        deployed_size=None,
        sources=(Source("hololens_office"),),
        validation=(held_out("hololens_office"),),
        description="Planes and depth from one camera in the room of its training images",
        steps=4400,
        batch_size=4,
        learning_rate=1e-3,
        validate_every=1100,
    )
