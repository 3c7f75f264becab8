"""planenet: a piecewise planar depth map from one image. Liu, Yang, Ceylan, Yumer, Furukawa, CVPR 2018.

A dilated residual network, and three branches on it: the parameters of K planes, a segmentation into these planes
and a rest, and the depth of the rest. A dense CRF sharpens the segmentation. The depth of a plane follows from its
parameters and the intrinsics of the camera at hand, which therefore have to be those of the image.

Networks: `resnet101`, the layers of the released TensorFlow code (DeepLab's ResNet-101 behind a small stem);
`drn_d_54`, those of the authors' PyTorch port (Yu, Koltun, Funkhouser, CVPR 2017), nearest to the paper's text;
`lite`, ours: the encoder of family `compact` and a light decoder, for training and running on a small processor.
A plane is a vector p = n d, see `blocks.planes`. The published networks give it in a frame of x right, y FORWARD,
z up: `to_optical` turns it. Reference code: MIT, of the CRF too; nothing of it is used here.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.config import setting
from depth_ros.errors import DepthRosError
from depth_ros.networks import compact
from depth_ros.networks.blocks import planes as geometry
from depth_ros.networks.blocks.dense_crf import DenseCrf

TASK = "planes"
PLANES = 10
"""K of the paper."""
WEIGHTS = {"plane": 10.0, "segmentation": 1.0, "overlap": 1.0, "reach": 1.0, "depth": 20.0}
"""Of the loss terms: those of the released code, a thousandth of them; of its own terms with matched masks too."""
FITTED_WEIGHTS = {
    "plane": 1.0,
    "segmentation": 1.0,
    "overlap": 1.0,
    "reach": 1.0,
    "depth": 4.0,
    "branch": 4.0,
}
"""The same with fitted planes."""
REACH = 0.05
"""m, the depth difference that plane recall is asked for."""


@dataclass(frozen=True)
class Settings:
    """Options of the model."""

    network: str = setting("drn_d_54", "backbone and branches", choices=("resnet101", "drn_d_54", "lite"))
    planes: int = setting(PLANES, "most planes in an image", minimum=1, maximum=64)
    crf_iterations: int = setting(5, "mean-field iterations of the dense CRF, 0 = no CRF", minimum=0)
    crf_stride: int = setting(8, "cells of so many px send the CRF's messages, 1 = exact", "px", 1, 64)
    fitted: bool = setting(
        False, "planes are fitted to the depth branch, those of their own branch are the prior"
    )
    matching: str = setting("nearest", "of planes in training", choices=("nearest", "hungarian", "masks"))
    max_depth: float = setting(10.0, "farther is unknown (NaN)", "m", 1.0, 1000.0)
    folded: bool = setting(False, "batch norms of `lite` are part of the convolutions")


class Raw(NamedTuple):
    """What the networks give, at 1/8 or 1/4 of the size. planes: (B, K, 3), m, optical frame. logits: (B, K + 1,
    h, w), the rest last. depth: (B, h, w), m, everywhere."""

    planes: Tensor
    logits: Tensor
    depth: Tensor


class Prediction(NamedTuple):
    """Raw at the size of the image, after CRF and fit. prior: (B, K, 3), the planes before the fit."""

    planes: Tensor
    logits: Tensor
    depth: Tensor
    prior: Tensor


def to_optical(planes: Tensor) -> Tensor:
    """Vectors (..., 3) of x right, y forward, z up in the optical frame: x right, y down, z forward."""
    x, forward, up = planes.unbind(-1)
    return torch.stack([x, -up, forward], -1)


def to_forward(planes: Tensor) -> Tensor:
    """The inverse of `to_optical`."""
    x, down, forward = planes.unbind(-1)
    return torch.stack([x, forward, -down], -1)


def normed(channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1, dilation: int = 1,
           eps: float = 1e-5) -> nn.Sequential:  # fmt: skip
    """Convolution without bias, padded by zeros on all sides, and batch norm."""
    padding = dilation * (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(channels_out, eps=eps),
    )


def pooled(x: Tensor, across: int) -> Tensor:
    """Means over a grid of across x across equal windows, which must divide the map."""
    return F.avg_pool2d(x, (x.shape[2] // across, x.shape[3] // across))


Layer = TypeVar("Layer", bound=nn.Module)


def exact(layer: Layer) -> Layer:
    """A last layer that no engine lowers: in bfloat16 its depths would come in steps of 0.4 %."""
    layer.keep_float32 = True  # type: ignore[assignment]
    return layer


def applied(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x.to(layer.weight.dtype))  # type: ignore[arg-type]


def enlarged_tf1(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear as in TensorFlow 1: the source of pixel i is i * (size / new size), clamped at the far edge."""
    x = F.pad(x, (0, 1, 0, 1), mode="replicate")
    return F.interpolate(x, (height + 1, width + 1), mode="bilinear", align_corners=True)[..., :-1, :-1]


def enlarged(x: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=False)


class Tf(nn.Module):
    """Convolution without bias and batch norm as in TensorFlow 1: with SAME padding, which for stride 2 on even
    sizes is one row and column less before than behind."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1, dilation: int = 1
    ):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.001)
        before = (dilation * (kernel - 1) + 1 - stride) // 2 if kernel > 1 else 0
        behind = dilation * (kernel - 1) + 1 - stride - before if kernel > 1 else 0
        self.padding = (before, behind, before, behind)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(F.pad(x, self.padding)))


class Degridding(nn.Module):
    """One step of the stem: two 3x3 convolutions, the second with stride 2, and a 1x1 shortcut."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.a = Tf(channels_in, channels_out, 3)
        self.b = Tf(channels_out, channels_out, 3, stride=2)
        self.c = Tf(channels_in, channels_out, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.b(F.relu(self.a(x))) + self.c(x))


class TfBottleneck(nn.Module):
    """1x1, 3x3 (dilated), 1x1; the stride is the first's, as in the original ResNet."""

    def __init__(self, channels_in: int, middle: int, stride: int, dilation: int, project: bool) -> None:
        super().__init__()
        self.branch1 = Tf(channels_in, 4 * middle, 1, stride) if project else nn.Identity()
        self.branch2a = Tf(channels_in, middle, 1, stride)
        self.branch2b = Tf(middle, middle, 3, dilation=dilation)
        self.branch2c = Tf(middle, 4 * middle)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.branch2a(x))
        return F.relu(self.branch2c(F.relu(self.branch2b(y))) + self.branch1(x))


class ResNet101(nn.Module):
    """The released network. (B, 3, H, W) in -0.5..0.5 -> Raw at 1/8; H and W are multiples of 64."""

    def __init__(self, planes: int = PLANES) -> None:
        super().__init__()
        self.conv1 = Tf(3, 16, 7)
        self.conv2, self.conv3 = Degridding(16, 16), Degridding(16, 32)
        names = {2: ["a", "b", "c"], 3: ["a", "b1", "b2", "b3"],
                 4: ["a", *(f"b{i}" for i in range(1, 23))], 5: ["a", "b", "c"]}  # fmt: skip
        self.res = nn.ModuleDict()
        channels = 32
        for stage, (middle, dilation) in {2: (64, 1), 3: (128, 1), 4: (256, 2), 5: (512, 4)}.items():
            for name in names[stage]:
                stride = 2 if (stage, name) == (3, "a") else 1
                self.res[f"{stage}{name}"] = TfBottleneck(channels, middle, stride, dilation, name == "a")
                channels = 4 * middle
        self.plane_fc = exact(nn.Linear(2048, 3 * planes))
        self.pools = nn.ModuleList(Tf(2048, 512) for _ in range(4))
        self.segmentation_conv1 = Tf(4 * 512 + 2048, 512, 3)
        self.dropout = nn.Dropout(0.1)
        self.segmentation_conv2 = nn.Conv2d(512, planes, 1)
        self.non_plane_mask_conv2 = nn.Conv2d(512, 1, 1)
        self.non_plane_depth_conv2 = exact(nn.Conv2d(512, 1, 1))
        self.non_plane_normal_conv2 = nn.Conv2d(512, 3, 1)  # in the released weights, used by nothing

    def forward(self, image: Tensor, intrinsics: Tensor) -> Raw:
        x = self.conv3(self.conv2(F.relu(self.conv1(image))))
        for block in self.res.values():
            x = block(x)
        planes = applied(self.plane_fc, x.mean((2, 3))).unflatten(1, (-1, 3))
        size = x.shape[2:]
        maps = [enlarged_tf1(F.relu(conv(pooled(x, 2**i))), *size) for i, conv in enumerate(self.pools)]
        x = self.dropout(F.relu(self.segmentation_conv1(torch.cat([x, *maps], 1))))
        logits = torch.cat([self.segmentation_conv2(x), self.non_plane_mask_conv2(x)], 1)
        return Raw(to_optical(planes), logits, applied(self.non_plane_depth_conv2, x)[:, 0])


class Bottleneck(nn.Module):
    """Of the dilated residual networks: the stride is the 3x3's; names of torchvision."""

    def __init__(self, channels_in: int, middle: int, stride: int, dilation: int, project: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = normed(channels_in, middle)
        self.conv2, self.bn2 = normed(middle, middle, 3, stride, dilation)
        self.conv3, self.bn3 = normed(middle, 4 * middle)
        self.downsample = normed(channels_in, 4 * middle, 1, stride) if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class DrnD54(nn.Module):
    """drn_d_54 without its classifier. (B, 3, H, W) -> (B, 512, H / 8, W / 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer0 = nn.Sequential(*normed(3, 16, 7), nn.ReLU())
        self.layer1 = nn.Sequential(*normed(16, 16, 3), nn.ReLU())
        self.layer2 = nn.Sequential(*normed(16, 32, 3, 2), nn.ReLU())
        channels = 32
        plan = [(64, 3, 2, 1), (128, 4, 2, 1), (256, 6, 1, 2), (512, 3, 1, 4)]
        for i, (middle, blocks, stride, dilation) in enumerate(plan, 3):
            layer = nn.Sequential()
            for block in range(blocks):
                first = block == 0
                layer.append(Bottleneck(channels, middle, stride if first else 1, dilation, first))
                channels = 4 * middle
            self.add_module(f"layer{i}", layer)
        self.layer7 = nn.Sequential(*normed(2048, 512, 3, 1, 2), nn.ReLU())
        self.layer8 = nn.Sequential(*normed(512, 512, 3), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.conv, self.bn = normed(channels_in, channels_out, kernel)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Drn(nn.Module):
    """The authors' later network. (B, 3, H, W) in -0.5..0.5 -> Raw at 1/8; H and W are multiples of 64."""

    def __init__(self, planes: int = PLANES) -> None:
        super().__init__()
        self.drn = DrnD54()
        self.plane_pred = exact(nn.Linear(512, 3 * planes))
        self.pyramid = nn.ModuleDict({f"conv_{i}": ConvBlock(512, 128, 1) for i in range(1, 5)})
        self.feature_conv = ConvBlock(512 + 4 * 128, 512, 3)
        self.segmentation_pred = nn.Conv2d(512, planes + 1, 1)
        self.depth_pred = exact(nn.Conv2d(512, 1, 1))

    def forward(self, image: Tensor, intrinsics: Tensor) -> Raw:
        x = self.drn(image)
        planes = applied(self.plane_pred, x.mean((2, 3))).unflatten(1, (-1, 3))
        size = x.shape[2:]
        maps = [enlarged(conv(pooled(x, 2**i)), *size) for i, conv in enumerate(self.pyramid.values())]
        x = self.feature_conv(torch.cat([x, *maps], 1))
        return Raw(to_optical(planes), self.segmentation_pred(x), applied(self.depth_pred, x)[:, 0])


ANCHORS = [(0.0, 1.4, 0.3), (0.0, -1.2, 0.3), (-2.0, 0.0, 0.5), (2.0, 0.0, 0.5), (0.0, 0.5, 3.5),
           (-1.5, 0.3, 2.0), (1.5, 0.3, 2.0), (0.0, 0.7, 0.2), (0.0, 0.3, 1.5), (-0.7, 0.4, 1.2)]  # fmt: skip
"""Planes (m, optical frame) that `lite` starts from: floor, ceiling, walls, table tops and fronts."""


class Lite(nn.Module):
    """Family `compact` with the three branches. (B, 3, H, W) in -0.5..0.5 -> Raw at 1/4; multiples of 64.

    Depth is focal-normalised, ln(f / Z), as in `compact`. Rays are an input: planes are made of angles.
    """

    def __init__(self, planes: int = PLANES) -> None:
        super().__init__()
        self.encoder = compact.Encoder()
        self.bottom = nn.Sequential(nn.Conv2d(320, 128, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU())
        self.context = nn.Conv2d(128, 128, 1)
        self.level16 = compact.fuse(128 + 112 + 2, 96)
        self.level8 = compact.fuse(96 + 40, 64)
        self.level4 = compact.fuse(64 + 24, 48)
        self.head = exact(nn.Conv2d(48, planes + 2, 3, padding=1))
        self.plane_hidden, self.plane_fc = nn.Linear(96 * 16, 128), exact(nn.Linear(128, 3 * planes))
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.plane_fc.weight.mul_(0.3)
            start = torch.tensor(ANCHORS).repeat(-(-planes // len(ANCHORS)), 1)[:planes]
            self.plane_fc.bias.copy_(start.flatten())

    def forward(self, image: Tensor, intrinsics: Tensor) -> Raw:
        (_, quarter, eighth, sixteenth), x = self.encoder(2.0 * image)
        x = self.bottom(x)
        x = x + F.relu(self.context(x.mean((2, 3), keepdim=True)))
        rays = geometry.pixel_rays(intrinsics, sixteenth.shape[2:], step=16)[:, :2].to(x.dtype)
        x = self.level16(torch.cat([compact.twice(x), sixteenth, rays], 1))
        hidden = F.relu(self.plane_hidden(pooled(x, 4).flatten(1)))
        planes = applied(self.plane_fc, hidden).unflatten(1, (-1, 3))
        x = self.level8(torch.cat([compact.twice(x), eighth], 1))
        x = self.level4(torch.cat([compact.twice(x), quarter], 1))
        maps = applied(self.head, x).float()
        focal = compact.focal(intrinsics)[:, None, None]
        depth = focal * torch.exp(-(maps[:, -1] + compact.TYPICAL).clamp(-2.0, 9.0))
        return Raw(planes, maps[:, :-1], depth)


NETWORKS: dict[str, Callable[..., nn.Module]] = {"resnet101": ResNet101, "drn_d_54": Drn, "lite": Lite}


class Model(nn.Module):
    """The contract of a planes model (see depth_ros.networks) around a network, the CRF and the composition."""

    size_multiple = 64

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.network = NETWORKS[settings.network](settings.planes)
        if settings.folded:
            compact.fold(self.network.eval())
        self.crf = None
        if settings.crf_iterations:
            self.crf = DenseCrf(settings.planes + 1, settings.crf_iterations, settings.crf_stride)

    def predict(self, image: Tensor, intrinsics: Tensor) -> Prediction:
        """image: (B, H, W, 3) uint8 RGB, intrinsics: (B, 3, 3) px."""
        dtype = next(self.network.parameters()).dtype
        raw = self.network((image.float().permute(0, 3, 1, 2) / 255.0 - 0.5).to(dtype), intrinsics)
        if torch.is_autocast_enabled(image.device.type):  # training: what follows is geometry
            with torch.autocast(image.device.type, enabled=False):
                return self._completed(raw, image, intrinsics)
        return self._completed(raw, image, intrinsics)

    def _completed(self, raw: Raw, image: Tensor, intrinsics: Tensor) -> Prediction:
        size = image.shape[1:3]
        larger = enlarged_tf1 if self.settings.network == "resnet101" else enlarged
        prior, logits = raw.planes.float(), larger(raw.logits.float(), *size)
        if self.crf is not None:
            logits = self.crf(logits, image)
        inverse = 1 / raw.depth.float().clamp(1e-2, 1e3)
        planes = prior
        if self.settings.fitted:
            step = size[0] // inverse.shape[1]
            rays = geometry.pixel_rays(intrinsics, inverse.shape[1:], step)
            share = F.avg_pool2d(logits.softmax(1)[:, :-1], step)
            planes = geometry.fit(inverse, rays, share, prior)
        if self.settings.network == "lite":  # inverse depth is linear on planes
            depth = 1 / larger(inverse[:, None], *size)[:, 0]
        else:
            depth = larger(raw.depth.float()[:, None], *size)[:, 0]
        return Prediction(planes, logits, depth, prior)

    def forward(self, image: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Depth (B, H, W) m of the plane or the rest that wins each pixel, planes (B, K, 4), labels (B, H, W)."""
        found = self.predict(image, intrinsics)
        depths = layers(found, intrinsics, self.settings.max_depth)
        winner = found.logits.argmax(1, keepdim=True)
        depth = depths.gather(1, winner)[:, 0]
        known = (depth > 0) & (depth < self.settings.max_depth)
        winner = winner[:, 0]
        labels = torch.where(winner < self.settings.planes, winner, -1).to(torch.int32)
        return torch.where(known, depth, torch.nan), geometry.equations(found.planes), labels


def layers(found: Prediction, intrinsics: Tensor, farthest: float) -> Tensor:
    """(B, K + 1, H, W) depth of every plane and of the rest at every pixel, m in [0, farthest]."""
    rays = geometry.pixel_rays(intrinsics, found.depth.shape[1:])
    rest = found.depth.clamp(0.0, farthest)[:, None]
    return torch.cat([geometry.plane_depths(found.planes, rays, farthest), rest], 1)


def initialise(model: Model) -> None:
    """ImageNet weights of the encoder of `lite`; the others start from nothing, and so does a folded `lite`."""
    if model.settings.network == "lite" and not model.settings.folded:
        compact.initialise(model)  # type: ignore[arg-type]


def finish(model: Model) -> Model:
    """The form that is deployed: a trained `lite` with folded batch norms, as in `compact`; others as they are."""
    if model.settings.network != "lite":
        return model
    model = copy.deepcopy(model).eval()
    compact.fold(model.network)
    model.settings = dataclasses.replace(model.settings, folded=True)
    return model


def loss(model: Model, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """batch: image (B, H, W, 3) uint8, intrinsics (B, 3, 3), depth (B, H, W) m with NaN for unknown, weight
    (B, H, W) of each pixel's depth, planes (B, P, 3) true vectors n d with NaN for none, labels (B, H, W) of them,
    -1 = no plane.

    plane: squared distance of each true plane to its match. segmentation: cross entropy to the matched index.
    depth: the composition, sum over k of S_k (D_k - D)^2. With `fitted` planes their branch learns a prior, and
    depth is relative and also asked of the depth branch alone: |D_k / D - 1|, so that far planes do not rule.
    Where masks are matched, two terms look at each plane alike, small or large, as plane recall does: overlap,
    1 - IoU of mask and soft segment, and reach, ln(1 + e / 5 cm), e the mean of |D_k - D|, at most 5 m, over the mask.
    """
    settings = model.settings
    found = model.predict(batch["image"], batch["intrinsics"])
    labels = batch["labels"].long()
    unlike = None
    if settings.matching == "masks":
        masks = (
            labels[:, None] == torch.arange(batch["planes"].shape[1], device=labels.device)[:, None, None]
        ).float()
        area = masks.sum((2, 3)).clamp(min=1.0)
        entropies = -found.logits.detach().log_softmax(1)[:, :-1]
        unlike = geometry.over_masks(masks, entropies) / area[:, :, None]
    index, valid = geometry.match(found.prior, batch["planes"], settings.matching, unlike)
    matched = found.prior.gather(1, index[..., None].expand(-1, -1, 3))
    square = torch.where(valid, (matched - batch["planes"].nan_to_num()).square().sum(2), 0.0)
    known = torch.isfinite(batch["depth"])
    weight = batch["weight"] * known
    total = weight.sum().clamp(min=1.0)
    target = torch.where(
        labels >= 0, index.gather(1, labels.clamp(min=0).flatten(1)).view_as(labels), settings.planes
    )
    entropy = F.cross_entropy(found.logits, target, reduction="none")
    truth = torch.where(known, batch["depth"], 1.0)[:, None]
    error = layers(found, batch["intrinsics"], settings.max_depth) - truth
    share = found.logits.softmax(1)
    terms = {
        "plane": square.sum() / (len(labels) * settings.planes),
        "segmentation": (weight * entropy).sum() / total,
    }
    if settings.matching == "masks":
        count = valid.sum().clamp(min=1)
        agreement = geometry.overlaps(masks, share[:, :-1]).gather(2, index[..., None])[..., 0]
        terms["overlap"] = ((1 - agreement) * valid).sum() / count
        own = (error.abs().gather(1, target[:, None]) * known[:, None]).clamp(max=5.0)
        mean = geometry.over_masks(masks, own)[..., 0] / area
        terms["reach"] = (torch.log1p(mean / REACH) * valid).sum() / count
    if settings.fitted:
        relative = (error / truth).abs().clamp(max=2.0)
        alone = (torch.log(found.depth.clamp(min=1e-2)) - torch.log(truth[:, 0])).abs()
        terms["depth"] = (weight * (share * relative).sum(1)).sum() / total
        terms["branch"] = (weight * alone).sum() / total
    else:
        terms["depth"] = (weight * (share * error.square()).sum(1)).sum() / total
    weights = FITTED_WEIGHTS if settings.fitted else WEIGHTS
    terms["loss"] = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    return terms


# what the released checkpoint calls the parts of `ResNet101` and of the CRF, below degridding/ for the stem
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def released_name(key: str) -> str:
    """The TensorFlow variable for a key of the state dict of a `resnet101` model.

    network.res.4b7.branch2a.conv.weight is res4b7_branch2a/weights, its batch norm bn4b7_branch2a/gamma, ...
    """
    _, *path, last = key.split(".")
    if key.startswith("crf."):
        return f"crfrnn/{last}"
    norm = path[-1] == "bn"
    variable = _NORM[last] if norm else {"weight": "weights", "bias": "biases"}[last]
    if path[0] == "res":
        return f"{'bn' if norm else 'res'}{path[1]}_{path[2]}/{variable}"
    if path[0] == "pools":
        return f"res5d_pool{int(path[1]) + 1}_{path[2]}/{variable}"
    if path[0] == "segmentation_conv1":
        return f"segmentation_{'bn1' if norm else 'conv1'}/{variable}"
    if path[0] in ("conv1", "conv2", "conv3"):
        place = path[0][-1] + (path[1] if path[0] != "conv1" else "")
        scope = f"bn{place}" if norm else {"2c": "conv2_c"}.get(place, f"conv{place}")
        return f"degridding/{scope}/{variable}"
    return f"{path[0]}/{variable}"


def released_state(model: Model, variables: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The state dict of a `resnet101` model from the variables of the released checkpoint, by name.

    Kernels turn from (kh, kw, in, out) to (out, in, kh, kw) and from (in, out) to (out, in). The CRF was trained
    with messages from every pixel (`crf_stride` 1). Raises DepthRosError naming a variable that is missing or odd.
    """
    state = {}
    for key, held in model.state_dict().items():
        if key.endswith("num_batches_tracked"):
            state[key] = held
            continue
        name = released_name(key)
        if name not in variables:
            raise DepthRosError(
                f"the checkpoint lacks '{name}': is it PlaneNet's hybrid model, with its CRF?"
            )
        value = torch.from_numpy(np.array(variables[name]))
        if value.ndim == 4:
            value = value.permute(3, 2, 0, 1)
        elif value.ndim == 2 and not key.startswith("crf."):
            value = value.T
        if value.shape != held.shape:
            raise DepthRosError(
                f"'{name}' has shape {tuple(variables[name].shape)}, which does not fit '{key}'"
            )
        state[key] = value.contiguous()
    return state
