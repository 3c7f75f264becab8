"""Metric3D v2 (Hu et al., TPAMI 2024): depth for a canonical camera of 1000 px; the graph normalises the image."""

from depth_ros.checkpoint_import.preset import Preset

PRESET = Preset(
    task="depth",
    description="Metric3D v2",
    source="https://github.com/YvanYin/Metric3D (onnx/metric3d_onnx_export.py)",
    licence="BSD-2-Clause",
    inputs={"image": "image"},
    outputs={"pred_depth": "depth"},
    size=(1064, 616),
    fit="letterbox",
    settings={
        "mean": [0.0, 0.0, 0.0], "std": [1 / 255] * 3, "multiple": 28, "canonical_focal_length": 1000.0,
        "max_depth": 200.0,
    },
)  # fmt: skip
