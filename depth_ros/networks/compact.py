"""compact: metric depth from one image in real time on a small processor. Our own family.

An EfficientNet-Lite0 encoder, a light decoder with one 3x3 convolution per level, and focal-normalised inverse depth
(see `blocks.focal_length`): the network predicts ln(f / Z), f in px of its own input, so that one network is metric
for any pinhole camera. For the same reason the position of every pixel relative to the principal point is an input of
the decoder.

The standard deviation, where `Settings.std` is on, is the 68 % quantile of the absolute error relative to the predicted
depth, learned by the pinball loss (Koenker and Bassett 1978) of its logarithm, as in family `stereo`.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.config import setting
from depth_ros.networks.blocks.convolution import (
    apply_in_own_precision,
    conv_bn_relu,
    keep_float32,
    upsample_nearest,
)
from depth_ros.networks.blocks.depth_loss import depth_loss
from depth_ros.networks.blocks.efficientnet_lite import Encoder, imagenet_weights
from depth_ros.networks.blocks.focal_length import LOG_INVERSE_DEPTH_OFFSET, mean_focal_length
from depth_ros.networks.blocks.folding import fold_batch_norms

TASK = "depth"
QUANTILE = 0.68
"""Fraction of errors within the predicted standard deviation."""
MIN_ERROR = 0.002
"""Added to relative errors, of which the logarithm is taken."""
LOG_STD_OFFSET = -2.0
"""ln of the relative standard deviation at which training starts."""


@dataclass(frozen=True)
class Settings:
    """Options of `Model`."""

    max_depth: float = setting(200.0, "Maximum depth; farther pixels are inf.", "m", 1.0, 10000.0)
    folded: bool = setting(
        False, "Batch norms are folded into the convolutions and weights are rounded to bfloat16."
    )
    std: bool = setting(False, "The model also predicts the standard deviation of depth.")
    std_scale: float = setting(1.0, "Calibration factor of the predicted standard deviations.", "", 0.1, 10.0)


@dataclass(frozen=True)
class LossSettings:
    """Options of `loss`."""

    std_only: bool = setting(
        False,
        "Leave the terms of depth out, e.g. to add a standard deviation to a model whose depth is to stay.",
    )


class Network(nn.Module):
    """Image and pixel positions -> ln(f / Z) - LOG_INVERSE_DEPTH_OFFSET at the size of the image, (B, 1, H, W); with
    `std` (B, 2, H, W), the second ln of the relative standard deviation - LOG_STD_OFFSET.

    image: (B, 3, H, W) in about [-1, 1], H and W multiples of 32. position: (B, 2, H/16, W/16), distance from the
    principal point in units of 128 px. The last two upsampling steps are sub-pixel convolutions (Shi et al., CVPR
    2016), so that all the work is done at 1/4 and 1/2 of the size.
    """

    def __init__(self, std: bool = False) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.bottom = conv_bn_relu(320, 128, 1)
        self.context = nn.Conv2d(128, 128, 1)
        self.level16 = conv_bn_relu(128 + 112 + 2, 96)
        self.level8 = conv_bn_relu(96 + 40, 64)
        self.level4 = conv_bn_relu(64 + 24, 32)
        self.level2 = nn.Conv2d(32, 4 * 16, 3, padding=1)
        # rounded to bfloat16, a depth of 10 m would come in steps of 6 cm
        self.head = keep_float32(nn.Conv2d(16, 8 if std else 4, 3, padding=1))
        nn.init.normal_(self.head.weight, std=0.01)  # training starts at the offsets everywhere
        self.register_load_state_dict_pre_hook(_add_std)

    def forward(self, image: Tensor, position: Tensor) -> Tensor:
        (half, quarter, eighth, sixteenth), x = self.encoder(image)
        x = self.bottom(x)  # (B, 128, H/32, W/32)
        x = x + F.relu(self.context(x.mean((2, 3), keepdim=True)))
        x = self.level16(torch.cat([upsample_nearest(x), sixteenth, position], 1))  # (B, 96, H/16, W/16)
        x = self.level8(torch.cat([upsample_nearest(x), eighth], 1))  # (B, 64, H/8, W/8)
        x = self.level4(torch.cat([upsample_nearest(x), quarter], 1))  # (B, 32, H/4, W/4)
        x = F.relu(F.pixel_shuffle(self.level2(x), 2) + half)  # (B, 16, H/2, W/2)
        return F.pixel_shuffle(apply_in_own_precision(self.head, x), 2)


def _add_std(network: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Let a network with standard deviation start from the weights of one without: it starts at the offset."""
    for name, own in network.head.state_dict(prefix=f"{prefix}head.").items():  # type: ignore[union-attr]
        if name in state and (missing := len(own) - len(state[name])) == 4:
            state[name] = torch.cat([state[name], state[name].new_zeros(missing, *own.shape[1:])])


NETWORKS = {"depth": Network}


class Model(nn.Module):
    """`Network` with the contract of a depth model (see depth_ros.networks)."""

    size_multiple = 32
    int8 = True

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.deviations = (1,) if settings.std else ()
        self.network = Network(settings.std)
        if settings.folded:
            fold_batch_norms(self.network.eval())

    def outputs(self, image: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor | None]:
        """ln(f / Z), (B, H, W) float32, of an image (B, H, W, 3) uint8; f in px of this image. With the setting `std`
        also ln(std / Z), (B, H, W), before calibration."""
        dtype = self.network.level2.weight.dtype
        x = image.to(dtype).permute(0, 3, 1, 2)
        x = (x - 127.0) * (1.0 / 128.0)
        position = _pixel_positions(image, intrinsics).to(dtype)
        x = self.network(x, position).float()
        log_std = x[:, 1] + LOG_STD_OFFSET if self.settings.std else None
        return x[:, 0] + LOG_INVERSE_DEPTH_OFFSET, log_std

    def forward(self, image: Tensor, intrinsics: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Depth (B, H, W) float32 m; inf beyond `max_depth`. With the setting `std` also its standard deviation, m."""
        log_focal = mean_focal_length(intrinsics).log()[:, None, None]
        log_inverse_depth, log_std = self.outputs(image, intrinsics)
        depth = torch.exp(log_focal - log_inverse_depth)
        depth = torch.where(depth <= self.settings.max_depth, depth, torch.inf)
        if log_std is None:
            return depth
        return depth, self.settings.std_scale * depth * torch.exp(log_std)


def _pixel_positions(image: Tensor, intrinsics: Tensor) -> Tensor:
    """(B, 2, H/16, W/16): x and y of the centres of 16x16 px cells, from the principal point, in units of 128 px."""
    batch, height, width, _ = image.shape
    u = torch.arange(width // 16, device=image.device, dtype=torch.float32) * 16 + 7.5
    v = torch.arange(height // 16, device=image.device, dtype=torch.float32) * 16 + 7.5
    x = (u[None, :] - intrinsics[:, 0, 2, None]) / 128.0
    y = (v[None, :] - intrinsics[:, 1, 2, None]) / 128.0
    shape = (batch, height // 16, width // 16)
    return torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], 1)


def initialise(model: Model) -> None:
    """Load the ImageNet weights of the encoder."""
    model.network.encoder.load_state_dict(imagenet_weights())


def finish(model: Model) -> Model:
    """Copy of a trained model for deployment, its batch norms folded."""
    model = copy.deepcopy(model).eval()
    fold_batch_norms(model.network)
    model.settings = dataclasses.replace(model.settings, folded=True)
    return model


def loss(
    model: Model,
    batch: dict[str, Tensor],
    settings: LossSettings = LossSettings(),
) -> dict[str, Tensor]:
    """Supervised loss of depth.

    batch: image (B, H, W, 3) uint8, intrinsics (B, 3, 3), depth (B, H, W) m with NaN for invalid pixels, weight
    (B, H, W) of each pixel.

    The terms are those of `depth_loss` and, where the model predicts it, std: pinball loss of
    ln |Z true / Z predicted - 1|, which is least at the `QUANTILE` of the error; it does not change the error itself.
    """
    predicted, log_std = model.outputs(batch["image"], batch["intrinsics"])
    valid = torch.isfinite(batch["depth"])
    focal_length = mean_focal_length(batch["intrinsics"])[:, None, None]
    ground_truth = torch.log(focal_length / batch["depth"].nan_to_num(1.0))
    weight = batch["weight"] * valid
    error = torch.where(valid, predicted - ground_truth, 0.0)
    terms = depth_loss(error, weight)
    if log_std is not None:
        total = weight.sum((1, 2)).clamp(min=1.0)
        terms["std"] = (_pinball(error.detach(), log_std, weight).sum((1, 2)) / total).mean()
        terms["loss"] = terms["std"] if settings.std_only else terms["loss"] + 0.1 * terms["std"]
    return terms


def _pinball(error: Tensor, log_std: Tensor, weight: Tensor) -> Tensor:
    """Weighted pinball loss (B, H, W) of ln of the relative error, for e = ln(Z true / Z predicted) (B, H, W)."""
    excess = torch.log(torch.expm1(error.clamp(max=5.0)).abs() + MIN_ERROR) - log_std
    return weight * torch.maximum(QUANTILE * excess, (QUANTILE - 1) * excess)
