"""Recipes that train within seconds."""

from __future__ import annotations

import json
from dataclasses import replace

from depth_ros.training.data.clip import ClipSettings
from depth_ros.training.data.source import held_out
from depth_ros.training.recipes import CropSettings, Recipe, Source
from depth_ros.training.supervision.video import VideoSupervision

DEPTH_ANYTHING = json.dumps(
    {
        "model_type": "depth_anything", "patch_size": 14, "reassemble_hidden_size": 16, "head_hidden_size": 8,
        "neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8, "depth_estimation_type": "metric", "max_depth": 20,
        "backbone_config": {
            "model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "mlp_ratio": 2,
            "image_size": 56, "patch_size": 14, "out_indices": [1, 2, 3, 4], "reshape_hidden_states": False,
        },
    }
)  # fmt: skip
"""Configuration of a small network such as the imported one that recipe depth_anything starts from."""


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
