"""Names and layout of the variables of PlaneNet's released checkpoint."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from depth_ros.checkpoint_import.planenet import released_name, released_state
from depth_ros.errors import DepthRosError
from depth_ros.networks import planenet

EXPECTED_NAMES = {
    "degridding/conv1/weights", "degridding/bn1/gamma", "degridding/conv2_c/weights", "degridding/bn2c/beta",
    "degridding/conv3c/weights", "degridding/conv3b/weights", "degridding/bn3b/moving_mean",
    "res2a_branch1/weights", "res4b22_branch2c/weights", "bn2a_branch1/moving_variance", "res5d_pool1_conv/weights",
    "res5d_pool4_bn/gamma", "plane_fc/weights", "plane_fc/biases", "segmentation_conv1/weights",
    "segmentation_bn1/beta", "segmentation_conv2/biases", "non_plane_mask_conv2/weights",
    "non_plane_depth_conv2/weights", "non_plane_normal_conv2/biases", "crfrnn/spatial_ker_weights",
    "crfrnn/bilateral_ker_weights", "crfrnn/compatibility_matrix",
}  # fmt: skip


class OneLayer(nn.Module):
    """A model with one convolution of the released network."""

    def __init__(self) -> None:
        super().__init__()
        convolution = nn.ModuleDict({"conv": nn.Conv2d(5, 7, (4, 3), bias=False)})
        self.network = nn.ModuleDict({"segmentation_conv1": convolution})


def test_every_key_has_its_own_released_name():
    with torch.device("meta"):
        model = planenet.Model(planenet.Settings(network="resnet101"))
    names = {key: released_name(key) for key in model.state_dict() if "num_batches" not in key}
    assert len(set(names.values())) == len(names)
    assert set(names.values()) >= EXPECTED_NAMES


def test_kernels_are_transposed():
    kernel = np.arange(4 * 3 * 5 * 7, dtype=np.float32).reshape(4, 3, 5, 7)
    state = released_state(OneLayer(), {"segmentation_conv1/weights": kernel})
    assert state["network.segmentation_conv1.conv.weight"][6, 4, 3, 2] == kernel[3, 2, 4, 6]


def test_missing_variables_and_other_shapes_are_rejected():
    with pytest.raises(DepthRosError, match="lacks 'segmentation_conv1/weights'"):
        released_state(OneLayer(), {})
    kernel = np.zeros((4, 3, 7, 5), np.float32)
    with pytest.raises(DepthRosError, match=r"shape \(4, 3, 7, 5\)"):
        released_state(OneLayer(), {"segmentation_conv1/weights": kernel})
