"""CREStereo (Li et al., CVPR 2022), in two stages: the pair at half size, then at full size."""

from depth_ros.checkpoint_import.preset import Preset

PRESET = Preset(
    task="stereo_depth",
    description="CREStereo",
    source="https://github.com/megvii-research/CREStereo",
    licence="Apache-2.0",
    inputs={
        "init_left": "left_half", "init_right": "right_half", "next_left": "left", "next_right": "right",
    },
    outputs={"next_output": "flow"},
    settings={"mean": [0.0] * 3, "std": [1 / 255] * 3, "multiple": 32},
)  # fmt: skip
