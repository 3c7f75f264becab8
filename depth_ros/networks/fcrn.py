"""fcrn: metric depth from one image by a residual network that ends in up-projections.

Source: Laina, Rupprecht, Belagiannis, Tombari, Navab, "Deeper Depth Prediction with Fully Convolutional
Residual Networks", 3DV 2016. ResNet-50 (He et al. 2016, stride on the first 1x1 as in the original) without
its classifier, then four up-projections (section 3.2), each doubling the size, and the reverse Huber loss
(section 3.3). Written from the paper; Apache-2.0. The authors' code and weights are BSD-2-Clause.

An up-projection doubles a map by unpooling, every value at the top left of a 2x2 cell of zeros, and a 5x5
convolution. Only taps of one parity ever meet values, so four small convolutions on the small map,
interleaved, give the same at 2.5 times fewer products for the whole network (figure 3). Both forms are
here; `fast_state` and `plain_state` carry weights from one to the other.

Depth depends on the focal length that a network saw in training: the same image of a camera with twice the
focal length is of a scene twice as far. The network predicts depth as a camera of `Settings.focal` px would
have seen it; the model multiplies by f / focal. That also makes zoomed crops as consistent as the paper's.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.config import setting
from depth_ros.errors import DepthRosError
from depth_ros.networks import compact

TASK = "depth"
EPS = 1e-4
"""Of every batch norm of the released networks."""
TYPICAL = 2.0
"""m; where a new network starts."""
UNITS = {2: "abc", 3: "abcd", 4: "abcdef", 5: "abc"}  # stage of ResNet-50 -> its units
KERNELS = {"A": (0, 0), "B": (1, 0), "C": (0, 1), "D": (1, 1)}  # parity of rows and columns of the 5x5
ORDER = "ACBD"  # row-major in the 2x2 cell that they fill


@dataclass(frozen=True)
class Settings:
    """Options of the model."""

    backbone: str = setting(
        "resnet50",
        "encoder: as published, or EfficientNet-Lite0 with a quarter of the channels after it",
        choices=("resnet50", "lite0"),
    )
    form: str = setting("fast", "of the up-projections; they compute the same", choices=("fast", "plain"))
    zeros: str = setting(
        "after",
        "side of the odd zero of the interleaved kernels; 'before' is what the released NYU weights need",
        choices=("after", "before"),
    )
    focal: float = setting(300.0, "focal length that depth is predicted for", "px", 1.0, 10000.0)
    stretched: bool = setting(
        False, "any even size, the output stretched over it, as the released weights were trained"
    )
    max_depth: float = setting(80.0, "farther is unknown (NaN)", "m", 0.1, 10000.0)


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPS)


class Unit(nn.Module):
    """Bottleneck of ResNet-50: 1x1 n (strides), 3x3 n, 1x1 4n, a norm after each, ReLU after the sum."""

    def __init__(self, channels: int, n: int, stride: int, project: bool) -> None:
        super().__init__()
        self.branch2a, self.bn2a = nn.Conv2d(channels, n, 1, stride, bias=False), norm(n)
        self.branch2b, self.bn2b = nn.Conv2d(n, n, 3, padding=1, bias=False), norm(n)
        self.branch2c, self.bn2c = nn.Conv2d(n, 4 * n, 1, bias=False), norm(4 * n)
        self.project = project
        if project:
            self.branch1, self.bn1 = nn.Conv2d(channels, 4 * n, 1, stride, bias=False), norm(4 * n)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn2a(self.branch2a(x)))
        y = F.relu(self.bn2b(self.branch2b(y)))
        shortcut = self.bn1(self.branch1(x)) if self.project else x
        return F.relu(self.bn2c(self.branch2c(y)) + shortcut)


class ResNet50(nn.Module):
    """(B, 3, H, W) in 0..255, nothing subtracted -> (B, 2048, H/32, W/32), sizes rounded up."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn_conv1 = nn.Conv2d(3, 64, 7, 2, 3), norm(64)
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
        # zeros where the size is even only after the map, where it is odd on both sides; after ReLU none wins
        x = F.max_pool2d(F.pad(x, (x.shape[3] % 2, 1, x.shape[2] % 2, 1)), 3, 2)
        for name in self.stages:
            x = getattr(self, name)(x)
        return x


class Lite0(nn.Module):
    """EfficientNet-Lite0 for small processors: (B, 3, H, W) in 0..255 -> (B, 320, H/32, W/32)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = compact.Encoder()

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder((x - 127.0) * (1.0 / 128.0))[1]


class PlainUp(nn.Module):
    """Unpooling to the top left of 2x2 cells, then a 5x5 convolution: (B, i, h, w) -> (B, o, 2h, 2w)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        cells = F.pad(x[:, :, :, None, :, None], (0, 1, 0, 0, 0, 1))
        return self.conv(cells.reshape(batch, channels, 2 * height, 2 * width))


class FastUp(nn.Module):
    """The same from four convolutions of the small map, 3x3, 2x3, 3x2 and 2x2, interleaved."""

    def __init__(self, channels: int, out: int, zeros: str = "after") -> None:
        super().__init__()
        self.zeros = zeros
        for name, (r, c) in KERNELS.items():
            self.add_module(f"conv{name}", nn.Conv2d(channels, out, (3 - r, 3 - c)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (1, 1, 1, 1))
        kept = (slice(None), slice(1, None) if self.zeros == "after" else slice(None, -1))
        parts = [getattr(self, f"conv{k}")(x[:, :, kept[KERNELS[k][0]], kept[KERNELS[k][1]]]) for k in ORDER]
        return F.pixel_shuffle(torch.stack(parts, 2).flatten(1, 2), 2)


class UpProjection(nn.Module):
    """Up-convolution, ReLU and a 3x3 convolution, plus a second up-convolution, then ReLU."""

    def __init__(self, channels: int, out: int, up: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.up1, self.bn1 = up(channels, out), norm(out)
        self.conv, self.bn = nn.Conv2d(out, out, 3, padding=1), norm(out)
        self.up2, self.bn2 = up(channels, out), norm(out)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(F.relu(self.bn1(self.up1(x)))))
        return F.relu(y + self.bn2(self.up2(x)))


class Network(nn.Module):
    """(B, 3, H, W) in 0..255 -> (B, 16 ceil(H/32), 16 ceil(W/32)) m at the reference focal length."""

    def __init__(self, backbone: str = "resnet50", form: str = "fast", zeros: str = "after") -> None:
        super().__init__()
        last, first = (2048, 1024) if backbone == "resnet50" else (320, 256)
        self.encoder: nn.Module = ResNet50() if backbone == "resnet50" else Lite0()

        def up(channels: int, out: int) -> nn.Module:
            return FastUp(channels, out, zeros) if form == "fast" else PlainUp(channels, out)

        self.layer1, self.bn1 = nn.Conv2d(last, first, 1), norm(first)
        self.up = nn.Sequential(*(UpProjection(first >> k, first >> (k + 1), up) for k in range(4)))
        self.drop = nn.Dropout(0.5 if backbone == "resnet50" else 0.0)
        self.predict = nn.Conv2d(first >> 4, 1, 3, padding=1)
        self.predict.keep_float32 = True  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.up(self.bn1(self.layer1(self.encoder(x)))))
        return self.predict(x.to(self.predict.weight.dtype))[:, 0]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet50": Network,
    "resnet50_plain": lambda: Network(form="plain"),
    "lite0": lambda: Network("lite0"),
}


class Model(nn.Module):
    """The contract of a depth model around `Network` (see depth_ros.networks)."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.network = Network(settings.backbone, settings.form, settings.zeros)
        self.size_multiple = 2 if settings.stretched else 32

    def canonical(self, image: Tensor) -> Tensor:
        """Depth (B, H, W) float32 m at the reference focal length, not yet cut at nought, of a uint8 image."""
        x = image.to(self.network.layer1.weight.dtype).permute(0, 3, 1, 2)
        depth = self.network(x).float()
        size = image.shape[1:3]
        return F.interpolate(depth[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]

    def forward(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        """Depth (B, H, W) float32 m; NaN beyond `max_depth` and where the network says nought or less."""
        depth = self.canonical(image) / _shrink(intrinsics, self.settings)
        return torch.where((depth > 1e-3) & (depth <= self.settings.max_depth), depth, torch.nan)


def _shrink(intrinsics: Tensor, settings: Settings) -> Tensor:
    return (settings.focal / compact.focal(intrinsics))[:, None, None]


def berhu(error: Tensor, weight: Tensor) -> Tensor:
    """Reverse Huber loss of errors (B, H, W): the mean over the weighted pixels of each image, then over images.

    |e| up to c, (e^2 + c^2) / 2c beyond it, with c a fifth of the largest error in the batch (equation 1).
    """
    size = error.abs()
    c = (0.2 * (size * (weight > 0)).amax()).detach().clamp(min=1e-6)
    value = torch.where(size <= c, size, (size.square() + c * c) / (2 * c))
    return ((weight * value).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1.0)).mean()


def loss(model: Model, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Reverse Huber of depth at the reference focal length. batch: image (B, H, W, 3) uint8, intrinsics
    (B, 3, 3), depth (B, H, W) m with NaN for unknown, weight (B, H, W) of each pixel."""
    known = torch.isfinite(batch["depth"])
    truth = batch["depth"].nan_to_num(1.0) * _shrink(batch["intrinsics"], model.settings)
    error = torch.where(known, model.canonical(batch["image"]) - truth, 0.0)
    value = berhu(error, batch["weight"] * known)
    return {"loss": value, "berhu": value}


def initialise(model: Model) -> None:
    """ImageNet weights where the encoder has them (lite0), else He et al. 2015; new layers from N(0, 0.01), as
    published (section 4.1); the last one starts at a typical depth."""
    network = model.network
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.1)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(network.predict.weight, std=0.01)
    nn.init.constant_(network.predict.bias, TYPICAL)  # type: ignore[arg-type]
    if isinstance(network.encoder, Lite0):
        network.encoder.encoder.load_state_dict(compact.imagenet())
        return
    for module in network.encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def fast_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of the interleaved form from that of the plain one; both then compute the same (zeros after)."""
    found = {}
    for key, value in state.items():
        place, is_up, kind = key.rpartition(".conv.")
        if not is_up or not place.endswith(("up1", "up2")):
            found[key] = value
            continue
        for name, (r, c) in KERNELS.items():
            found[f"{place}.conv{name}.{kind}"] = value[:, :, r::2, c::2] if kind == "weight" else value
    return found


def plain_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of the plain form from that of the interleaved one. DepthRosError if its four biases differ."""
    found = {key: value for key, value in state.items() if not key.rpartition(".")[0].endswith(_PARTS)}
    for key in [key for key in state if key.endswith("convA.weight")]:
        place = key.removesuffix("convA.weight")
        biases = [state[f"{place}conv{name}.bias"] for name in KERNELS]
        if any(not torch.equal(biases[0], bias) for bias in biases):
            raise DepthRosError(
                f"{place}: no plain form, the four interleaved kernels have biases of their own"
            )
        out, channels = state[key].shape[:2]
        kernel = state[key].new_zeros(out, channels, 5, 5)
        for name, (r, c) in KERNELS.items():
            kernel[:, :, r::2, c::2] = state[f"{place}conv{name}.weight"]
        found[f"{place}conv.weight"], found[f"{place}conv.bias"] = kernel, biases[0]
    return found


_PARTS = tuple(f"conv{name}" for name in KERNELS)


def forms() -> tuple[dict[str, nn.Module], Tensor]:
    """The published network in both forms with the same random weights, and an input of the published size."""
    plain, fast = Network(form="plain"), Network()
    for module in plain.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    fast.load_state_dict(fast_state(plain.state_dict()))
    return {"plain": plain, "fast": fast}, 255 * torch.rand(1, 3, 228, 304)


def released_name(key: str) -> str:
    """The variable of the released TensorFlow weights (NYU_FCRN.ckpt, NYU_ResNet-UpProj.npy) that belongs to an entry
    of the state of `Model`; "" where there is none.

    Settings for them: focal 259 (518 px at 640 px, halved), stretched, and zeros "before" for the NYU weights, which
    were trained interleaved with the odd zero before; "after" for what was converted from 5x5 kernels, as Make3D's.
    """
    path, leaf = key.removeprefix("network.").rsplit(".", 1)
    unit = re.fullmatch(r"encoder\.res(\d)\.(\w)\.(branch|bn)(\w+)", path)
    up = re.fullmatch(r"up\.(\d)\.(?:up(\d)\.conv(\w)|bn(\d)|(conv)|(bn))", path)
    if unit:
        stage, name, kind, branch = unit.groups()
        scope = f"{'res' if kind == 'branch' else 'bn'}{stage}{name}_branch{branch}"
    elif up:
        level, branch, part, norm_of, conv, _ = up.groups()
        inner = (
            f"br{branch}_Conv{part}" if part else f"br{norm_of}_BN" if norm_of else "Conv" if conv else "BN"
        )
        scope = f"layer{2 << int(level)}x_{inner}"
    else:
        scope = {"bn1": "layer1_BN", "predict": "ConvPred"}.get(path, path.removeprefix("encoder."))
    names = _NORM if "bn" in path.rsplit(".", 1)[-1] else _CONV
    return f"{scope}/{names[leaf]}" if leaf in names else ""


_CONV = {"weight": "weights", "bias": "biases"}
_NORM = {"weight": "scale", "bias": "offset", "running_mean": "mean", "running_var": "variance"}
