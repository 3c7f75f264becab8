"""struct2depth: depth, ego-motion and object motion learned from video.

Source: Casser, Pirk, Mahjourian, Angelova, "Depth Prediction Without the Sensors: Leveraging Structure for
Unsupervised Learning from Monocular Videos", AAAI 2019, and its companion at the CVPR 2019 workshops, with semantics.
Instance masks, which only training and task object_motion need, exclude moving objects from the scene; another network
predicts their motion, by which they are moved into the middle frame. The authors' code is Apache-2.0; nothing of it is
used here.

Depth is up to scale: one unknown factor for all images of a training run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.config import setting
from depth_ros.networks.blocks import video_layers
from depth_ros.networks.blocks.dispnet import DispNet
from depth_ros.networks.blocks.moving_objects import (
    TrackedObjects,
    released_size_prior,
    size_prior,
    synthesise_middle,
    track_objects,
    warp_to_middle,
)
from depth_ros.networks.blocks.photometric import smoothness, ssim
from depth_ros.networks.blocks.posenet import PoseNet
from depth_ros.networks.blocks.resnet18_depthnet import DepthNet
from depth_ros.networks.blocks.synthesis import compose, inverse, matrix_from_vector
from depth_ros.networks.blocks.video_images import half_size, image_to_tensor
from depth_ros.networks.blocks.video_layers import Layers

TASK = "depth"
SIZE_PRIORS = {"code": released_size_prior, "paper": size_prior}
MOTION_SCALE = 0.001
"""Factor of the output of the motion networks."""
PRIORS = ("object_motion.height",)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

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
        "resnet", "Depth network: ResNet-18, or that of SfMLearner ('simple').", choices=("resnet", "simple")
    )
    batch_statistics: bool = setting(
        False,
        "Normalise by the statistics of the current batch, as the released weights need; results then depend on it.",
    )
    motion_scale: float = setting(MOTION_SCALE, "Factor of the output of the motion networks.", minimum=0)
    width_divisor: int = setting(1, "Divisor of all numbers of channels; 1 = as published.", "", 1, 16)
    categories: int = setting(
        1, "Number of categories of objects with a learned height of their own; 1: one for all, as released. "
        "34: by the ids of Cityscapes.", "", 1, 256,
    )  # fmt: skip
    objects: int = setting(
        8, "Number of instance ids, from 1, whose motion is predicted.", minimum=1, maximum=255
    )

    def layers(self) -> Layers:
        return Layers(width_divisor=self.width_divisor)


def normalised(image: Tensor, network: nn.Module) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W), normalised by mean and standard deviation of ImageNet."""
    planes = image_to_tensor(image, network).unbind(1)
    statistics = zip(planes, IMAGENET_MEAN, IMAGENET_STD, strict=True)
    return torch.stack([(plane - mean) / std for plane, mean, std in statistics], 1)


class Model(nn.Module):
    """Depth of one image, up to scale: the contract of task "depth"."""

    size_multiple = 32

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        if settings.architecture == "simple":
            self.network: nn.Module = DispNet(settings.layers())
        else:
            self.network = DepthNet(settings.batch_statistics, settings.width_divisor)

    def disparities(self, image: Tensor) -> list[Tensor]:
        """Inverse depth (B, 1, H / 2^s, W / 2^s), s = 0 to 3, of images (B, H, W, 3) uint8."""
        return self.network(normalised(image, self.network))

    def forward(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        """Depth (B, H, W). `intrinsics` are not used."""
        return 1 / self.disparities(image)[0][:, 0]


class EgoMotionModel(nn.Module):
    """Motions between consecutive frames of three: the contract of task "ego_motion"."""

    size_multiple = 32

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.network = PoseNet(settings.layers(), scale=settings.motion_scale)

    def forward(self, images: Tensor, intrinsics: Tensor, static: Tensor | None = None) -> Tensor:
        """(B, 2, 4, 4) T_older_newer of images (B, 3, H, W, 3) uint8, oldest first.

        static: (B, H, W), 1 where no frame shows an object, else 0; other pixels are masked.
        """
        stack = torch.cat([normalised(image, self.network) for image in images.float().unbind(1)], 1)
        if static is not None:
            stack = stack * static[:, None].to(stack.dtype)
        return matrix_from_vector(self.network(stack))


class ObjectMotionModel(nn.Module):
    """Motion of objects with known instance masks: the contract of task "object_motion".

    Contains the models of the other two tasks, whose results it needs. height: the learned height of an object for the
    size prior of the loss, in units of depth; (), or (categories,).
    """

    size_multiple = 32

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.depth, self.ego_motion = Model(settings), EgoMotionModel(settings)
        self.network = PoseNet(settings.layers(), scale=settings.motion_scale)
        shape = () if settings.categories == 1 else (settings.categories,)
        self.height = nn.Parameter(torch.full(shape, 0.1))

    def heights(self, categories: Tensor) -> Tensor:
        """Learned heights (P,) of objects of the given categories (P,); () if there is one for all.

        Categories beyond the last one have the height of category 0.
        """
        height = self.height.clamp(min=0)
        if height.dim() == 0:
            return height
        return height[torch.where(categories < len(height), categories.long(), 0)]

    def transforms(self, frames: Tensor, masks: Tensor) -> Tensor:
        """(P, 2, 4, 4): transforms of points of P objects from the time of the middle frame to that of first and last.

        frames: (P, 3, 3, H, W), warped into the middle camera. masks: (P, 3, H, W), 1 on the object.
        """
        stack = (frames * masks[:, :, None]).flatten(1, 2).detach()
        T = matrix_from_vector(self.network(stack.to(self.network.pred.weight.dtype)))
        return torch.stack([T[:, 0], inverse(T[:, 1])], 1)

    def forward(self, images: Tensor, labels: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
        """(B, M, 4, 4): motion of ids 1 to M from the second to the third image, in the newest camera; and (B, M), the
        harmonic mean of their depths in the second image, in the same unit.

        images: (B, 3, H, W, 3) uint8, oldest first. labels: (B, 3, H, W) uint8, 0 = background, one id per object in
        all frames. Ids that are not in all frames get the identity and a depth of 1.
        """
        images, labels = images.float(), labels.int()
        # maxima and minima, since TensorRT has no "all"
        T = self.ego_motion(images, intrinsics, (labels.amax(1) == 0).float())
        depth = self.depth(images[:, 1], intrinsics)[:, None]
        sources = (T[:, 0], inverse(T[:, 1]))
        frames = warp_to_middle(images.permute(0, 1, 4, 2, 3) / 255, depth, sources, intrinsics)
        motions, depths = [], []
        for label in range(1, self.settings.objects + 1):
            mask = (labels == label).float()[:, :, None]
            warped = (warp_to_middle(mask, depth, sources, intrinsics) > 0.5).float()[:, :, 0]
            motion = compose(compose(sources[1], self.transforms(frames, warped)[:, 1]), T[:, 1])
            visible = mask.amax((2, 3, 4)).amin(1) > 0
            motions.append(torch.where(visible[:, None, None], motion, torch.eye(4, device=motion.device)))
            middle = mask[:, 1, 0]
            mean = middle.sum((1, 2)) / (middle / depth[:, 0].float()).sum((1, 2)).clamp(min=1e-9)
            depths.append(torch.where(visible, mean, 1.0))
        return torch.stack(motions, 1), torch.stack(depths, 1)


MODELS = {"depth": Model, "ego_motion": EgoMotionModel, "object_motion": ObjectMotionModel}


def build_training_model(settings: Settings) -> nn.ModuleDict:
    """The models that are trained together, by task; that of object motion contains the other two."""
    objects = ObjectMotionModel(settings)
    return join_models({"depth": objects.depth, "ego_motion": objects.ego_motion, "object_motion": objects})


def join_models(models: dict[str, nn.Module]) -> nn.ModuleDict:
    """The training model of given models of tasks depth, ego_motion and, if there is one, object_motion.

    Without one its network is random: clips must have no labels then.
    """
    depth, ego_motion = cast(Model, models["depth"]), cast(EgoMotionModel, models["ego_motion"])
    objects = cast(ObjectMotionModel, models.get("object_motion") or ObjectMotionModel(depth.settings))
    objects.depth, objects.ego_motion = depth, ego_motion
    return nn.ModuleDict({"depth": depth, "ego_motion": ego_motion, "object_motion": objects})


def initialise(models: nn.ModuleDict) -> None:
    """Xavier-uniform kernels, zero bias. The authors started with ImageNet weights of the encoder instead."""
    video_layers.initialise(models)


@dataclass(frozen=True)
class LossSettings:
    """Weights of `loss` (section "Problem Setup" of the paper; values of the released code)."""

    l1_weight: float = setting(0.85, "Weight of L1.", minimum=0)
    ssim_weight: float = setting(0.15, "Weight of SSIM.", minimum=0)
    smoothness_weight: float = setting(
        0.04, "Weight of the smoothness loss at full size; halved at each coarser scale.", minimum=0
    )
    size_weight: float = setting(0.0005, "Weight of the size prior of objects.", minimum=0)
    size_prior: str = setting(
        "code", "Size prior: as in the released 'code', where the background is an object, or as in the 'paper'.",
        choices=tuple(SIZE_PRIORS),
    )  # fmt: skip
    motion: bool = setting(True, "Estimate the motion of objects where the clip has instance masks.")


def loss(
    models: nn.ModuleDict, batch: dict[str, Tensor], settings: LossSettings = LossSettings()
) -> dict[str, Tensor]:
    """Loss of a batch of clips of three frames.

    batch: "images" (B, 3, H, W, 3) uint8, oldest first, "intrinsics" (B, 3, 3), optionally "labels" (B, 3, H, W) uint8,
    one id per object in all frames, and "categories" (B, 256) uint8 of the ids. Terms, summed over four scales, without
    weights: l1 and ssim: at full size, of the middle frame and its synthesis, the smaller of both sources at each pixel
    and channel. smoothness: of the disparity divided by its mean, / 2^s. size: see `SIZE_PRIORS`. "loss" is their
    weighted sum.
    """
    model = cast(ObjectMotionModel, models["object_motion"])
    images, K = batch["images"], batch["intrinsics"]
    labels = batch["labels"] if settings.motion and "labels" in batch else images.new_zeros(images.shape[:-1])
    objects = track_objects(labels)
    T = model.ego_motion(images, K, (objects.owner == 0).all(1).float())
    sources = (T[:, 0], inverse(T[:, 1]))
    frames = images.permute(0, 1, 4, 2, 3).float() / 255  # (B, 3, 3, H, W)
    target = scaled = frames[:, 1]
    use_size_prior = len(objects.clip) > 0 and settings.size_weight > 0
    if use_size_prior:  # needs the depth of all frames
        all_disparities = model.depth.disparities(images.flatten(0, 1))
        disparities = [d.unflatten(0, (-1, 3))[:, 1] for d in all_disparities]
    else:
        all_disparities, disparities = [], model.depth.disparities(images[:, 1])
    motions, size_prior = None, SIZE_PRIORS[settings.size_prior]
    if use_size_prior:
        heights = model.heights(_categories(batch, objects))
    terms = {name: K.new_zeros(()) for name in ("l1", "ssim", "smoothness", "size")}
    for scale, disparity in enumerate(disparities):
        depth = _full_size(1 / disparity, target)
        warped = warp_to_middle(frames, depth, sources, K)
        if scale == 0 and len(objects.clip):  # from the finest depth, for all scales
            motions = _object_motions(model, objects, warped, depth, sources, K)
        synthesised = synthesise_middle(warped, objects.owner, depth, K, motions)
        terms["l1"] += torch.minimum(*((target - image).abs() for image in synthesised)).mean()
        terms["ssim"] += torch.minimum(
            *(((1 - ssim(target, image)) / 2).clamp(0, 1) for image in synthesised)
        ).mean()
        relative = disparity / disparity.mean((2, 3), keepdim=True)
        scaled = half_size(scaled) if scale else scaled
        terms["smoothness"] += smoothness(relative, scaled) / 2**scale
        if use_size_prior:
            depths = _full_size(1 / all_disparities[scale], target).unflatten(0, (-1, 3))[:, :, 0]
            terms["size"] += size_prior(depths, objects, K[:, 1, 1], heights)
    weights = (settings.l1_weight, settings.ssim_weight, settings.smoothness_weight, settings.size_weight)
    total = sum((w * term for w, term in zip(weights, terms.values(), strict=True)), K.new_zeros(()))
    return {"loss": total, **terms}


def _categories(batch: dict[str, Tensor], objects: TrackedObjects) -> Tensor:
    """Categories (P,) of the objects; 0 where the batch has none."""
    if "categories" not in batch:
        return torch.zeros_like(objects.label)
    return batch["categories"][objects.clip, objects.label]


def _object_motions(
    model: ObjectMotionModel,
    objects: TrackedObjects,
    warped: Tensor,
    depth: Tensor,
    sources: tuple[Tensor, Tensor],
    K: Tensor,
) -> Tensor:
    """Transforms (P, 2, 4, 4) of the objects, see `ObjectMotionModel.transforms`, from frames of `warp_to_middle`."""
    clip = objects.clip
    with torch.no_grad():
        T_clip = sources[0][clip], sources[1][clip]
        masks = warp_to_middle(objects.masks[:, :, None], depth[clip], T_clip, K[clip])[:, :, 0] > 0.5
    return model.transforms(warped[clip], masks.float())


def _full_size(values: Tensor, image: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, H, W) of the image: bilinear, with aligned corners as in the released code."""
    return F.interpolate(values, image.shape[-2:], mode="bilinear", align_corners=True)
