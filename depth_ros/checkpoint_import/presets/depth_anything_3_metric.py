"""Depth Anything 3, metric (Lin et al. 2025): depth is the output times the focal length, px, over 300."""

from depth_ros.checkpoint_import.preset import Preset

PRESET = Preset(
    task="depth",
    description="Depth Anything 3, metric",
    source="https://github.com/ByteDance-Seed/Depth-Anything-3 (DA3METRIC-LARGE)",
    licence="Apache-2.0",
    inputs={"image": "image"},
    outputs={"depth": "depth", "sky": "sky"},
    size=(504, 378),
    settings={"multiple": 14, "canonical_focal_length": 300.0, "max_sky": 0.3},
)
