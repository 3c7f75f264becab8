"""IGEV-Stereo and IGEV++ (Xu et al., CVPR 2023): images in 0 to 255, which the graph normalises."""

from depth_ros.checkpoint_import.preset import Preset

PRESET = Preset(
    task="stereo_depth",
    description="IGEV-Stereo",
    source="https://github.com/gangweiX/IGEV",
    licence="MIT",
    inputs={"left": "left", "right": "right"},
    outputs={"disparity": "disparity"},
    settings={"mean": [0.0] * 3, "std": [1 / 255] * 3, "multiple": 32, "padding": "replicate"},
)
