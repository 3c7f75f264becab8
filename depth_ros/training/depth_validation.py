"""Validation of models that predict depth from one image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from depth_ros.card import extra_inputs
from depth_ros.datatypes import Camera
from depth_ros.evaluation.metrics.depth import DepthMetrics
from depth_ros.evaluation.metrics.protocols import DepthProtocol
from depth_ros.geometry import rectify, rectify_depth
from depth_ros.recordings import Sample
from depth_ros.training.crop import CropSettings

METRICS = ("abs_rel", "delta1")


def validate_depth(
    model: nn.Module, held_out: Mapping[str, Iterable[Sample]], crop: CropSettings, scale: str
) -> dict[str, float]:
    """Mean abs_rel and delta1 of each validation folder at the size of the crops.

    The prediction is scaled by the median ratio to the ground truth unless `scale` is "metric".
    """
    model.eval()
    protocol = DepthProtocol("validation", scaling="none" if scale == "metric" else "median")
    result: dict[str, float] = {}
    for name, samples in held_out.items():
        metrics = DepthMetrics(protocol)
        for sample in samples:
            if sample.depth is not None:
                frame = sample.left
                depth = predict_depth(model, *rectify(frame.image, frame.camera), crop, frame.extra_inputs)
                metrics.add(depth, rectify_depth(sample.depth, sample.left.camera)[0])
        means = metrics.compute()  # images without a known pixel are left out
        result |= {f"{name} {key}": float(value) for key in METRICS if (value := means[key]) is not None}
    return result


def predict_depth(
    model: nn.Module,
    image: np.ndarray,
    camera: Camera,
    crop: CropSettings,
    inputs: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> np.ndarray:
    """The depth of `predict_results`."""
    return predict_results(model, image, camera, crop, inputs)[0]


@torch.inference_mode()
def predict_results(
    model: nn.Module,
    image: np.ndarray,
    camera: Camera,
    crop: CropSettings,
    inputs: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> tuple[np.ndarray, ...]:
    """Depth (H, W) m of a rectified image (H, W, 3), computed at the size of the crops, and its standard deviation
    where the model predicts it.

    inputs: (H, W) by name, those that the model takes beside the image; zeros take the place of others.
    """
    small = cv2.resize(image, crop.size, interpolation=cv2.INTER_AREA)
    K = camera.resized(*crop.size).K.astype(np.float32)
    device = next(model.parameters()).device
    arrays = [small, K]
    if names := extra_inputs(model):
        unknown = np.zeros(image.shape[:2], np.float32)
        channels = [inputs.get(name, unknown) for name in names]
        arrays.append(
            np.stack([cv2.resize(c, crop.size, interpolation=cv2.INTER_NEAREST_EXACT) for c in channels])
        )
    found = model(*(torch.from_numpy(array)[None].to(device) for array in arrays))
    depth, *rest = (each[0].cpu().numpy() for each in ((found,) if isinstance(found, Tensor) else found))
    size = image.shape[1::-1]
    depth = 1 / cv2.resize(1 / depth, size, interpolation=cv2.INTER_LINEAR)
    if not getattr(model, "deviations", ()):
        return (depth,)
    return depth, cv2.resize(rest[0], size, interpolation=cv2.INTER_LINEAR)
