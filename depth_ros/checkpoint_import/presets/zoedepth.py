"""ZoeDepth (Bhat et al. 2023): metric depth; images in -1 to 1."""

from depth_ros.checkpoint_import.preset import Preset

PRESET = Preset(
    task="depth",
    description="ZoeDepth",
    source="https://github.com/isl-org/ZoeDepth",
    licence="MIT",
    inputs={"pixel_values": "image"},
    outputs={"predicted_depth": "depth"},
    size=(512, 384),
    settings={"mean": [0.5] * 3, "std": [0.5] * 3, "multiple": 32},
    training_data=("NYU Depth v2 and KITTI, see the source for each of its weights",),
)
