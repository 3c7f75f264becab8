"""vid2depth: depth and ego-motion learned from video, with validity masks and a loss between point clouds.

Source: Mahjourian, Wicke, Angelova, "Unsupervised Learning of Depth and Ego-Motion from Monocular Video Using 3D
Geometric Constraints", CVPR 2018. SfMLearner's networks with batch normalisation. The depth of every frame of a clip is
predicted; each frame is synthesised from its neighbours, and the point clouds of neighbouring frames have to align.
The authors' code is Apache-2.0; nothing of it is used here.

Depth is up to scale: one unknown factor for all images of a training run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from depth_ros.config import setting
from depth_ros.networks.blocks import video_layers
from depth_ros.networks.blocks.alignment import DISTANCES, alignment
from depth_ros.networks.blocks.dispnet import DispNet
from depth_ros.networks.blocks.photometric import mean_3x3, smoothness, ssim
from depth_ros.networks.blocks.posenet import PoseNet
from depth_ros.networks.blocks.synthesis import (
    back_project,
    intrinsics_at_scale,
    inverse,
    matrix_from_vector,
    vector_from_matrix,
    warp,
)
from depth_ros.networks.blocks.video_images import half_size, image_to_tensor
from depth_ros.networks.blocks.video_layers import PADDINGS, Layers

TASK = "depth"
NORM = "centred"
"""Batch norms have beta only."""

NETWORKS = {
    "depth": lambda: DispNet(Layers(norm=NORM)),
    "ego_motion": lambda: PoseNet(Layers(norm=NORM)),
}


@dataclass(frozen=True)
class Settings:
    """Options of the models of this family."""

    padding: str = setting("same", "Padding of the convolutions: 'same' as published.", choices=PADDINGS)
    batch_statistics: bool = setting(
        False,
        "Normalise by the statistics of the current batch, as the released weights need; results then depend on it.",
    )
    frames: int = setting(3, "Number of frames from which ego-motion is predicted.", minimum=2, maximum=9)
    width_divisor: int = setting(1, "Divisor of all numbers of channels; 1 = as published.", "", 1, 16)

    def layers(self) -> Layers:
        return Layers(self.padding, NORM, self.batch_statistics, self.width_divisor)


class Model(nn.Module):
    """Depth of one image, up to scale: the contract of task "depth"."""

    size_multiple = 16

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.network = DispNet(settings.layers())

    def disparities(self, image: Tensor) -> list[Tensor]:
        """Inverse depth (B, 1, H / 2^s, W / 2^s), s = 0 to 3, of images (B, H, W, 3) uint8."""
        return self.network(image_to_tensor(image, self.network))

    def forward(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        """Depth (B, H, W). `intrinsics` are not used."""
        return 1 / self.disparities(image)[0][:, 0]


class EgoMotionModel(nn.Module):
    """Motions between consecutive frames: the contract of task "ego_motion"."""

    size_multiple = 16

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.network = PoseNet(settings.layers(), settings.frames)

    def vectors(self, images: Tensor) -> Tensor:
        """T_older_newer as vectors (B, N - 1, 6), see `PoseNet`, of images (B, N, H, W, 3) uint8, oldest first."""
        frames = [image_to_tensor(image, self.network) for image in images.float().unbind(1)]
        return self.network(torch.cat(frames, 1))

    def forward(self, images: Tensor, intrinsics: Tensor) -> Tensor:
        """(B, N - 1, 4, 4) T_older_newer, of images (B, N, H, W, 3) uint8, oldest first."""
        return matrix_from_vector(self.vectors(images))


MODELS = {"depth": Model, "ego_motion": EgoMotionModel}


def build_training_model(settings: Settings) -> nn.ModuleDict:
    """The models that are trained together, by task."""
    return join_models({task: model(settings) for task, model in MODELS.items()})


def join_models(models: dict[str, nn.Module]) -> nn.ModuleDict:
    """The training model of given models of tasks depth and ego_motion."""
    return nn.ModuleDict(models)


def initialise(models: nn.ModuleDict) -> None:
    """The published initialisation; nothing is pretrained."""
    video_layers.initialise(models)


@dataclass(frozen=True)
class LossSettings:
    """Weights of `loss` (section 3.4 of the paper)."""

    l1_weight: float = setting(0.85, "Weight of L1.", minimum=0)
    ssim_weight: float = setting(0.15, "Weight of SSIM.", minimum=0)
    smoothness_weight: float = setting(
        0.05, "Weight of the smoothness loss at full size; halved at each coarser scale.", minimum=0
    )
    alignment_weight: float = setting(
        0.1, "Weight of the alignment loss (ICP) at full size; halved at each coarser scale.", minimum=0
    )
    alignment_scale: int = setting(1, "Finest scale at which point clouds are aligned.", minimum=0, maximum=3)
    alignment_steps: int = setting(5, "Iterations of each ICP.", minimum=1)
    alignment_distance: str = setting(
        "plane", "What each ICP minimises: distances to planes, or to points as in the released code, on the CPU.",
        choices=tuple(DISTANCES),
    )  # fmt: skip
    reverse_motion: str = setting(
        "inverse", "Motion from the newer to the older frame: exact 'inverse', or 'negated' as in the released code.",
        choices=("inverse", "negated"),
    )  # fmt: skip
    alignment_relative: bool = setting(
        False, "Divide the alignment loss by depth; without it, as in the paper, far points dominate."
    )


def loss(
    models: nn.ModuleDict, batch: dict[str, Tensor], settings: LossSettings = LossSettings()
) -> dict[str, Tensor]:
    """Loss of a batch of clips.

    batch: "images" (B, N, H, W, 3) uint8, oldest first, "intrinsics" (B, 3, 3). Terms, summed over four scales and all
    pairs of neighbours in both directions, without weights: l1 and ssim: of every frame and its synthesis from a
    neighbour, 0 where the neighbour does not show the pixel, means over all pixels. smoothness: of the disparity of
    every frame, / 2^s. alignment: see `_alignment_loss`, / 2^s. "loss" is their weighted sum.
    """
    depth, ego_motion = cast(Model, models["depth"]), cast(EgoMotionModel, models["ego_motion"])
    images = batch["images"]
    count, steps = len(images), images.shape[1] - 1
    older, newer = torch.arange(steps), torch.arange(1, steps + 1)
    source, target = torch.cat([older, newer]), torch.cat([newer, older])
    forward = ego_motion.vectors(images)  # T_older_newer: T_source_target of the first half of the pairs
    backward = -forward
    if settings.reverse_motion == "inverse":
        backward = vector_from_matrix(inverse(matrix_from_vector(forward)))
    vector = torch.cat([forward, backward], 1).flatten(0, 1)
    T = matrix_from_vector(vector)
    scaled = images.permute(0, 1, 4, 2, 3).flatten(0, 1).float() / 255  # (B N, 3, H, W)
    terms = {name: vector.new_zeros(()) for name in ("l1", "ssim", "smoothness", "alignment")}
    for scale, disparity in enumerate(depth.disparities(images.flatten(0, 1))):
        scaled = half_size(scaled) if scale else scaled
        frames = scaled.unflatten(0, (count, -1))
        depths = (1 / disparity).unflatten(0, (count, -1))
        K = intrinsics_at_scale(batch["intrinsics"], scale).repeat_interleave(2 * steps, 0)
        image, target_depth = frames[:, target].flatten(0, 1), depths[:, target].flatten(0, 1)
        synthesis, valid = warp(frames[:, source].flatten(0, 1), target_depth, T, K)
        structure = ((1 - ssim(image, synthesis)) / 2).clamp(0, 1)
        terms["l1"] += 2 * steps * ((image - synthesis).abs() * valid).mean()
        terms["ssim"] += 2 * steps * (structure * mean_3x3(valid)).mean()
        terms["smoothness"] += (steps + 1) * smoothness(disparity, scaled) / 2**scale
        if settings.alignment_weight and scale >= settings.alignment_scale:
            source_depth = depths[:, source].flatten(0, 1)
            aligned = _alignment_loss(vector, target_depth, source_depth, K, settings)
            terms["alignment"] += 2 * steps * aligned / 2**scale
    weights = (
        settings.l1_weight,
        settings.ssim_weight,
        settings.smoothness_weight,
        settings.alignment_weight,
    )
    total = sum((w * term for w, term in zip(weights, terms.values(), strict=True)), vector.new_zeros(()))
    return {"loss": total, **terms}


def _alignment_loss(
    vector: Tensor, target_depth: Tensor, source_depth: Tensor, K: Tensor, settings: LossSettings
) -> Tensor:
    """Mean |T'| (six numbers, in units of depth and rad) plus mean |residual| of the ICP between two clouds.

    vector: (P, 6) T_source_target. Depths: (P, 1, H, W). Gradients: see `blocks.alignment`.
    """
    cloud, other = back_project(target_depth, K), back_project(source_depth, K)
    icp = settings.alignment_steps, settings.alignment_distance
    correction, residual = alignment(vector, cloud, other, K, *icp)
    if settings.alignment_relative:
        unit = target_depth.detach()
        translation, rotation = correction[:, :3] / unit.mean((2, 3)), correction[:, 3:]
        correction, residual = torch.cat([translation, rotation], 1), residual / unit
    return correction.abs().mean() + residual.abs().mean()
