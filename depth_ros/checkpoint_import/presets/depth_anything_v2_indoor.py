"""Depth Anything V2, metric, fine-tuned on Hypersim (Yang et al., NeurIPS 2024)."""

from depth_ros.checkpoint_import.preset import Preset

PRESET = Preset(
    task="depth",
    description="Depth Anything V2, metric, indoor",
    source="https://github.com/DepthAnything/Depth-Anything-V2/tree/main/metric_depth",
    licence="Apache-2.0 (small), CC-BY-NC-4.0 (base, large)",
    inputs={"image": "image"},
    outputs={"depth": "depth"},
    size=(686, 518),
    settings={"multiple": 14, "max_depth": 20.0},
    training_data=("Hypersim (synthetic)",),
)
