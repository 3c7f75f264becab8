"""The EfficientNet-Lite0 encoder and its weights."""

from __future__ import annotations

import torch

from depth_ros.networks.blocks.efficientnet_lite import DepthwiseConv, Encoder, imagenet_weights


def test_feature_maps_have_the_documented_channels_and_sizes():
    with torch.device("meta"):
        skips, x = Encoder()(torch.empty(2, 3, 64, 96))
    assert [tuple(skip.shape[1:]) for skip in skips] == [(16, 32, 48), (24, 16, 24), (40, 8, 12), (112, 4, 6)]
    assert x.shape == (2, 320, 2, 3)


def test_imagenet_weights_fit_the_encoder():
    encoder = Encoder()
    encoder.load_state_dict(imagenet_weights(), strict=True)
    assert encoder.stem[0].weight.std() > 0.1


def test_depthwise_convolutions_are_float32_in_training_and_give_the_same_values():
    torch.manual_seed(0)
    layer = DepthwiseConv(4, 3, 1)
    x = torch.randn(1, 4, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trained = layer.train()(x.bfloat16())
    assert trained.dtype == torch.float32
    assert torch.allclose(trained, layer.eval()(x), atol=0.05)
