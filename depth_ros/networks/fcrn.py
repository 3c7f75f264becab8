"""fcrn: metric depth from one image by a residual network with an up-projection decoder.

Source: Laina, Rupprecht, Belagiannis, Tombari, Navab, "Deeper Depth Prediction with Fully Convolutional
Residual Networks", 3DV 2016. ResNet-50 (He et al. 2016, stride on the first 1x1 as in the original) without
its classifier, then four up-projections (section 3.2), each doubling the size, and the reverse Huber loss
(section 3.3). Written from the paper; Apache-2.0. The authors' code and weights are BSD-2-Clause.

Depth depends on the focal length of the training images: the same image, taken by a camera with twice the focal
length, shows a scene twice as far away. The network predicts depth as a camera of `Settings.focal` px would have seen
it; the model multiplies by f / focal. With it, zoomed crops are as consistent as the paper's scale augmentation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.config import setting
from depth_ros.networks.blocks.convolution import apply_in_own_precision, keep_float32
from depth_ros.networks.blocks.efficientnet_lite import Encoder, imagenet_weights
from depth_ros.networks.blocks.focal_length import mean_focal_length
from depth_ros.networks.blocks.up_projection import (
    Deconvolution,
    FastUp,
    PlainUp,
    UpConvolution,
    UpProjection,
    batch_norm,
    fast_state,
)

TASK = "depth"
INITIAL_DEPTH = 2.0
"""m; the prediction with which the training of a new network starts."""
UNITS = {2: "abc", 3: "abcd", 4: "abcdef", 5: "abc"}
"""Stage of ResNet-50 -> names of its units."""


@dataclass(frozen=True)
class Settings:
    """Options of `Model`."""

    backbone: str = setting(
        "resnet50",
        "Encoder: ResNet-50 as published, or EfficientNet-Lite0 with a quarter of the decoder's channels.",
        choices=("resnet50", "lite0"),
    )
    decoder: str = setting(
        "up_projection",
        "Blocks of the decoder: those of the paper, or one of the two that it compares them with.",
        choices=("up_projection", "up_convolution", "deconvolution"),
    )
    form: str = setting(
        "fast", "Form of the up-convolutions; both compute the same.", choices=("fast", "plain")
    )
    zeros: str = setting(
        "after",
        "Side of the odd row and column of padding of the interleaved kernels; the released NYU weights need 'before'.",
        choices=("after", "before"),
    )
    focal: float = setting(300.0, "Focal length for which depth is predicted.", "px", 1.0, 10000.0)
    stretched: bool = setting(
        False, "Accept any even size and stretch the output over it, as the released weights were trained."
    )
    max_depth: float = setting(80.0, "Maximum depth; farther pixels are NaN.", "m", 0.1, 10000.0)


@dataclass(frozen=True)
class LossSettings:
    """Options of `loss`."""

    norm: str = setting(
        "berhu", "Reverse Huber loss as published, or the squared error.", choices=("berhu", "l2")
    )


class Unit(nn.Module):
    """Bottleneck of ResNet-50: 1x1 (with the stride), 3x3, 1x1 with n, n, 4 n channels; batch norm after each."""

    def __init__(self, channels: int, n: int, stride: int, project: bool) -> None:
        super().__init__()
        self.branch2a, self.bn2a = nn.Conv2d(channels, n, 1, stride, bias=False), batch_norm(n)
        self.branch2b, self.bn2b = nn.Conv2d(n, n, 3, padding=1, bias=False), batch_norm(n)
        self.branch2c, self.bn2c = nn.Conv2d(n, 4 * n, 1, bias=False), batch_norm(4 * n)
        self.project = project
        if project:
            self.branch1, self.bn1 = nn.Conv2d(channels, 4 * n, 1, stride, bias=False), batch_norm(4 * n)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn2a(self.branch2a(x)))
        y = F.relu(self.bn2b(self.branch2b(y)))
        shortcut = self.bn1(self.branch1(x)) if self.project else x
        return F.relu(self.bn2c(self.branch2c(y)) + shortcut)


class ResNet50(nn.Module):
    """(B, 3, H, W) in 0..255, no mean subtracted -> (B, 2048, H/32, W/32), sizes rounded up."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn_conv1 = nn.Conv2d(3, 64, 7, 2, 3), batch_norm(64)
        channels = 64
        self.stages = [f"res{stage}" for stage in UNITS]
        for stage, names in UNITS.items():
            n = 64 * 2 ** (stage - 2)
            units: OrderedDict[str, nn.Module] = OrderedDict()
            for name in names:
                units[name] = Unit(channels, n, 2 if name == "a" and stage > 2 else 1, project=name == "a")
                channels = 4 * n
            self.add_module(f"res{stage}", nn.Sequential(units))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn_conv1(self.conv1(x)))
        # zeros after the map where its size is even, on both sides where it is odd; after ReLU no zero is the maximum
        x = F.max_pool2d(F.pad(x, (x.shape[3] % 2, 1, x.shape[2] % 2, 1)), 3, 2)
        for name in self.stages:
            x = getattr(self, name)(x)
        return x


class Lite0(nn.Module):
    """EfficientNet-Lite0, for small processors: (B, 3, H, W) in 0..255 -> (B, 320, H/32, W/32)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder((x - 127.0) * (1.0 / 128.0))[1]


class Network(nn.Module):
    """(B, 3, H, W) in 0..255 -> depth (B, 16 ceil(H/32), 16 ceil(W/32)), m, at the reference focal length."""

    def __init__(self, settings: Settings = Settings()) -> None:
        super().__init__()
        backbone = settings.backbone
        last, first = (2048, 1024) if backbone == "resnet50" else (320, 256)
        self.encoder: nn.Module = ResNet50() if backbone == "resnet50" else Lite0()

        def up(channels: int, out: int) -> nn.Module:
            return (
                FastUp(channels, out, settings.zeros) if settings.form == "fast" else PlainUp(channels, out)
            )

        blocks: dict[str, Callable[[int, int], nn.Module]] = {
            "up_projection": lambda channels, out: UpProjection(channels, out, up),
            "up_convolution": lambda channels, out: UpConvolution(channels, out, up),
            "deconvolution": Deconvolution,
        }

        self.layer1, self.bn1 = nn.Conv2d(last, first, 1), batch_norm(first)
        block = blocks[settings.decoder]
        self.up = nn.Sequential(*(block(first >> k, first >> (k + 1)) for k in range(4)))
        self.drop = nn.Dropout(0.5 if backbone == "resnet50" else 0.0)
        self.predict = keep_float32(nn.Conv2d(first >> 4, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.up(self.bn1(self.layer1(self.encoder(x)))))
        return apply_in_own_precision(self.predict, x)[:, 0]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet50": Network,
    "resnet50_plain": lambda: Network(Settings(form="plain")),
    "resnet50_up_convolution": lambda: Network(Settings(decoder="up_convolution")),
    "resnet50_deconvolution": lambda: Network(Settings(decoder="deconvolution")),
    "lite0": lambda: Network(Settings(backbone="lite0")),
}


class Model(nn.Module):
    """`Network` with the contract of a depth model (see depth_ros.networks)."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.network = Network(settings)
        self.size_multiple = 2 if settings.stretched else 32

    def canonical(self, image: Tensor) -> Tensor:
        """Depth (B, H, W) float32 m at the reference focal length, before clamping at zero.

        image: (B, H, W, 3) uint8.
        """
        x = image.to(self.network.layer1.weight.dtype).permute(0, 3, 1, 2)
        depth = self.network(x).float()
        size = image.shape[1:3]
        return F.interpolate(depth[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]

    def forward(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        """Depth (B, H, W) float32 m; NaN beyond `max_depth` and where the network predicts 1 mm or less."""
        depth = self.canonical(image) / _canonical_ratio(intrinsics, self.settings)
        return torch.where((depth > 1e-3) & (depth <= self.settings.max_depth), depth, torch.nan)


def _canonical_ratio(intrinsics: Tensor, settings: Settings) -> Tensor:
    """(B, 1, 1) depth at the reference focal length / depth."""
    return (settings.focal / mean_focal_length(intrinsics))[:, None, None]


def berhu(error: Tensor, weight: Tensor) -> Tensor:
    """Reverse Huber loss of errors (B, H, W): the weighted mean over the pixels of each image, then over images.

    |e| up to c, (e^2 + c^2) / 2c beyond it, with c a fifth of the largest error in the batch (equation 1).
    """
    size = error.abs()
    c = (0.2 * (size * (weight > 0)).amax()).detach().clamp(min=1e-6)
    value = torch.where(size <= c, size, (size.square() + c * c) / (2 * c))
    return ((weight * value).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1.0)).mean()


def squared_error(error: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error with the averages of `berhu`."""
    return ((weight * error.square()).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1.0)).mean()


def loss(
    model: Model,
    batch: dict[str, Tensor],
    settings: LossSettings = LossSettings(),
) -> dict[str, Tensor]:
    """Reverse Huber loss, or the squared error, of depth at the reference focal length.

    batch: image (B, H, W, 3) uint8, intrinsics (B, 3, 3), depth (B, H, W) m with NaN for invalid pixels, weight
    (B, H, W) of each pixel.
    """
    valid = torch.isfinite(batch["depth"])
    ground_truth = batch["depth"].nan_to_num(1.0) * _canonical_ratio(batch["intrinsics"], model.settings)
    error = torch.where(valid, model.canonical(batch["image"]) - ground_truth, 0.0)
    value = {"berhu": berhu, "l2": squared_error}[settings.norm](error, batch["weight"] * valid)
    return {"loss": value, settings.norm: value}


def initialise(model: Model) -> None:
    """Initial weights for training.

    Encoder: ImageNet weights for lite0, else Kaiming initialisation (He et al. 2015). New layers: normal with variance
    0.01, as published (section 4.1); the last one with a standard deviation of 0.01, starting at `INITIAL_DEPTH`.
    """
    network = model.network
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.1)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(network.predict.weight, std=0.01)
    nn.init.constant_(network.predict.bias, INITIAL_DEPTH)  # type: ignore[arg-type]
    if isinstance(network.encoder, Lite0):
        network.encoder.encoder.load_state_dict(imagenet_weights())
        return
    for module in network.encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def forms() -> tuple[dict[str, nn.Module], Tensor]:
    """The published network in both forms, with the same random weights, and an input of the published size."""
    plain, fast = Network(Settings(form="plain")), Network()
    for module in plain.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    fast.load_state_dict(fast_state(plain.state_dict()))
    return {"plain": plain, "fast": fast}, 255 * torch.rand(1, 3, 228, 304)


def ablations() -> dict[str, nn.Module]:
    """The decoders that the paper compares (table 1), with random weights: other networks, for the input of `forms`."""
    return {name: NETWORKS[f"resnet50_{name}"]() for name in ("up_convolution", "deconvolution")}
