"""Validation of models that learn from video, on held-out clips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from depth_ros.evaluation.metrics.depth import DepthMetrics
from depth_ros.evaluation.metrics.protocols import PROTOCOLS, resize_depth
from depth_ros.networks.blocks.synthesis import inverse, warp
from depth_ros.training.augmentation import centre_clip_crop
from depth_ros.training.crop import CropSettings, centre_window
from depth_ros.training.data.clip import Clip, ClipFrame

PROTOCOL = PROTOCOLS["eigen_median"]


@torch.inference_mode()
def validate_clips(
    models: nn.ModuleDict, held_out: Mapping[str, Iterable[Clip]], crop: CropSettings
) -> dict[str, float]:
    """Means of the metrics of all clips of each validation folder, see `clip_metrics`."""
    models.eval()
    result = {}
    for name, clips in held_out.items():
        rows = [clip_metrics(models, clip, crop) for clip in clips]
        for key in sorted({key for row in rows for key in row}):
            result[f"{name} {key}"] = float(np.mean([row[key] for row in rows if key in row]))
    return result


def clip_metrics(models: nn.ModuleDict, clip: Clip, crop: CropSettings) -> dict[str, float]:
    """Metrics of the middle frame of one clip.

    photometric: error of the frame synthesised from its neighbours, relative to the error of the unwarped neighbours on
    the same pixels (1 = no better than no warping). abs_rel: with median scaling, where there is ground truth.
    abs_rel moving: the same with the same scale, on moving objects only.
    """
    device = next(models.parameters()).device
    item = {
        key: torch.from_numpy(value)[None].to(device) for key, value in centre_clip_crop(clip, crop).items()
    }
    images, K = item["images"], item["intrinsics"]
    middle = clip[len(clip) // 2]
    depth = models["depth"](images[:, len(clip) // 2], K)
    row = {"photometric": photometric_ratio(images, depth, models["ego_motion"](images, K), K)}
    if middle.depth is not None:
        row |= depth_metrics_of_frame(depth[0].float().cpu().numpy(), middle.depth, middle, crop)
    return row


def depth_metrics_of_frame(
    depth: np.ndarray, ground_truth: np.ndarray, frame: ClipFrame, crop: CropSettings
) -> dict[str, float]:
    """abs_rel of depth (h, w), predicted in the centre window, against the ground truth (H, W) of the whole frame."""
    camera = frame.camera
    scale = ground_truth.shape[1] / camera.width  # the ground truth keeps the recorded size
    left, top, w, h = (round(side * scale) for side in centre_window(camera.width, camera.height, crop))
    window = np.s_[top : top + h, left : left + w]
    whole_shape, ground_truth = ground_truth.shape, ground_truth[window]
    abs_rel = DepthMetrics(PROTOCOL).add(depth, ground_truth)["abs_rel"]
    row = {} if abs_rel is None else {"abs_rel": abs_rel}
    if frame.labels.any() and frame.labels.shape == whole_shape:
        predicted = resize_depth(depth, ground_truth.shape[0], ground_truth.shape[1])
        valid = (ground_truth > PROTOCOL.min_ground_truth) & (ground_truth < PROTOCOL.max_ground_truth)
        predicted = predicted * np.median(ground_truth[valid]) / np.median(predicted[valid])
        moving = valid & (frame.labels[window] > 0)
        if moving.any():
            row["abs_rel moving"] = float((np.abs(predicted - ground_truth) / ground_truth)[moving].mean())
    return row


def photometric_ratio(images: Tensor, depth: Tensor, T_older_newer: Tensor, K: Tensor) -> float:
    """Mean |synthesis - image| / mean |neighbour - image| of the middle frame, where both neighbours are visible.

    images (1, N, H, W, 3) uint8, depth (1, H, W) of the middle frame, T (1, N - 1, 4, 4), K (1, 3, 3).
    """
    colours = images.permute(0, 1, 4, 2, 3).float() / 255
    middle = images.shape[1] // 2
    neighbours = ((middle - 1, T_older_newer[:, middle - 1]), (middle + 1, inverse(T_older_newer[:, middle])))
    synthesis_error = neighbour_error = 0.0
    for index, T in neighbours:
        synthesis, visible = warp(colours[:, index], depth[:, None], T, K)
        synthesis_error += float(((synthesis - colours[:, middle]).abs() * visible).sum())
        neighbour_error += float(((colours[:, index] - colours[:, middle]).abs() * visible).sum())
    return synthesis_error / max(neighbour_error, 1e-9)
