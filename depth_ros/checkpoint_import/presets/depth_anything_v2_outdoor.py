"""Depth Anything V2, metric, fine-tuned on Virtual KITTI 2 (Yang et al., NeurIPS 2024)."""

from dataclasses import replace

from depth_ros.checkpoint_import.presets import depth_anything_v2_indoor

PRESET = replace(
    depth_anything_v2_indoor.PRESET,
    description="Depth Anything V2, metric, outdoor",
    settings={"multiple": 14, "max_depth": 80.0},
    training_data=("Virtual KITTI 2 (synthetic)",),
)
