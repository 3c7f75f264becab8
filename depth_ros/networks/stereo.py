"""stereo: disparity and its standard deviation from a rectified pair, in real time on a small processor.

Our own family. EfficientNet-Lite0 features of both images, correlations over the whole disparity range at 1/4 and, in
groups, at 1/8 of the size, a small 3-D hourglass at 1/8 steered by the left image, soft arg-min around the best step at
1/4, one 2-D refinement, and convex upsampling to every pixel (sources: `blocks.cost_volume`). No weight depends on the
absolute disparity, so the disparity range is a setting that needs no training. All operators are plain, all shapes
static.

The predicted standard deviation is the 68 % quantile of the absolute error, learned by the pinball loss (Koenker and
Bassett 1978) of its logarithm: about 68 % of the pixels with sigma = 1 px have an error of less than 1 px.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.config import setting
from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks.convolution import (
    apply_in_own_precision,
    conv_bn_relu,
    keep_float32,
    upsample_nearest,
)
from depth_ros.networks.blocks.cost_volume import (
    GROUPS,
    WINDOW,
    Aggregation,
    convex_upsample,
    correlation,
    soft_argmin,
)
from depth_ros.networks.blocks.efficientnet_lite import Encoder, imagenet_weights
from depth_ros.networks.blocks.folding import fold_batch_norms

TASK = "stereo_depth"
QUANTILE = 0.68
"""Fraction of errors within the predicted standard deviation."""
LARGE_ERROR = 4.0
"""px; errors up to this size can be corrected by soft arg-min and refinement, larger ones only by the cost volume."""


@dataclass(frozen=True)
class Settings:
    """Options of `Model`."""

    disparity_range: int = setting(192, "Maximum disparity + 1; a multiple of 32.", "px", 32, 512)
    std_scale: float = setting(1.0, "Calibration factor of the predicted standard deviations.", "", 0.1, 10.0)
    folded: bool = setting(
        False, "Batch norms are folded into the convolutions and weights are rounded to bfloat16."
    )


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *conv_bn_relu(channels, channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.layers(x))


class Features(nn.Module):
    """Features of both images down to 1/8 of the size, for matching, and of the left one down to 1/16, for context.

    The last two stages of EfficientNet-Lite0 are left out: they took a fifth of the time. The layers above 1/4 keep
    their ImageNet weights: lines and colours are the same everywhere, and training is faster by a third.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        del self.encoder.stages[5:]
        self.fixed = (self.encoder.stem, self.encoder.stages[0], self.encoder.stages[1])
        for part in self.fixed:
            part.requires_grad_(False)
        self.lateral8 = nn.Conv2d(40, 48, 1)
        self.lateral4 = nn.Conv2d(24, 32, 1)
        self.level8 = conv_bn_relu(48, 48)
        self.down4 = nn.Conv2d(48, 32, 1)
        self.level4 = conv_bn_relu(32, 32)
        self.level16 = conv_bn_relu(112, 96)

    def train(self, mode: bool = True) -> Features:
        super().train(mode)
        for part in self.fixed:
            part.eval()
        return self

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) twice -> (B, 16, H/2, W/2), (2 B, 32, H/4, W/4), (2 B, 48, H/8, W/8), (B, 96, H/16, W/16)."""
        half = self.encoder.stages[0](self.encoder.stem(torch.cat([left, right])))
        quarter = self.encoder.stages[1](half)
        eighth = self.encoder.stages[2](quarter)
        x8 = self.level8(self.lateral8(eighth))
        x4 = self.level4(self.lateral4(quarter) + upsample_nearest(self.down4(x8)))
        sixteenth = self.encoder.stages[4](self.encoder.stages[3](eighth[: len(left)]))
        return half[: len(left)], x4, x8, self.level16(sixteenth)


class Refinement(nn.Module):
    """2-D hourglass at 1/4, 1/8, 1/16: evidence of the cost volume and left features -> (B, 48, H/4, W/4)."""

    def __init__(self, evidence: int) -> None:
        super().__init__()
        self.enter = conv_bn_relu(evidence + 32, 48)
        self.down8 = conv_bn_relu(48, 64, stride=2)
        self.skip8 = nn.Conv2d(48, 64, 1)
        self.down16 = conv_bn_relu(64, 96, stride=2)
        self.skip16 = nn.Conv2d(96, 96, 1)
        self.same16 = nn.Sequential(Residual(96), Residual(96))
        self.up8 = nn.Conv2d(96, 64, 1)
        self.merge8 = Residual(64)
        self.up4 = nn.Conv2d(64, 48, 1)
        self.leave = conv_bn_relu(48, 48)

    def forward(self, evidence: Tensor, x4: Tensor, x8: Tensor, x16: Tensor) -> Tensor:
        e4 = self.enter(torch.cat([evidence, x4], 1))
        e8 = self.down8(e4) + self.skip8(x8)
        e16 = self.same16(self.down16(e8) + self.skip16(x16))
        e8 = self.merge8(F.relu(e8 + upsample_nearest(self.up8(e16))))
        return self.leave(F.relu(e4 + upsample_nearest(self.up4(e8))))


class Network(nn.Module):
    """Two rectified images (B, 3, H, W) in about [-1, 1], H and W multiples of 32 -> outputs of every stage."""

    def __init__(self) -> None:
        super().__init__()
        self.features = Features()
        self.match4 = nn.Conv2d(32, 32, 1)
        self.match8 = nn.Conv2d(48, 64, 1)
        self.aggregation = Aggregation()
        self.sharpness = nn.Parameter(torch.tensor(3.0))
        self.refinement = Refinement(4 * WINDOW + 4)
        self.fine = nn.Sequential(*conv_bn_relu(48 + 64 + 48, 64, 1), *conv_bn_relu(64, 64))
        self.correct = keep_float32(nn.Conv2d(48, 1, 3, padding=1))
        self.mask = nn.Conv2d(64, 9 * 16, 1)
        self.spread = nn.Conv2d(64, 16, 1)
        for part in (self.correct, self.mask, self.spread):
            nn.init.normal_(part.weight, std=0.01)
            part.bias.data.zero_()  # type: ignore[union-attr]

    def forward(self, left: Tensor, right: Tensor, steps: int) -> dict[str, Tensor]:
        """logits (B, steps, H/4, W/4) of disparities in steps of 4 px; coarse and refined (B, H/4, W/4) and
        disparity (B, H, W), px; log_std (B, H, W), ln of px."""
        batch = len(left)
        half, x4, x8, x16 = self.features(left, right)
        m4, m8 = self.match4(x4), self.match8(x8)
        x4, x8 = x4[:batch], x8[:batch]
        similarity = correlation(m4[:batch], m4[batch:], steps)  # (B * steps, 1, H/4, W/4)
        volume = correlation(m8[:batch], m8[batch:], steps // 2, GROUPS)  # (B * steps / 2, GROUPS, H/8, W/8)
        blocks = F.pixel_unshuffle(similarity.view(-1, 2, *similarity.shape[2:]), 2)
        volume = self.aggregation(torch.cat([volume, blocks], 1), x8, x16, steps // 2)
        similarity = similarity.view(-1, steps, *similarity.shape[2:]).float()
        logits = volume.float() + self.sharpness.float() * similarity
        coarse, evidence = soft_argmin(logits, similarity)
        refined = self.refinement(evidence.to(x4.dtype), x4, x8, x16)
        pixels = torch.cat([refined, F.pixel_unshuffle(half, 2), F.pixel_unshuffle(left, 4)], 1)
        pixels = self.fine(pixels)
        corrected = F.relu(coarse + apply_in_own_precision(self.correct, refined).float()[:, 0])
        disparity = 4 * convex_upsample(corrected, self.mask(pixels).float())
        log_std = F.pixel_shuffle(self.spread(pixels).float(), 4)[:, 0]
        return {
            "logits": logits,
            "coarse": 4 * coarse,
            "refined": 4 * corrected,
            "disparity": disparity,
            "log_std": log_std,
        }


NETWORKS = {"stereo": Network}


class Model(nn.Module):
    """`Network` with the contract of a stereo model (see depth_ros.networks)."""

    task = TASK
    size_multiple = 32
    deviations = (1,)
    """Indices of the outputs that are standard deviations; engines need not reproduce them as exactly."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        if settings.disparity_range % 32:
            raise DepthRosError(
                f"'disparity_range' is {settings.disparity_range} px; it must be a multiple of 32"
            )
        self.settings = settings
        self.network = Network()
        if settings.folded:
            fold_batch_norms(self.network.eval())

    def outputs(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        """Outputs of `Network` for two images (B, H, W, 3) uint8."""
        dtype = self.network.mask.weight.dtype
        pair = [(x.to(dtype).permute(0, 3, 1, 2) - 127.0) * (1.0 / 128.0) for x in (left, right)]
        return self.network(*pair, self.settings.disparity_range // 4)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Disparity (B, H, W) of the left image and its standard deviation (B, H, W), float32 px."""
        outputs = self.outputs(left, right)
        return outputs["disparity"], self.settings.std_scale * torch.exp(outputs["log_std"])


def initialise(model: Model) -> None:
    """Load the ImageNet weights of the encoder."""
    encoder = model.network.features.encoder
    weights = imagenet_weights()
    encoder.load_state_dict({key: weights[key] for key in encoder.state_dict()})


def finish(model: Model) -> Model:
    """Copy of a trained model for deployment, its batch norms folded."""
    model = copy.deepcopy(model).eval()
    fold_batch_norms(model.network)
    model.settings = dataclasses.replace(model.settings, folded=True)
    return model


def loss(model: Model, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Supervised loss of disparity.

    batch: image (left) and right (B, H, W, 3) uint8, disparity (B, H, W) px of the left image, NaN = invalid.

    Terms: epe: mean smooth L1 error of the result, px, where the part of an error above `LARGE_ERROR` has little weight
    (only the cost volume can correct it); refined, coarse: the same for the stages before. volume: cross entropy of the
    steps against the histogram of the true ones in each cell of 4x4 px. std: pinball loss of ln |error|, which is least
    at the `QUANTILE` of the error.
    """
    outputs = model.outputs(batch["image"], batch["right"])
    ground_truth = batch["disparity"]
    in_range = (ground_truth < model.settings.disparity_range - 4) & (ground_truth >= 0)
    valid = torch.isfinite(ground_truth) & in_range
    ground_truth = torch.where(valid, ground_truth, 0.0)
    count = valid.sum().clamp(min=1)

    def mean_error(disparity: Tensor, large_error_weight: float) -> Tensor:
        error = F.smooth_l1_loss(disparity, ground_truth, reduction="none", beta=0.5)
        error = torch.minimum(error, LARGE_ERROR + large_error_weight * (error - LARGE_ERROR))
        return (error * valid).sum() / count

    log_error = torch.log((outputs["disparity"].detach() - ground_truth).abs() + 0.01)
    excess = log_error - outputs["log_std"]
    pinball = torch.maximum(QUANTILE * excess, (QUANTILE - 1) * excess)
    terms = {
        "epe": mean_error(outputs["disparity"], 0.2),
        "refined": mean_error(_full_size(outputs["refined"]), 0.2),
        "coarse": mean_error(_full_size(outputs["coarse"]), 0.0),
        "volume": volume_loss(outputs["logits"], ground_truth, valid),
        "std": (pinball * valid).sum() / count,
    }
    terms["loss"] = (
        terms["epe"] + 0.3 * terms["refined"] + 0.2 * terms["coarse"] + terms["volume"] + 0.2 * terms["std"]
    )
    return terms


def _full_size(disparity: Tensor) -> Tensor:
    """(B, H/4, W/4) -> (B, H, W), bilinear."""
    return F.interpolate(disparity[:, None], scale_factor=4.0, mode="bilinear", align_corners=False)[:, 0]


def volume_loss(logits: Tensor, ground_truth: Tensor, valid: Tensor) -> Tensor:
    """Mean cross entropy of logits (B, steps, H/4, W/4) against the valid disparities of each cell of 4x4 px.

    ground_truth: (B, H, W) px. Each disparity is divided between the two steps next to it.
    """
    steps = F.pixel_unshuffle(ground_truth[:, None] / 4, 4)  # (B, 16, H/4, W/4)
    weight = F.pixel_unshuffle(valid[:, None].float(), 4)
    lower = steps.floor().clamp(max=logits.shape[1] - 2)
    fraction = steps - lower
    target = torch.zeros_like(logits)
    target.scatter_add_(1, lower.long(), weight * (1 - fraction))
    target.scatter_add_(1, lower.long() + 1, weight * fraction)
    total = weight.sum(1)
    entropy = -(target * logits.log_softmax(1)).sum(1) / total.clamp(min=1)
    return entropy.sum() / (total > 0).sum().clamp(min=1)
