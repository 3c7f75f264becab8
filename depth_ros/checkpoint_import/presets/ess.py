"""ESS of Isaac ROS, and networks with its inputs and outputs: images in -1 to 1, disparity and its confidence."""

from depth_ros.checkpoint_import.preset import Preset

PRESET = Preset(
    task="stereo_depth",
    description="ESS",
    source="https://github.com/NVIDIA-ISAAC-ROS/isaac_ros_dnn_stereo_depth",
    licence="NVIDIA's: see the source",
    inputs={"input_left": "left", "input_right": "right"},
    outputs={"output_left": "disparity", "output_conf": "confidence"},
    size=(960, 576),
    settings={"mean": [0.5] * 3, "std": [0.5] * 3, "multiple": 32, "min_confidence": 0.35},
)
