"""sfmlearner: depth and ego-motion learned from video.

Source: Zhou, Brown, Snavely, Lowe, "Unsupervised Learning of Depth and Ego-Motion from Video", CVPR 2017. One network
predicts the depth of the middle frame of a clip, another one the camera motions between the frames; both are trained to
synthesise the middle frame from its neighbours. An optional explainability mask reduces the weight of pixels that
cannot be synthesised (moving objects, occlusions). Layer names (cnv1, icnv7, disp4, ...) are those of the released
checkpoints. The authors' code is MIT; nothing of it is used here.

Depth is up to scale: one unknown factor for all images of a training run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from depth_ros.config import setting
from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks import video_layers
from depth_ros.networks.blocks.dispnet import SCALES, DispNet
from depth_ros.networks.blocks.posenet import PoseNet
from depth_ros.networks.blocks.synthesis import (
    compose,
    intrinsics_at_scale,
    inverse,
    matrix_from_vector,
    warp,
)
from depth_ros.networks.blocks.video_images import half_size, image_to_tensor, second_differences
from depth_ros.networks.blocks.video_layers import PADDINGS, Layers, crop_to

TASK = "depth"


class PoseExpNet(PoseNet):
    """`PoseNet` with a branch for the explainability of every source frame at four scales.

    padding "same": as published, two logits per source and kernels of 3, 3, 3, 5, 7. "even": as in the PyTorch port,
    one logit per source and kernels of 4.
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

    def explainability(self, features: list[Tensor], image: Tensor) -> list[Tensor]:
        """Probability (B, frames - 1, H / 2^s, W / 2^s), s = 0 to 3, that a pixel can be explained.

        features: of `PoseNet.features` for image (B, 3 frames, H, W).
        """
        x = features[4]
        masks: list[Tensor] = []
        for level in range(5, 0, -1):
            x = crop_to(self.get_submodule(f"upcnv{level}")(x), features[level - 2] if level > 1 else image)
            if level <= SCALES:
                logits = self.get_submodule(f"mask{level}")(x).float()
                if not self.port:  # the softmax of two logits is the sigmoid of their difference
                    logits = logits[:, 1::2] - logits[:, 0::2]
                masks.append(torch.sigmoid(logits))
        return masks[::-1]


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
        "same", "Padding of the convolutions: 'same' as published, 'even' as in the PyTorch port.", choices=PADDINGS
    )  # fmt: skip
    frames: int = setting(
        3, "Number of frames from which ego-motion is predicted; odd.", minimum=3, maximum=9
    )
    explain: bool = setting(False, "Include the explainability branch in the ego-motion network.")
    width_divisor: int = setting(1, "Divisor of all numbers of channels; 1 = as published.", "", 1, 16)

    def layers(self) -> Layers:
        return Layers(self.padding, width_divisor=self.width_divisor)


class Model(nn.Module):
    """Depth of one image, up to scale: the contract of task "depth"."""

    size_multiple = 16

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.network = DispNet(settings.layers())

    def disparities(self, image: Tensor) -> list[Tensor]:
        """Inverse depth (B, 1, H / 2^s, W / 2^s), s = 0 to 3, of images (B, H, W, 3) uint8."""
        return self.network(image_to_tensor(image, self.network, 2.0, -1.0))

    def forward(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        """Depth (B, H, W). `intrinsics` are not used."""
        return 1 / self.disparities(image)[0][:, 0]


class EgoMotionModel(nn.Module):
    """Motions between consecutive frames: the contract of task "ego_motion"."""

    size_multiple = 16

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        if settings.frames % 2 == 0:
            raise DepthRosError(
                f"sfmlearner: 'frames' is {settings.frames}; it must be odd, since the middle frame is the target"
            )
        self.settings = settings
        network_class = PoseExpNet if settings.explain else PoseNet
        self.network = network_class(settings.layers(), settings.frames)

    def stacked(self, images: Tensor) -> Tensor:
        """Network input (B, 3 N, H, W) of images (B, N, H, W, 3): the target, then the sources in temporal order."""
        middle = images.shape[1] // 2
        order = [middle, *(i for i in range(images.shape[1]) if i != middle)]
        frames = [image_to_tensor(images.float()[:, i], self.network, 2.0, -1.0) for i in order]
        return torch.cat(frames, 1)

    def forward(self, images: Tensor, intrinsics: Tensor) -> Tensor:
        """(B, N - 1, 4, 4) T_older_newer, of images (B, N, H, W, 3) uint8, oldest first."""
        T_source_middle = matrix_from_vector(self.network(self.stacked(images)))
        half = T_source_middle.shape[1] // 2
        identity = torch.eye(4, device=images.device).expand(len(images), 1, 4, 4)
        T = torch.cat([T_source_middle[:, :half], identity, T_source_middle[:, half:]], 1)
        return compose(T[:, :-1], inverse(T[:, 1:]))


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
    """Weights of `loss` (section 3 of the paper; the defaults are those of the released code)."""

    smoothness_weight: float = setting(
        0.5, "Weight of the smoothness loss at full size; halved at each coarser scale.", minimum=0
    )
    explain_weight: float = setting(
        0.2, "Weight of the explainability regulariser, if the branch is included.", minimum=0
    )
    outside: str = setting(
        "grey", "Samples outside the source image: 'grey' as released, 'ignored' as in the PyTorch port.",
        choices=("grey", "ignored"),
    )  # fmt: skip


def loss(
    models: nn.ModuleDict, batch: dict[str, Tensor], settings: LossSettings = LossSettings()
) -> dict[str, Tensor]:
    """Loss of a batch of clips.

    batch: "images" (B, N, H, W, 3) uint8, oldest first, "intrinsics" (B, 3, 3). Terms, summed over four scales and all
    sources, without weights: photometric: mean L1, in -1 to 1, of the middle frame and its synthesis, times the
    explainability if predicted. smoothness: mean absolute second differences of disparity, / 2^s. explained: cross
    entropy of the explainability with 1. "loss" is their weighted sum.
    """
    images, K = batch["images"], batch["intrinsics"]
    depth, ego_motion = cast(Model, models["depth"]), cast(EgoMotionModel, models["ego_motion"])
    middle = images.shape[1] // 2
    sources = [i for i in range(images.shape[1]) if i != middle]
    stack, network = ego_motion.stacked(images), ego_motion.network
    features = network.features(stack)
    T_source_middle = matrix_from_vector(network.motion(features[-1]))
    masks = network.explainability(features, stack) if isinstance(network, PoseExpNet) else None
    scaled = (
        images.permute(0, 1, 4, 2, 3).float() * (2 / 255) - 1
    )  # (B, N, 3, H, W), -1 to 1: samples outside are grey
    terms = {name: K.new_zeros(()) for name in ("photometric", "smoothness", "explained")}
    for scale, disparity in enumerate(depth.disparities(images[:, middle])):
        scaled = half_size(scaled) if scale else scaled
        K_scaled = intrinsics_at_scale(K, scale)
        for i, source in enumerate(sources):
            synthesis, valid = warp(scaled[:, source], 1 / disparity, T_source_middle[:, i], K_scaled)
            error = (synthesis - scaled[:, middle]).abs()
            if settings.outside == "ignored":
                error = error * valid
            if masks is not None:
                mask = masks[scale][:, i : i + 1]
                error = error * mask
                terms["explained"] += -torch.log(mask.clamp(min=1e-7)).mean()
            terms["photometric"] += error.mean()
        terms["smoothness"] += second_differences(disparity) / 2**scale
    total = terms["photometric"] + settings.smoothness_weight * terms["smoothness"]
    return {"loss": total + settings.explain_weight * terms["explained"], **terms}
