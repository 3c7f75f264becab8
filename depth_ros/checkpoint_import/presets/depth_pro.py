"""Depth Pro (Bochkovskii et al. 2024): inverse depth for a focal length of one image width."""

from depth_ros.checkpoint_import.preset import Preset

PRESET = Preset(
    task="depth",
    description="Depth Pro",
    source="https://github.com/apple/ml-depth-pro (DepthPro.forward)",
    licence="Apple's sample code licence",
    inputs={"image": "image"},
    outputs={"canonical_inverse_depth": "inverse_depth", "fov_deg": ""},
    size=(1536, 1536),
    settings={
        "mean": [0.5] * 3, "std": [0.5] * 3, "multiple": 1536, "canonical_focal_length": 1.0,
        "canonical_unit": "width",
    },
)  # fmt: skip
