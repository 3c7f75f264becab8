"""HITNet (Tankovich et al., CVPR 2021), weights of ETH3D: a grey pair in one input."""

from depth_ros.checkpoint_import.preset import Preset

PRESET = Preset(
    task="stereo_depth",
    description="HITNet, ETH3D weights",
    source="https://github.com/google-research/google-research/tree/master/hitnet, converted with tf2onnx",
    licence="Apache-2.0",
    inputs={"input:0": "pair"},
    outputs={"reference_output_disparity:0": "disparity"},
    size=(1242, 375),
    settings={"channels": "grey", "layout": "nhwc", "mean": [0.0] * 3, "std": [1.0] * 3},
    training_data=("ETH3D two-view stereo, and what the authors trained on before",),
    unverified="",
)
