"""SfMLearner: depth and ego-motion learned from video alone.

Source: Zhou, Brown, Snavely, Lowe, "Unsupervised Learning of Depth and Ego-Motion from Video", CVPR 2017.
One network sees the middle frame and says its depth, the other sees the clip and says how the camera moved;
together they have to make the middle frame out of its neighbours. An explainability mask may discount what
they cannot make (moving things, occlusion). Names (cnv1, icnv7, disp4, ...) are those of the released
checkpoints. The reference code is MIT; nothing of it is used here.

Depth is up to scale: one factor, unknown, for all images of a training run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from depth_ros.config import setting
from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks import layers
from depth_ros.networks.blocks.dispnet import SCALES, DispNet
from depth_ros.networks.blocks.layers import PADDINGS, Layers, like
from depth_ros.networks.blocks.posenet import PoseNet
from depth_ros.networks.blocks.synthesis import compose, intrinsics_at, inverse, matrix_from, warp
from depth_ros.networks.blocks.video import halved, image_planes, second_differences

TASK = "depth"


class PoseExpNet(PoseNet):
    """The motion network, and the explainability of every source frame at four scales.

    padding "same": as published, two logits a source and kernels 3, 3, 3, 5, 7. "even": as the PyTorch port
    has it, one logit a source and kernels of 4.
    """

    def __init__(self, layers: Layers, frames: int = 3) -> None:
        super().__init__(layers, frames)
        self.port = layers.padding == "even"
        sources, (channels, *widths) = frames - 1, layers.widths(256, 256, 128, 64, 32, 16)
        for level, width, kernel in zip((5, 4, 3, 2, 1), widths, (3, 3, 3, 5, 7)):
            self.add_module(f"upcnv{level}", layers.up(channels, width, 4 if self.port else kernel))
            if level <= SCALES:
                mask = layers.head(width, sources if self.port else 2 * sources, 3 if self.port else kernel)
                self.add_module(f"mask{level}", mask)
            channels = width

    def explained(self, features: list[Tensor], image: Tensor) -> list[Tensor]:
        """Probability (B, frames - 1, H / 2^s, W / 2^s) that a pixel can be explained, s = 0 to 3."""
        x = features[4]
        found: list[Tensor] = []
        for level in range(5, 0, -1):
            x = like(self.get_submodule(f"upcnv{level}")(x), features[level - 2] if level > 1 else image)
            if level <= SCALES:
                logits = self.get_submodule(f"mask{level}")(x).float()
                if not self.port:  # a pair a source; the softmax of two is a sigmoid of their difference
                    logits = logits[:, 1::2] - logits[:, 0::2]
                found.append(torch.sigmoid(logits))
        return found[::-1]


NETWORKS = {
    "depth": lambda: DispNet(Layers()),
    "pose": lambda: PoseNet(Layers()),
    "pose_5_frames": lambda: PoseNet(Layers(), 5),
    "pose_explained": lambda: PoseExpNet(Layers()),
    "pose_explained_5_frames": lambda: PoseExpNet(Layers(), 5),
    "pose_explained_port": lambda: PoseExpNet(Layers("even")),
    "pose_explained_port_5_frames": lambda: PoseExpNet(Layers("even"), 5),
}


@dataclass(frozen=True)
class Settings:
    """Options of the models of this family."""

    padding: str = setting(
        "same", "'same' as published (TensorFlow), 'even' as the PyTorch port", choices=PADDINGS
    )
    frames: int = setting(3, "frames that ego-motion is told from; odd", minimum=3, maximum=9)
    explain: bool = setting(False, "the motion network has its explainability branch")
    narrow: int = setting(1, "divisor of all channels; 1 = as published", "", 1, 16)

    def layers(self) -> Layers:
        return Layers(self.padding, narrow=self.narrow)


class Model(nn.Module):
    """Depth of one image, up to scale: the contract of task "depth"."""

    size_multiple = 16

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.network = DispNet(settings.layers())

    def disparities(self, image: Tensor) -> list[Tensor]:
        """Inverse depths (B, 1, H / 2^s, W / 2^s), s = 0 to 3, of images (B, H, W, 3) uint8."""
        return self.network(image_planes(image, self.network, 2.0, -1.0))

    def forward(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        return 1 / self.disparities(image)[0][:, 0]


class EgoMotionModel(nn.Module):
    """Motions between neighbouring frames: the contract of task "ego_motion"."""

    size_multiple = 16

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        if settings.frames % 2 == 0:
            raise DepthRosError(
                f"sfmlearner: frames is {settings.frames}; it must be odd: the middle is the target"
            )
        self.settings = settings
        make = PoseExpNet if settings.explain else PoseNet
        self.network = make(settings.layers(), settings.frames)

    def stacked(self, images: Tensor) -> Tensor:
        """What the network takes, of images (B, N, H, W, 3): the target first, then the sources in time."""
        middle = images.shape[1] // 2
        order = [middle, *(i for i in range(images.shape[1]) if i != middle)]
        planes = [image_planes(images.float()[:, i], self.network, 2.0, -1.0) for i in order]
        return torch.cat(planes, 1)

    def forward(self, images: Tensor, intrinsics: Tensor) -> Tensor:
        """(B, N - 1, 4, 4) T_older_newer, of images (B, N, H, W, 3) uint8, oldest first."""
        T_source_middle = matrix_from(self.network(self.stacked(images)))
        half = T_source_middle.shape[1] // 2
        identity = torch.eye(4, device=images.device).expand(len(images), 1, 4, 4)
        T = torch.cat([T_source_middle[:, :half], identity, T_source_middle[:, half:]], 1)
        return compose(T[:, :-1], inverse(T[:, 1:]))


MODELS = {"depth": Model, "ego_motion": EgoMotionModel}


def learner(settings: Settings) -> nn.ModuleDict:
    """What is trained: the models by task."""
    return nn.ModuleDict({task: model(settings) for task, model in MODELS.items()})


def initialise(models: nn.ModuleDict) -> None:
    """The published start of training; nothing is pretrained."""
    layers.initialise(models)


@dataclass(frozen=True)
class LossSettings:
    """Weights of `loss` (section 3 of the paper; the defaults are those of the released code)."""

    smoothness_weight: float = setting(0.5, "weight of smoothness, halved with every scale", minimum=0)
    explain_weight: float = setting(
        0.2, "weight of the explainability regulariser, if there is one", minimum=0
    )
    only_inside: bool = setting(
        True, "leave out what comes from outside the source image (the port); otherwise it counts as black"
    )


def loss(
    models: nn.ModuleDict, batch: dict[str, Tensor], settings: LossSettings = LossSettings()
) -> dict[str, Tensor]:
    """Terms of a batch of clips, summed over four scales and all sources, not yet weighted.

    batch: "images" (B, N, H, W, 3) uint8, oldest first, "intrinsics" (B, 3, 3). photometric: mean L1 of the
    middle frame and its synthesis, times the explainability where there is one. smoothness: mean absolute
    second differences of disparity, / 2^s. explained: cross-entropy of the explainability towards 1.
    """
    images, K = batch["images"], batch["intrinsics"]
    depth: Any = models["depth"]
    ego: Any = models["ego_motion"]
    middle = images.shape[1] // 2
    sources = [i for i in range(images.shape[1]) if i != middle]
    stack = ego.stacked(images)
    features = ego.network.features(stack)
    T_source_middle = matrix_from(ego.network.motion(features[-1]))
    masks = ego.network.explained(features, stack) if ego.settings.explain else None
    small = images.permute(0, 1, 4, 2, 3).float() / 255
    terms = {name: K.new_zeros(()) for name in ("photometric", "smoothness", "explained")}
    for scale, disparity in enumerate(depth.disparities(images[:, middle])):
        small = halved(small) if scale else small
        K_small = intrinsics_at(K, scale)
        for i, source in enumerate(sources):
            made, seen = warp(small[:, source], 1 / disparity, T_source_middle[:, i], K_small)
            error = (made - small[:, middle]).abs()
            if settings.only_inside:
                error = error * seen
            if masks is not None:
                mask = masks[scale][:, i : i + 1]
                error = error * mask
                terms["explained"] += -torch.log(mask.clamp(min=1e-7)).mean() / len(sources)
            terms["photometric"] += error.mean()
        terms["smoothness"] += second_differences(disparity) / 2**scale
    total = terms["photometric"] + settings.smoothness_weight * terms["smoothness"]
    return {"loss": total + settings.explain_weight * terms["explained"], **terms}
