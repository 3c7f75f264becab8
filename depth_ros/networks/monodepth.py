"""monodepth: depth from one image, learned from rectified stereo pairs.

Source: Godard, Mac Aodha, Brostow, "Unsupervised Monocular Depth Estimation with Left-Right Consistency", CVPR 2017.
A network takes the left image and predicts the disparities of both views; the loss asks that each view can be
synthesised from the other. Layer names (upconv7, iconv7, disp4, ...) are those of the paper's table.

Disparities are fractions of the image width, at most 0.3, for the baseline of the training rig; points at infinity must
have zero disparity. With an image of W px, depth in metres is

    depth = fx * baseline / (W * disparity)

with fx of the camera in use. For the training camera this is the textbook formula; for another camera it contains the
factor (fx / W) / (fx_train / W_train), by which a network that judges distance by apparent size errs: fx_train cancels.
A different height or tilt of the camera is not corrected.

Licence: see LICENCE_NOTE.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F

from depth_ros.config import setting
from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks.convolution import upsample_nearest
from depth_ros.networks.blocks.photometric import appearance, smoothness
from depth_ros.networks.blocks.sampling import sample_horizontal
from depth_ros.networks.blocks.video_layers import UpConv

TASK = "depth"  # "stereo_depth" with Settings.stereo

LICENCE_NOTE = (
    "The code and weights that the authors of monodepth released are under the UCLB ACP-A licence "
    "(non-commercial use only, not sublicensable), which also covers patents arising from a UK application "
    "('Patent Pending'; owner Niantic). This implementation is independent: written from the formulas of the "
    "publication, it contains no code and no weights of theirs and is Apache-2.0. A patent may nevertheless "
    "cover the use of the method: ask before using family 'monodepth' commercially."
)

MAX_DISPARITY = 0.3
"""Fraction of the image width."""
SCALES = 4


def conv(channels: int, width: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution with (kernel - 1) // 2 zeros on all sides, then ELU. No layer is normalised."""
    return nn.Sequential(nn.Conv2d(channels, width, kernel, stride, (kernel - 1) // 2), nn.ELU())


def vgg_stages(channels: int, width_divisor: int = 1) -> tuple[list[nn.Module], list[int]]:
    """Seven stages, each with stride 2 in its second convolution, and their numbers of output channels."""
    widths = [width // width_divisor for width in (32, 64, 128, 256, 512, 512, 512)]
    kernels = [7, 5, 3, 3, 3, 3, 3]
    stages: list[nn.Module] = []
    for width, kernel in zip(widths, kernels):
        stages.append(nn.Sequential(conv(channels, width, kernel), conv(width, width, kernel, stride=2)))
        channels = width
    return stages, widths


class Unit(nn.Module):
    """Bottleneck of a residual network with n, n and 4 n channels; ELU after the sum."""

    def __init__(self, channels: int, n: int, stride: int, project: bool) -> None:
        super().__init__()
        self.residual = nn.Sequential(conv(channels, n, 1), conv(n, n, 3, stride), nn.Conv2d(n, 4 * n, 1))
        self.shortcut = nn.Conv2d(channels, 4 * n, 1, stride) if project else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.elu(self.residual(x) + self.shortcut(x))


def resnet50_stages(
    channels: int, width_divisor: int = 1, lean: bool = False
) -> tuple[list[nn.Module], list[int]]:
    """Six stages of a ResNet-50 as published, and their numbers of output channels.

    The last unit of a stage has the stride, and every shortcut has a projection. lean: project only the shortcuts of
    units that change the shape (He et al. 2016). In the released networks all of them are projected, by mistake; the
    authors keep it for compatibility with the weights.
    """
    pool = nn.Sequential(
        nn.ZeroPad2d(1), nn.MaxPool2d(3, 2)
    )  # padding can be the maximum: ELU has negative values
    stages: list[nn.Module] = [conv(channels, 64 // width_divisor, 7, stride=2), pool]
    channels = 64 // width_divisor
    for published, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        n = published // width_divisor
        units = []
        for i in range(count):
            stride = 2 if i == count - 1 else 1
            changes_shape = stride != 1 or channels != 4 * n
            units.append(Unit(channels, n, stride, project=changes_shape or not lean))
            channels = 4 * n
        stages.append(nn.Sequential(*units))
    return stages, [width // width_divisor for width in (64, 64, 256, 512, 1024, 2048)]


class Enlarging(nn.Sequential):
    """The layers, applied at twice the size of the input, to which nearest neighbours enlarge it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(upsample_nearest(x))


UPCONVS: dict[str, Callable[[int, int], nn.Module]] = {
    "nearest": lambda channels, width: Enlarging(*conv(channels, width, 3)),
    "transposed": lambda channels, width: nn.Sequential(UpConv(channels, width), nn.ELU()),
}
"""Layers that double the size, by name: as published, and the option of the released code, a transposed convolution of
stride 2, padded as by TensorFlow's SAME."""


class Network(nn.Module):
    """Encoder of the given stages, and a decoder to full size with skip connections from all of them.

    upconv: key of UPCONVS. width_divisor: that of the stages.
    """

    def __init__(
        self, stages: list[nn.Module], widths: list[int], upconv: str = "nearest", width_divisor: int = 1
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(stages)
        self.decoder = nn.ModuleDict()
        channels = widths[-1]
        for level in range(len(stages), 0, -1):
            width = (16, 32, 64, 128, 256, 512, 512)[level - 1] // width_divisor
            skip = widths[level - 2] if level > 1 else 0
            coarser = 2 if level < SCALES else 0
            self.decoder[f"upconv{level}"] = UPCONVS[upconv](channels, width)
            self.decoder[f"iconv{level}"] = conv(width + skip + coarser, width, 3)
            if level <= SCALES:
                self.decoder[f"disp{level}"] = nn.Conv2d(width, 2, 3, padding=1)
            channels = width

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(B, C, H, W) in [0, 1] -> four (B, 2, H / 2^s, W / 2^s) float32, s = 0 to 3: disparities of the left view
        (channel 0) and the right view, fractions of the width."""
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        disparities: list[torch.Tensor] = []
        for level in range(len(skips), 0, -1):
            parts = [self.decoder[f"upconv{level}"](x)]
            if level > 1:
                parts.append(skips[level - 2])
            if level < SCALES:
                parts.append(upsample_nearest(disparities[-1]).to(x.dtype))
            x = self.decoder[f"iconv{level}"](torch.cat(parts, 1))
            if level <= SCALES:
                logits = self.decoder[f"disp{level}"](x)
                disparities.append(MAX_DISPARITY * torch.sigmoid(logits.float()))
        return disparities[::-1]


ENCODERS: dict[str, Callable[[int, int], tuple[list[nn.Module], list[int]]]] = {
    "vgg": vgg_stages,
    "resnet50": resnet50_stages,
    "resnet50_lean": functools.partial(resnet50_stages, lean=True),
}
NETWORKS: dict[str, Callable[[], Network]] = {
    "vgg": lambda: Network(*vgg_stages(3)),
    "vgg_stereo": lambda: Network(*vgg_stages(6)),
    "resnet50": lambda: Network(*resnet50_stages(3)),
    "resnet50_lean": lambda: Network(*resnet50_stages(3, lean=True)),
}


@dataclass(frozen=True)
class Settings:
    """Options of `Model`."""

    encoder: str = setting(
        "vgg",
        "Encoder; resnet50_lean projects shortcuts only where shapes change.",
        choices=tuple(ENCODERS),
    )
    upconv: str = setting(
        "nearest",
        "How the decoder doubles the size: nearest neighbours and a convolution, or a transposed convolution.",
        choices=tuple(UPCONVS),
    )
    width_divisor: int = setting(1, "Divisor of all numbers of channels; 1 = as published.", "", 1, 16)
    stereo: bool = setting(False, "Take both images of a pair, for task stereo_depth.")
    baseline: float = setting(0.54, "Baseline of the training rig.", "m", minimum=0.001)
    max_depth: float = setting(
        80.0, "Maximum depth; larger depths, and that of zero disparity, are set to it.", "m", minimum=0.1
    )
    post_process: bool = setting(
        False,
        "Combine with the prediction for the mirrored image, for better borders; twice the time, tuned to KITTI.",
    )


class Model(nn.Module):
    """`Network` with the contract of a depth model or, with `settings.stereo`, of a stereo model.

    task: which of the two. size_multiple: px that width and height must be multiples of.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        if settings.stereo and settings.post_process:
            raise DepthRosError("monodepth: 'post_process' needs a single image: disable it or 'stereo'")
        self.settings = settings
        self.task = "stereo_depth" if settings.stereo else "depth"
        stages, widths = ENCODERS[settings.encoder](6 if settings.stereo else 3, settings.width_divisor)
        self.network = Network(stages, widths, settings.upconv, settings.width_divisor)
        self.size_multiple = 2 ** len(self.network.encoder)

    def disparities(self, left: torch.Tensor, right: torch.Tensor | None = None) -> list[torch.Tensor]:
        """Outputs of `Network`, four (B, 2, H / 2^s, W / 2^s), for images (B, H, W, 3) uint8.

        Raises DepthRosError if a side is not a multiple of `size_multiple`.
        """
        height, width = left.shape[1:3]
        step = self.size_multiple
        if height % step or width % step:
            nearest = [max(step, step * round(side / step)) for side in (width, height)]
            raise DepthRosError(
                f"monodepth with encoder {self.settings.encoder} takes images whose sides are multiples of "
                f"{step} px; got {width}x{height}: resize to {nearest[0]}x{nearest[1]}"
            )
        images = [left] if right is None or not self.settings.stereo else [left, right]
        dtype = next(self.parameters()).dtype
        x = torch.cat([image.to(dtype) for image in images], dim=3).permute(0, 3, 1, 2)
        return self.network(x / 255)

    def forward(self, image: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Depth (B, H, W) float32 m of (image, intrinsics), or disparity (B, H, W) float32 px of (left, right).

        Images are uint8 (B, H, W, 3), intrinsics (B, 3, 3) px.
        """
        width = image.shape[2]
        if self.settings.stereo:
            return width * self.disparities(image, other)[0][:, 0]
        if self.settings.post_process:  # image and mirrored image as one batch
            image = image.float()
            normal, mirrored = self.disparities(torch.cat([image, image.flip(2)]))[0][:, 0].chunk(2)
            disparity = post_process(normal, mirrored.flip(2))
        else:
            disparity = self.disparities(image)[0][:, 0]
        return depth_from(width * disparity, other[:, 0, 0], self.settings)


MODELS = {
    "depth": Model,
    "stereo_depth": lambda settings: Model(replace(settings, stereo=True)),
}


def depth_from(disparity_px: torch.Tensor, fx: torch.Tensor, settings: Settings) -> torch.Tensor:
    """Depth (B, H, W) m of disparities (B, H, W) px in an image with focal length fx (B,) px."""
    depth = fx.float().reshape(-1, 1, 1) * settings.baseline / disparity_px
    return depth.clamp(max=settings.max_depth)


def post_process(normal: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    """Combined disparity (B, H, W) of an image and of its mirrored image, the latter flipped back.

    The mean of both, except at the sides: the left border of a prediction is wrong, since the right view does not show
    it. The outer 5 % come from the prediction for which that side is not the left one; the next 5 % are blended.
    """
    x = torch.linspace(0, 1, normal.shape[-1], dtype=normal.dtype, device=normal.device)
    left = 1 - (20 * (x - 0.05)).clamp(0, 1)
    right = left.flip(0)
    return right * normal + left * mirrored + (1 - left - right) * (normal + mirrored) / 2


@dataclass(frozen=True)
class LossSettings:
    """Weights of `loss` (section 3.2 of the paper, equations 1 to 4)."""

    ssim_weight: float = setting(
        0.85, "Weight of SSIM in the appearance loss; that of L1 is 1 - ssim_weight.", minimum=0, maximum=1
    )
    smoothness_weight: float = setting(
        0.1, "Weight of the smoothness loss at full size; halved at each coarser scale.", minimum=0
    )
    smoothness_axes: str = setting(
        "x", "Axes of the smoothness loss: 'x' as in the released code, 'xy' as in the paper.", choices=("x", "xy")
    )  # fmt: skip
    consistency_weight: float = setting(1.0, "Weight of the left-right consistency loss.", minimum=0)


def loss(
    model: Model, batch: dict[str, torch.Tensor], settings: LossSettings = LossSettings()
) -> dict[str, torch.Tensor]:
    """Loss of a batch of rectified pairs (section 3.2 of the paper).

    batch: "image" (left) and "right", (B, H, W, 3) uint8. Terms, summed over four scales and both views, without
    weights: appearance, smoothness (/ 2^s) and consistency. "loss" is their weighted sum.
    """
    left, right = (batch[key].permute(0, 3, 1, 2).float() / 255 for key in ("image", "right"))
    terms = {name: left.new_zeros(()) for name in ("appearance", "smoothness", "consistency")}
    for scale, disparity in enumerate(model.disparities(batch["image"], batch["right"])):
        if scale:
            left, right = F.avg_pool2d(left, 2), F.avg_pool2d(right, 2)
        d_left, d_right = disparity.split(1, dim=1)
        views = (left, right, d_left, d_right, -d_left), (right, left, d_right, d_left, d_right)
        for image, other, d, d_other, offset in views:
            terms["appearance"] += appearance(image, sample_horizontal(other, offset), settings.ssim_weight)
            terms["smoothness"] += smoothness(d, image, settings.smoothness_axes) / 2**scale
            terms["consistency"] += (d - sample_horizontal(d_other, offset)).abs().mean()
    weighted = (
        terms["appearance"]
        + settings.smoothness_weight * terms["smoothness"]
        + settings.consistency_weight * terms["consistency"]
    )
    return {"loss": weighted, **terms}


def augment(batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Augmented batch for `loss`: half of the pairs are mirrored and, independently, half are recoloured.

    Mirroring swaps the views, so that disparities stay positive. Both images of a pair get the same gamma (0.8 to 1.2),
    brightness (0.5 to 2) and gain of each channel (0.8 to 1.2). Other entries of the batch are dropped: they would not
    fit a mirrored pair.
    """
    left, right = batch["image"], batch["right"]
    count = len(left)

    def draw(low: float, high: float, channels: int = 1) -> torch.Tensor:
        values = torch.rand(count, 1, 1, channels, generator=generator) * (high - low) + low
        return values.to(left.device)

    mirror, recolour = draw(0, 1) < 0.5, draw(0, 1) < 0.5
    gamma, gain = draw(0.8, 1.2), draw(0.5, 2.0) * draw(0.8, 1.2, channels=3)

    def recoloured(image: torch.Tensor) -> torch.Tensor:
        changed = ((image / 255) ** gamma * gain).clamp(0, 1) * 255
        return torch.where(recolour, changed.round().to(torch.uint8), image)

    new_left = torch.where(mirror, right.flip(2), left)
    new_right = torch.where(mirror, left.flip(2), right)
    return {"image": recoloured(new_left), "right": recoloured(new_right)}


def initialise(model: Model) -> None:
    """The published initialisation: Xavier-uniform kernels, zero bias. Nothing is pretrained."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
