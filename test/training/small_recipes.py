"""Recipes that train within seconds."""

from __future__ import annotations

from dataclasses import replace

from depth_ros.training.data.clip import ClipSettings
from depth_ros.training.data.source import held_out
from depth_ros.training.recipes import CropSettings, Recipe, Source
from depth_ros.training.supervision.video import VideoSupervision


def depth_recipe(**changes) -> Recipe:
    """Family `compact` on the recording "clip"."""
    recipe = Recipe(
        name="small", family="compact", crop=CropSettings(96, 64), sources=(Source("clip"),),
        validation=(held_out("clip"),),
        description="a test", licence="Apache-2.0", terms="rendered", steps=6, batch_size=2, validate_every=3,
        average_decay=0.5,
    )  # fmt: skip
    return replace(recipe, **changes)


def video_recipe(**changes) -> Recipe:
    """Family `struct2depth` with an eighth of its channels on a rendered street."""
    recipe = Recipe(
        name="small", family="struct2depth", crop=CropSettings(64, 32, zoom=1.3),
        sources=(Source("world:street", count=1, frames=4),),
        validation=(Source("world:street", "held_out", count=1, frames=3),), description="a test",
        licence="Apache-2.0", terms="rendered", settings={"width_divisor": 8}, steps=3, batch_size=1, validate_every=3,
        average_decay=0.5, supervision=VideoSupervision(ClipSettings(min_image_motion=0.1)),
    )  # fmt: skip
    return replace(recipe, **changes)
