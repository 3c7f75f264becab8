"""vid2depth: depth and ego-motion from video, with masks from geometry and a loss between 3-D clouds.

Source: Mahjourian, Wicke, Angelova, "Unsupervised Learning of Depth and Ego-Motion from Monocular Video Using
3D Geometric Constraints", CVPR 2018. SfMLearner's networks with batch normalisation; every frame of a clip has
a depth, and besides making each frame from its neighbour, the clouds of neighbours have to lie on each other.
The reference code is Apache-2.0; nothing of it is used here.

Depth is up to scale: one factor, unknown, for all images of a training run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from depth_ros.config import setting
from depth_ros.networks.blocks import layers
from depth_ros.networks.blocks.alignment import alignment
from depth_ros.networks.blocks.dispnet import DispNet
from depth_ros.networks.blocks.layers import PADDINGS, Layers
from depth_ros.networks.blocks.photometric import mean_3x3, smoothness, ssim
from depth_ros.networks.blocks.posenet import PoseNet
from depth_ros.networks.blocks.synthesis import (
    back_project,
    intrinsics_at,
    inverse,
    matrix_from,
    vector_from,
    warp,
)
from depth_ros.networks.blocks.video import halved, image_planes

TASK = "depth"
NORM = "centred"  # beta only

NETWORKS = {
    "depth": lambda: DispNet(Layers(norm=NORM)),
    "ego_motion": lambda: PoseNet(Layers(norm=NORM)),
}


@dataclass(frozen=True)
class Settings:
    """Options of the models of this family."""

    padding: str = setting("same", "'same' as published (TensorFlow)", choices=PADDINGS)
    batch_statistics: bool = setting(
        False, "normalise by the images at hand, as the released weights need; results depend on the batch"
    )
    frames: int = setting(3, "frames that ego-motion is told from", minimum=2, maximum=9)
    narrow: int = setting(1, "divisor of all channels; 1 = as published", "", 1, 16)

    def layers(self) -> Layers:
        return Layers(self.padding, NORM, self.batch_statistics, self.narrow)


class Model(nn.Module):
    """Depth of one image, up to scale: the contract of task "depth"."""

    size_multiple = 16

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.network = DispNet(settings.layers())

    def disparities(self, image: Tensor) -> list[Tensor]:
        """Inverse depths (B, 1, H / 2^s, W / 2^s), s = 0 to 3, of images (B, H, W, 3) uint8."""
        return self.network(image_planes(image, self.network))

    def forward(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        return 1 / self.disparities(image)[0][:, 0]


class EgoMotionModel(nn.Module):
    """Motions between neighbouring frames: the contract of task "ego_motion"."""

    size_multiple = 16

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.network = PoseNet(settings.layers(), settings.frames)

    def vectors(self, images: Tensor) -> Tensor:
        """(B, N - 1, 6) of images (B, N, H, W, 3) uint8, oldest first: T_older_newer, see `PoseNet`."""
        return self.network(torch.cat([image_planes(x, self.network) for x in images.float().unbind(1)], 1))

    def forward(self, images: Tensor, intrinsics: Tensor) -> Tensor:
        return matrix_from(self.vectors(images))


MODELS = {"depth": Model, "ego_motion": EgoMotionModel}


def learner(settings: Settings) -> nn.ModuleDict:
    """What is trained: the models by task."""
    return nn.ModuleDict({task: model(settings) for task, model in MODELS.items()})


def initialise(models: nn.ModuleDict) -> None:
    """The published start of training; nothing is pretrained."""
    layers.initialise(models)


@dataclass(frozen=True)
class LossSettings:
    """Weights of `loss` (section 3.4 of the paper)."""

    l1_weight: float = setting(0.85, "weight of L1", minimum=0)
    ssim_weight: float = setting(0.15, "weight of SSIM", minimum=0)
    smoothness_weight: float = setting(0.05, "weight of smoothness, halved with every scale", minimum=0)
    alignment_weight: float = setting(0.1, "weight of what ICP finds, halved with every scale", minimum=0)
    alignment_scale: int = setting(1, "finest scale whose clouds are aligned", minimum=0, maximum=3)
    alignment_steps: int = setting(5, "steps of every ICP", minimum=1)
    alignment_relative: bool = setting(
        False,
        "what is left over counts as a share of depth; as a length (the paper), what is far counts most",
    )


def loss(
    models: nn.ModuleDict, batch: dict[str, Tensor], settings: LossSettings = LossSettings()
) -> dict[str, Tensor]:
    """Terms of a batch of clips, summed over four scales and all neighbours in both directions, not weighted.

    batch: "images" (B, N, H, W, 3) uint8, oldest first, "intrinsics" (B, 3, 3). l1 and ssim: of every frame and
    its synthesis from a neighbour, where geometry says that it can be made, a mean over all pixels. smoothness:
    of the disparity of every frame, / 2^s. alignment: mean |T'| (units of depth and rad, six numbers) plus mean
    |residual| of the ICP between the clouds, / 2^s, with the gradient of `blocks.alignment`.
    """
    depth: Any = models["depth"]
    ego: Any = models["ego_motion"]
    images = batch["images"]
    count, steps = len(images), images.shape[1] - 1
    older, newer = torch.arange(steps), torch.arange(1, steps + 1)
    source, target = torch.cat([older, newer]), torch.cat([newer, older])
    forth = ego.vectors(images)  # T_older_newer: from the target to the source of the first half
    vector = torch.cat([forth, vector_from(inverse(matrix_from(forth)))], 1).flatten(0, 1)
    T = matrix_from(vector)
    small = images.permute(0, 1, 4, 2, 3).flatten(0, 1).float() / 255
    terms = {name: vector.new_zeros(()) for name in ("l1", "ssim", "smoothness", "alignment")}
    for scale, disparity in enumerate(depth.disparities(images.flatten(0, 1))):
        small = halved(small) if scale else small
        frames = small.unflatten(0, (count, -1))
        depths = (1 / disparity).unflatten(0, (count, -1))
        K = intrinsics_at(batch["intrinsics"], scale).repeat_interleave(2 * steps, 0)
        image, wanted = frames[:, target].flatten(0, 1), depths[:, target].flatten(0, 1)
        made, seen = warp(frames[:, source].flatten(0, 1), wanted, T, K)
        structure = ((1 - ssim(image, made)) / 2).clamp(0, 1)
        terms["l1"] += 2 * steps * ((image - made).abs() * seen).mean()
        terms["ssim"] += 2 * steps * (structure * mean_3x3(seen)).mean()
        terms["smoothness"] += (steps + 1) * smoothness(disparity, small) / 2**scale
        if settings.alignment_weight and scale >= settings.alignment_scale:
            cloud, other = back_project(wanted, K), back_project(depths[:, source].flatten(0, 1), K)
            correction, residual = alignment(vector, cloud, other, K, settings.alignment_steps)
            if settings.alignment_relative:
                unit = wanted.detach()
                moved, turned = correction[:, :3] / unit.mean((2, 3)), correction[:, 3:]
                correction, residual = torch.cat([moved, turned], 1), residual / unit
            left_over = correction.abs().mean() + residual.abs().mean()
            terms["alignment"] += 2 * steps * left_over / 2**scale
    weights = (
        settings.l1_weight,
        settings.ssim_weight,
        settings.smoothness_weight,
        settings.alignment_weight,
    )
    total = sum((w * term for w, term in zip(weights, terms.values(), strict=True)), vector.new_zeros(()))
    return {"loss": total, **terms}
