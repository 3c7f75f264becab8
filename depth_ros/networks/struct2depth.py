"""struct2depth: depth, ego-motion and the motion of objects from video.

Source: Casser, Pirk, Mahjourian, Angelova, "Depth Prediction Without the Sensors: Leveraging Structure for
Unsupervised Learning from Monocular Videos", AAAI 2019, and its CVPR-W 2019 sibling with semantics. Instance
masks, needed in training alone, cut moving objects out of the scene; their motion is told by a network of its
own and carries them into the middle frame. The reference code is Apache-2.0; nothing of it is used here.

Depth is up to scale: one factor, unknown, for all images of a training run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.config import setting
from depth_ros.networks.blocks import layers
from depth_ros.networks.blocks.dispnet import DispNet
from depth_ros.networks.blocks.layers import BatchNorm, Conv, Layers, UpConv, disparity_of, pad_same
from depth_ros.networks.blocks.posenet import PoseNet
from depth_ros.networks.blocks.synthesis import inverse, matrix_from, warp
from depth_ros.networks.blocks.video import image_planes

TASK = "depth"
MOTION_SCALE = 0.001
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


class Block(nn.Module):
    """Two 3x3 convolutions with normalisation beside a shortcut (He et al. 2016); the shortcut has none."""

    def __init__(self, channels: int, width: int, stride: int, batch_statistics: bool) -> None:
        super().__init__()
        self.conv_1 = Conv(channels, width, 3, stride, bias=False)
        self.bn_1 = BatchNorm(width, batch_statistics=batch_statistics)
        self.conv_2 = Conv(width, width, 3, bias=False)
        self.bn_2 = BatchNorm(width, batch_statistics=batch_statistics)
        self.shortcut = Conv(channels, width, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn_2(self.conv_2(F.relu(self.bn_1(self.conv_1(x)))))
        return F.relu(inner + self.shortcut(x))


class Encoder(nn.Module):
    """ResNet-18: (B, 3, H, W) -> 64, 64, 128, 256, 512 channels at 1/2 to 1/32."""

    def __init__(self, batch_statistics: bool = False) -> None:
        super().__init__()
        self.conv1 = Conv(3, 64, 7, 2, bias=False)
        self.bn1 = BatchNorm(64, batch_statistics=batch_statistics)
        channels = 64
        for stage, width in enumerate((64, 128, 256, 512), 2):
            for place in (1, 2):
                stride = 2 if place == 1 and stage > 2 else 1
                self.add_module(f"conv{stage}_{place}", Block(channels, width, stride, batch_statistics))
                channels = width

    def forward(self, x: Tensor) -> list[Tensor]:
        found = [F.relu(self.bn1(self.conv1(x)))]
        x = F.max_pool2d(pad_same(found[0], 3, 2), 3, 2)  # after ReLU zeros never win
        for stage in range(2, 6):
            x = self.get_submodule(f"conv{stage}_2")(self.get_submodule(f"conv{stage}_1")(x))
            found.append(x)
        return found


class ReflectConv(nn.Conv2d):
    """3x3 convolution with the image mirrored beyond its border."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, 3, padding=1, padding_mode="reflect")


class DepthNet(nn.Module):
    """(B, 3, H, W) -> inverse depths (B, 1, H / 2^s, W / 2^s), s = 0 to 3, float32; H, W multiples of 32."""

    def __init__(self, batch_statistics: bool = False) -> None:
        super().__init__()
        self.encoder = Encoder(batch_statistics)
        channels = 512
        for level, width, skip in zip((5, 4, 3, 2, 1), (256, 128, 64, 32, 16), (256, 128, 64, 64, 0)):
            self.add_module(f"upconv{level}", UpConv(channels, width))
            self.add_module(f"iconv{level}", ReflectConv(width + skip, width))
            if level < 5:
                self.add_module(f"disp{level}", ReflectConv(width, 1))
            channels = width

    def forward(self, x: Tensor) -> list[Tensor]:
        skips, found = self.encoder(x), list[Tensor]()
        x = skips[4]
        for level in range(5, 0, -1):
            parts = [F.relu(self.get_submodule(f"upconv{level}")(x)), *skips[level - 2 : level - 1]]
            x = F.relu(self.get_submodule(f"iconv{level}")(torch.cat(parts, 1)))
            if level < 5:
                found.append(disparity_of(self.get_submodule(f"disp{level}")(x)))
        return found[::-1]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "depth": DepthNet,
    "depth_simple": lambda: DispNet(Layers()),
    "ego_motion": lambda: PoseNet(Layers(), scale=MOTION_SCALE),
    "object_motion": lambda: PoseNet(Layers(), scale=MOTION_SCALE),
}


@dataclass(frozen=True)
class Settings:
    """Options of the models of this family."""

    architecture: str = setting(
        "resnet", "depth network: a ResNet-18, or SfMLearner's", choices=("resnet", "simple")
    )
    batch_statistics: bool = setting(
        False, "normalise by the images at hand, as the released weights need; results depend on the batch"
    )
    motion_scale: float = setting(MOTION_SCALE, "factor of what the motion networks say", minimum=0)
    objects: int = setting(8, "ids that task object_motion answers for", minimum=1, maximum=255)


def normalised(image: Tensor, network: nn.Module) -> Tensor:
    """(B, 3, H, W) as ImageNet networks expect it, of (B, H, W, 3) uint8."""
    x = image_planes(image, network)
    return (x - x.new_tensor(MEAN)[:, None, None]) / x.new_tensor(STD)[:, None, None]


class Model(nn.Module):
    """Depth of one image, up to scale: the contract of task "depth"."""

    size_multiple = 32

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        simple = settings.architecture == "simple"
        self.network = DispNet(Layers()) if simple else DepthNet(settings.batch_statistics)

    def disparities(self, image: Tensor) -> list[Tensor]:
        """Inverse depths (B, 1, H / 2^s, W / 2^s), s = 0 to 3, of images (B, H, W, 3) uint8."""
        return self.network(normalised(image, self.network))

    def forward(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        return 1 / self.disparities(image)[0][:, 0]


class EgoMotionModel(nn.Module):
    """Motions between the neighbours of three frames: the contract of task "ego_motion"."""

    size_multiple = 32

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.network = PoseNet(Layers(), scale=settings.motion_scale)

    def forward(self, images: Tensor, intrinsics: Tensor, static: Tensor | None = None) -> Tensor:
        """(B, 2, 4, 4) T_older_newer of images (B, 3, H, W, 3) uint8, oldest first.

        static: (B, H, W), 1 where no object is in any frame, 0 elsewhere: only what stands still is looked at.
        """
        stack = torch.cat([normalised(image, self.network) for image in images.unbind(1)], 1)
        if static is not None:
            stack = stack * static[:, None].to(stack.dtype)
        return matrix_from(self.network(stack))


class ObjectMotionModel(nn.Module):
    """Motion of objects whose instance masks are given: the contract of task "object_motion".

    It holds the models of the other two tasks, whose results it needs. height: what the size prior has
    learned, the height of an object in the units of depth.
    """

    size_multiple = 32

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.depth, self.ego_motion = Model(settings), EgoMotionModel(settings)
        self.network = PoseNet(Layers(), scale=settings.motion_scale)
        self.height = nn.Parameter(torch.tensor(0.1))

    def transforms(self, frames: Tensor, owned: Tensor) -> Tensor:
        """(P, 2, 4, 4): takes points of P objects from the middle time to that of the first and of the last.

        frames: (P, 3, 3, H, W), all as the middle camera would see them. owned: (P, 3, H, W), 1 on the object.
        """
        stack = (frames * owned[:, :, None]).flatten(1, 2).detach()
        T = matrix_from(self.network(stack.to(self.network.pred.weight.dtype)))
        return torch.stack([T[:, 0], inverse(T[:, 1])], 1)

    def forward(self, images: Tensor, labels: Tensor, intrinsics: Tensor) -> Tensor:
        """(B, M, 4, 4): motion of ids 1 to M from the second to the third image, in the newest camera.

        images: (B, 3, H, W, 3) uint8, oldest first. labels: (B, 3, H, W) uint8, 0 = background, one id for
        one object in all frames; who is not in all of them is said not to move.
        """
        T = self.ego_motion(images, intrinsics, (labels == 0).all(1).float())
        depth = self.depth(images[:, 1], intrinsics)[:, None]
        sources = (T[:, 0], inverse(T[:, 1]))
        frames = seen_from_middle(images.permute(0, 1, 4, 2, 3).float() / 255, depth, sources, intrinsics)
        found = []
        for label in range(1, self.settings.objects + 1):
            mask = (labels == label).float()[:, :, None]
            owned = (seen_from_middle(mask, depth, sources, intrinsics) > 0.5).float()[:, :, 0]
            moved = sources[1] @ self.transforms(frames, owned)[:, 1] @ T[:, 1]
            known = (mask.amax((2, 3, 4)) > 0).all(1)[:, None, None]
            found.append(torch.where(known, moved, torch.eye(4, device=moved.device)))
        return torch.stack(found, 1)


def seen_from_middle(frames: Tensor, depth: Tensor, sources: tuple[Tensor, Tensor], K: Tensor) -> Tensor:
    """Frames (B, 3, C, H, W) warped into the middle camera; sources: T_first_middle and T_last_middle."""
    first, last = (warp(frames[:, i], depth, T, K)[0] for i, T in zip((0, 2), sources, strict=True))
    return torch.stack([first, frames[:, 1], last], 1)


MODELS = {"depth": Model, "ego_motion": EgoMotionModel, "object_motion": ObjectMotionModel}


def learner(settings: Settings) -> nn.ModuleDict:
    """What is trained: the models by task; that of objects shares the other two."""
    objects = ObjectMotionModel(settings)
    return nn.ModuleDict({"depth": objects.depth, "ego_motion": objects.ego_motion, "object_motion": objects})


def initialise(models: nn.ModuleDict) -> None:
    """Xavier-uniform kernels, no bias. The published encoder began with ImageNet weights."""
    layers.initialise(models)
