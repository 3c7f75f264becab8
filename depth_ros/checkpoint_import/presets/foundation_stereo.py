"""FoundationStereo (Wen et al., CVPR 2025): images in 0 to 255, which the graph normalises."""

from depth_ros.checkpoint_import.preset import Preset

PRESET = Preset(
    task="stereo_depth",
    description="FoundationStereo",
    source="https://github.com/NVlabs/FoundationStereo (scripts/make_onnx.py)",
    licence="NVIDIA's, non-commercial: see the source",
    inputs={"left": "left", "right": "right"},
    outputs={"disp": "disparity"},
    size=(672, 448),
    settings={"mean": [0.0] * 3, "std": [1 / 255] * 3, "multiple": 32, "padding": "replicate"},
)
