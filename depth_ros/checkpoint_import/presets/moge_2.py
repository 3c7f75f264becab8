"""MoGe 2 (Wang et al. 2025): points up to a shift along z, metric scale and mask; the graph normalises images."""

from depth_ros.checkpoint_import.preset import Preset

PRESET = Preset(
    task="depth",
    description="MoGe 2",
    source="https://github.com/microsoft/MoGe (docs/onnx.md)",
    licence="MIT",
    inputs={"image": "image", "num_tokens": ""},
    outputs={"points": "points", "normal": "", "mask": "valid", "metric_scale": "scale"},
    size=(644, 476),
    settings={"mean": [0.0] * 3, "std": [1.0] * 3, "multiple": 14, "solve_shift": True},
    values={"num_tokens": 1800},
)
