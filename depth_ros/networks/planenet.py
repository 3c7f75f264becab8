"""planenet: a piecewise planar depth map from one image.

Source: Liu, Yang, Ceylan, Yumer, Furukawa, "PlaneNet: Piece-wise Planar Reconstruction from a Single RGB Image", CVPR
2018. A dilated residual network with three branches: the parameters of K planes, a segmentation into these planes and
a non-planar remainder, and the depth of the remainder. A dense CRF sharpens the segmentation. The depth of a plane
follows from its parameters and the intrinsics, which must be those of the image.

Networks: `resnet101`, the layers of the released TensorFlow code; `drn_d_54`, those of the authors' PyTorch port, which
are closer to the paper's text; `lite`, ours: the encoder of family `compact` and a light decoder, for training and
running on a small processor. The authors' code is MIT, that of the CRF too; nothing of it is used here.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.config import setting
from depth_ros.networks.blocks.dense_crf import DenseCrf
from depth_ros.networks.blocks.efficientnet_lite import imagenet_weights
from depth_ros.networks.blocks.folding import fold_batch_norms
from depth_ros.networks.blocks.planenet_drn import Drn
from depth_ros.networks.blocks.planenet_lite import Lite
from depth_ros.networks.blocks.planenet_output import PLANES, NetworkOutput, resize, resize_tf1
from depth_ros.networks.blocks.planenet_resnet101 import ResNet101
from depth_ros.networks.blocks.planes import (
    fit_planes,
    match_planes,
    pixel_rays,
    plane_depths,
    plane_equations,
    soft_iou,
    sums_over_masks,
)

TASK = "planes"
WEIGHTS = {"plane": 10.0, "segmentation": 1.0, "overlap": 1.0, "reach": 1.0, "depth": 20.0}
"""Weights of the loss terms: those of the released code divided by 1000, and those of our own terms."""
FITTED_WEIGHTS = {
    "plane": 1.0,
    "segmentation": 1.0,
    "overlap": 1.0,
    "reach": 1.0,
    "depth": 4.0,
    "branch": 4.0,
}
"""Weights of the loss terms where planes are fitted."""
RECALL_DISTANCE = 0.05
"""m; the depth difference at which plane recall is measured."""


@dataclass(frozen=True)
class Settings:
    """Options of `Model`."""

    network: str = setting(
        "drn_d_54", "Network: backbone and branches.", choices=("resnet101", "drn_d_54", "lite")
    )
    planes: int = setting(PLANES, "Maximum number of planes in an image.", minimum=1, maximum=64)
    crf_iterations: int = setting(5, "Mean-field iterations of the dense CRF; 0 disables it.", minimum=0)
    crf_stride: int = setting(
        8, "Size of the cells that send the messages of the CRF; 1 = exact.", "px", 1, 64
    )
    fitted: bool = setting(
        False, "Fit planes to the depth branch, with the planes of their own branch as prior."
    )
    matching: str = setting(
        "nearest",
        "How training matches predicted to true planes: by distance, one to one, or one to one with their masks.",
        choices=("nearest", "hungarian", "masks"),
    )
    max_depth: float = setting(10.0, "Maximum depth; farther pixels are NaN.", "m", 1.0, 1000.0)
    folded: bool = setting(False, "Batch norms of network 'lite' are folded into its convolutions.")


class Prediction(NamedTuple):
    """Output of the network at the size of the image, after the CRF and the fit of planes.

    planes: (B, K, 3) m. logits: (B, K + 1, H, W), non-planar last. depth: (B, H, W) m, of the depth branch. prior:
    (B, K, 3), the planes before the fit.
    """

    planes: Tensor
    logits: Tensor
    depth: Tensor
    prior: Tensor


NETWORKS: dict[str, Callable[..., nn.Module]] = {"resnet101": ResNet101, "drn_d_54": Drn, "lite": Lite}


class Model(nn.Module):
    """A network, the CRF and the composition of depth, with the contract of a planes model (see depth_ros.networks)."""

    size_multiple = 64

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.network = NETWORKS[settings.network](settings.planes)
        if settings.folded:
            fold_batch_norms(self.network.eval())
        self.crf = None
        if settings.crf_iterations:
            self.crf = DenseCrf(settings.planes + 1, settings.crf_iterations, settings.crf_stride)

    def predict(self, image: Tensor, intrinsics: Tensor) -> Prediction:
        """The prediction for an image (B, H, W, 3) uint8 RGB and intrinsics (B, 3, 3) px."""
        dtype = next(self.network.parameters()).dtype
        output = self.network((image.float().permute(0, 3, 1, 2) / 255.0 - 0.5).to(dtype), intrinsics)
        if torch.is_autocast_enabled(image.device.type):  # in training: what follows is geometry, in float32
            with torch.autocast(image.device.type, enabled=False):
                return self._full_size(output, image, intrinsics)
        return self._full_size(output, image, intrinsics)

    def _full_size(self, output: NetworkOutput, image: Tensor, intrinsics: Tensor) -> Prediction:
        size = image.shape[1:3]
        enlarge = resize_tf1 if self.settings.network == "resnet101" else resize
        prior, logits = output.planes.float(), enlarge(output.logits.float(), *size)
        if self.crf is not None:
            logits = self.crf(logits, image)
        inverse_depth = 1 / output.depth.float().clamp(1e-2, 1e3)
        planes = prior
        if self.settings.fitted:
            step = size[0] // inverse_depth.shape[1]
            rays = pixel_rays(intrinsics, inverse_depth.shape[1:], step)
            segments = F.avg_pool2d(logits.softmax(1)[:, :-1], step)
            planes = fit_planes(inverse_depth, rays, segments, prior)
        if self.settings.network == "lite":  # interpolates inverse depth, which is linear on planes
            depth = 1 / enlarge(inverse_depth[:, None], *size)[:, 0]
        else:
            depth = enlarge(output.depth.float()[:, None], *size)[:, 0]
        return Prediction(planes, logits, depth, prior)

    def forward(self, image: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Depth (B, H, W) m of each pixel's plane or of the depth branch, planes (B, K, 4), labels (B, H, W)."""
        prediction = self.predict(image, intrinsics)
        depths = depth_layers(prediction, intrinsics, self.settings.max_depth)
        winner = prediction.logits.argmax(1, keepdim=True)
        depth = depths.gather(1, winner)[:, 0]
        valid = (depth > 0) & (depth < self.settings.max_depth)
        winner = winner[:, 0]
        labels = torch.where(winner < self.settings.planes, winner, -1).to(torch.int32)
        return torch.where(valid, depth, torch.nan), plane_equations(prediction.planes), labels


def depth_layers(prediction: Prediction, intrinsics: Tensor, max_depth: float) -> Tensor:
    """(B, K + 1, H, W) depth of every plane and of the depth branch at every pixel, m, in [0, max_depth]."""
    rays = pixel_rays(intrinsics, prediction.depth.shape[1:])
    non_planar = prediction.depth.clamp(0.0, max_depth)[:, None]
    return torch.cat([plane_depths(prediction.planes, rays, max_depth), non_planar], 1)


def initialise(model: Model) -> None:
    """Load the ImageNet weights of the encoder of `lite`, unless it is folded; other networks start from scratch."""
    if isinstance(model.network, Lite) and not model.settings.folded:
        model.network.encoder.load_state_dict(imagenet_weights())


def finish(model: Model) -> Model:
    """Copy of a trained model for deployment, the batch norms of `lite` folded; other networks are returned as is."""
    if model.settings.network != "lite":
        return model
    model = copy.deepcopy(model).eval()
    fold_batch_norms(model.network)
    model.settings = dataclasses.replace(model.settings, folded=True)
    return model


class _Match(NamedTuple):
    """predicted, valid: (B, P) index and validity for the true planes, see `match_planes`. target: (B, H, W), the
    predicted plane with which each pixel should be labelled; K = non-planar."""

    predicted: Tensor
    valid: Tensor
    target: Tensor


def loss(model: Model, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Loss of planes, segmentation and composed depth.

    batch: image (B, H, W, 3) uint8, intrinsics (B, 3, 3), depth (B, H, W) m with NaN for invalid pixels, weight
    (B, H, W) of each pixel's depth, planes (B, P, 3), true vectors n d with NaN for none, labels (B, H, W), the index
    of each pixel's true plane, -1 = none.

    Terms: plane: squared distance of each true plane from its match. segmentation: cross entropy with the matched
    index. depth: sum over k of S_k (D_k - D)^2, of segment S_k and depth D_k of plane k. With `fitted`, D_k - D is
    relative, so that far planes do not dominate: |D_k / D - 1|; branch: |ln depth error| of the depth branch alone.
    With matched masks, the terms of `_mask_terms`.
    """
    settings = model.settings
    prediction = model.predict(batch["image"], batch["intrinsics"])
    labels = batch["labels"].long()
    masks, mask_cost = None, None
    if settings.matching == "masks":
        masks = _masks(labels, batch["planes"].shape[1])
        mask_cost = _mask_cost(masks, prediction.logits.detach())
    index, plane_valid = match_planes(prediction.prior, batch["planes"], settings.matching, mask_cost)
    own = index.gather(1, labels.clamp(min=0).flatten(1)).view_as(labels)
    match = _Match(index, plane_valid, torch.where(labels >= 0, own, settings.planes))
    matched = prediction.prior.gather(1, index[..., None].expand(-1, -1, 3))
    square = torch.where(plane_valid, (matched - batch["planes"].nan_to_num()).square().sum(2), 0.0)
    depth_valid = torch.isfinite(batch["depth"])
    weight = batch["weight"] * depth_valid
    total = weight.sum().clamp(min=1.0)
    entropy = F.cross_entropy(prediction.logits, match.target, reduction="none")
    ground_truth = torch.where(depth_valid, batch["depth"], 1.0)[:, None]
    error = depth_layers(prediction, batch["intrinsics"], settings.max_depth) - ground_truth
    segments = prediction.logits.softmax(1)
    terms = {
        "plane": square.sum() / (len(labels) * settings.planes),
        "segmentation": (weight * entropy).sum() / total,
    }
    if masks is not None:
        terms |= _mask_terms(masks, match, segments, error, depth_valid)
    if settings.fitted:
        relative = (error / ground_truth).abs().clamp(max=2.0)
        branch_error = (torch.log(prediction.depth.clamp(min=1e-2)) - torch.log(ground_truth[:, 0])).abs()
        terms["depth"] = (weight * (segments * relative).sum(1)).sum() / total
        terms["branch"] = (weight * branch_error).sum() / total
    else:
        terms["depth"] = (weight * (segments * error.square()).sum(1)).sum() / total
    weights = FITTED_WEIGHTS if settings.fitted else WEIGHTS
    terms["loss"] = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    return terms


def _masks(labels: Tensor, planes: int) -> Tensor:
    """(B, P, H, W) float masks of the planes 0 to P - 1 of labels (B, H, W)."""
    return (labels[:, None] == torch.arange(planes, device=labels.device)[:, None, None]).float()


def _areas(masks: Tensor) -> Tensor:
    """(B, P) number of pixels of masks (B, P, H, W), at least 1."""
    return masks.sum((2, 3)).clamp(min=1.0)


def _mask_cost(masks: Tensor, logits: Tensor) -> Tensor:
    """(B, P, K) mean cross entropy of each segment over each mask; logits (B, K + 1, H, W)."""
    return sums_over_masks(masks, -logits.log_softmax(1)[:, :-1]) / _areas(masks)[:, :, None]


def _mask_terms(
    masks: Tensor, match: _Match, segments: Tensor, error: Tensor, depth_valid: Tensor
) -> dict[str, Tensor]:
    """Terms in which small and large planes have the same weight, as in plane recall.

    overlap: 1 - IoU of mask and soft segment. reach: ln(1 + e / RECALL_DISTANCE), e the mean over the mask of the
    |depth error| of the matched plane, limited to 5 m. error: (B, K + 1, H, W) m, of every plane at every pixel.
    """
    count = match.valid.sum().clamp(min=1)
    iou = soft_iou(masks, segments[:, :-1]).gather(2, match.predicted[..., None])[..., 0]
    own = (error.abs().gather(1, match.target[:, None]) * depth_valid[:, None]).clamp(max=5.0)
    mean = sums_over_masks(masks, own)[..., 0] / _areas(masks)
    return {
        "overlap": ((1 - iou) * match.valid).sum() / count,
        "reach": (torch.log1p(mean / RECALL_DISTANCE) * match.valid).sum() / count,
    }
