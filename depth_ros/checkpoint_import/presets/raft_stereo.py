"""RAFT-Stereo (Lipson et al., 3DV 2021): the horizontal flow, which is the negative disparity."""

from depth_ros.checkpoint_import.preset import Preset

PRESET = Preset(
    task="stereo_depth",
    description="RAFT-Stereo",
    source="https://github.com/princeton-vl/RAFT-Stereo",
    licence="MIT",
    inputs={"left": "left", "right": "right"},
    outputs={"flow_up": "disparity"},
    settings={
        "mean": [0.0] * 3, "std": [1 / 255] * 3, "multiple": 32, "padding": "replicate", "unit": -1.0,
    },
)  # fmt: skip
