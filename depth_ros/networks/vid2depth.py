"""vid2depth: depth and ego-motion from video, with masks from geometry and a loss between 3-D clouds.

Source: Mahjourian, Wicke, Angelova, "Unsupervised Learning of Depth and Ego-Motion from Monocular Video Using
3D Geometric Constraints", CVPR 2018. SfMLearner's networks with batch normalisation; every frame of a clip has
a depth, and besides making each frame from its neighbour, the clouds of neighbours have to lie on each other.
The reference code is Apache-2.0; nothing of it is used here.

Depth is up to scale: one factor, unknown, for all images of a training run.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from depth_ros.config import setting
from depth_ros.networks.blocks import layers
from depth_ros.networks.blocks.dispnet import DispNet
from depth_ros.networks.blocks.layers import PADDINGS, Layers
from depth_ros.networks.blocks.posenet import PoseNet
from depth_ros.networks.blocks.synthesis import matrix_from
from depth_ros.networks.blocks.video import image_planes

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

    def layers(self) -> Layers:
        return Layers(self.padding, NORM, self.batch_statistics)


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
        return self.network(torch.cat([image_planes(x, self.network) for x in images.unbind(1)], 1))

    def forward(self, images: Tensor, intrinsics: Tensor) -> Tensor:
        return matrix_from(self.vectors(images))


MODELS = {"depth": Model, "ego_motion": EgoMotionModel}


def learner(settings: Settings) -> nn.ModuleDict:
    """What is trained: the models by task."""
    return nn.ModuleDict({task: model(settings) for task, model in MODELS.items()})


def initialise(models: nn.ModuleDict) -> None:
    """The published start of training; nothing is pretrained."""
    layers.initialise(models)
