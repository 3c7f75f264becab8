"""Stereo cost volume: group-wise correlation, 3-D aggregation, soft arg-min and convex upsampling.

A volume is a batch of images, (B * steps, C, H, W), one for each step of disparity, so that every backend runs its
3-D convolutions as fast as any other convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.networks.blocks.convolution import (
    apply_in_own_precision,
    conv_bn_relu,
    keep_float32,
    upsample_nearest,
)

GROUPS = 8
"""Groups of channels that are correlated separately at 1/8 of the size (Guo et al., CVPR 2019)."""
WINDOW = 2
"""Steps of 4 px on each side of the best one over which the soft arg-min is taken."""


def correlation(left: Tensor, right: Tensor, steps: int, groups: int = 1) -> Tensor:
    """Cosine similarity of left (x, y) and right (x - d, y) in each group of channels; 0 outside the image.

    (B, C, H, W) twice -> (B * steps, groups, H, W). All pairs of pixels of a row are multiplied as one matrix product;
    the band along its diagonal is extracted by reading the rows one element shorter than they are.
    """
    batch, channels, height, width = left.shape
    rows = []
    for x in (left, right):
        x = x.reshape(batch, groups, channels // groups, height, width).permute(0, 1, 3, 4, 2)
        x = F.normalize(x.float(), dim=-1, eps=1e-3).to(left.dtype)
        rows.append(x.reshape(batch * groups * height, width, channels // groups))
    reversed_right = F.pad(rows[1], (0, 0, steps - 1, 0)).flip(1).transpose(1, 2)
    # (B * groups * H, W (W + steps - 1)): right column x - d is at W - 1 - x + d
    product = (rows[0] @ reversed_right).flatten(1)
    length = width + steps - 2
    band = product[:, width - 1 : width - 1 + width * length].reshape(-1, width, length)[:, :, :steps]
    band = band.reshape(batch, groups, height, width, steps).permute(0, 4, 1, 2, 3)
    return band.reshape(batch * steps, groups, height, width)


class Convolution3(nn.Module):
    """3-D convolution of a volume, as a 2-D convolution over each slice and its two neighbours.

    stride: of height, width and steps.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.layers = conv_bn_relu(3 * channels_in, channels_out, kernel, stride)
        self.stride = stride

    def forward(self, x: Tensor, steps: int) -> Tensor:
        return self.layers(with_neighbours(x, steps, self.stride))


def with_neighbours(x: Tensor, steps: int, stride: int = 1) -> Tensor:
    """(B * steps, C, H, W) -> (B * steps / stride, 3 C, H, W): each slice between its neighbours; 0 outside."""
    slices = x.permute(0, 2, 3, 1).unflatten(0, (-1, steps))  # channels last, the fast layout of convolutions
    padded = F.pad(slices, (0, 0, 0, 0, 0, 0, 1, 1))
    joined = torch.cat([padded[:, i : i + steps : stride] for i in range(3)], 4)
    return joined.flatten(0, 1).permute(0, 3, 1, 2)


def gated(x: Tensor, gate: Tensor, steps: int) -> Tensor:
    """A volume (B * steps, C, H, W) times the sigmoid of image features (B, C, H, W)."""
    return (x.view(-1, steps, *x.shape[1:]) * torch.sigmoid(gate)[:, None]).flatten(0, 1)


class Aggregation(nn.Module):
    """3-D hourglass at 1/8, 1/16 and 1/32 of size and disparity range.

    Features of the left image weight the channels of the volume (Bangunharcana et al., IROS 2021).
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = conv_bn_relu(GROUPS + 8, 16)
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
        # rounded to bfloat16, the logits would change the disparity by tenths of a pixel
        self.out = keep_float32(nn.Conv2d(16, 8, 3, padding=1))

    def forward(self, volume: Tensor, x8: Tensor, x16: Tensor, steps: int) -> Tensor:
        """(B * steps, GROUPS + 8, H/8, W/8), and features of the left image -> (B, 2 steps, H/4, W/4)."""
        half, quarter = steps // 2, steps // 4
        v8 = gated(self.second(self.first(volume), steps), self.gate8(x8), steps)
        v16 = gated(self.down16(v8, steps), self.gate16(x16), half)
        v16 = self.same16(v16, half)
        v32 = self.same32(self.down32(v16, half), quarter)
        v16 = self.merge16(v16 + upsample_volume(self.up16(v32)), half)
        v8 = self.merge8(v8 + upsample_volume(self.up8(v16)), steps)
        fine = F.pixel_shuffle(apply_in_own_precision(self.out, v8), 2)  # (B * steps, 2, H/4, W/4)
        return fine.reshape(-1, 2 * steps, *fine.shape[2:])


def upsample_volume(x: Tensor) -> Tensor:
    """(N, 2 C, H, W) -> (2 N, C, 2 H, 2 W): two slices from each, at twice the size."""
    return upsample_nearest(x.reshape(2 * len(x), -1, *x.shape[2:]))


def soft_argmin(logits: Tensor, similarity: Tensor) -> tuple[Tensor, Tensor]:
    """Disparity in steps (B, H, W), and evidence for it (B, 4 * WINDOW + 4, H, W), of volumes (B, steps, H, W).

    The disparity is the mean over `WINDOW` steps around the best one. Evidence: log probabilities and similarities of
    these steps, log probability of the window, disparity / 16.
    """
    steps = torch.arange(logits.shape[1], device=logits.device, dtype=torch.float32)[:, None, None]
    best = logits.detach().argmax(1, keepdim=True)
    in_window = (steps - best).abs() <= WINDOW
    peak = torch.where(in_window, logits, -torch.inf).softmax(1)
    coarse = (peak * steps).sum(1)
    around = best + torch.arange(-WINDOW, WINDOW + 1, device=logits.device)[:, None, None]
    around = around.clamp(0, logits.shape[1] - 1)
    total = torch.logsumexp(logits, 1, keepdim=True)
    log_probability = logits.gather(1, around) - total
    log_confidence = torch.logsumexp(torch.where(in_window, logits, -torch.inf), 1, keepdim=True) - total
    evidence = [
        log_probability.clamp(min=-10.0),
        similarity.gather(1, around),
        log_confidence.clamp(min=-10.0),
        coarse[:, None] / 16,
    ]
    return coarse, torch.cat(evidence, 1)


def convex_upsample(coarse: Tensor, mask: Tensor) -> Tensor:
    """(B, H, W) -> (B, 4 H, 4 W): each pixel a convex combination of 3x3 coarse values (Teed and Deng, ECCV 2020).

    mask: (B, 9 * 16, H, W), logits of the weights.
    """
    batch, height, width = coarse.shape
    padded = F.pad(coarse[:, None], (1, 1, 1, 1), mode="replicate")
    values = torch.cat(
        [padded[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)], 1
    )  # (B, 9, H, W)
    weights = mask.view(batch, 9, 16, height, width).softmax(1)
    return F.pixel_shuffle((weights * values[:, :, None]).sum(1), 4)[:, 0]
