"""How well models that learn from video do on clips that they never saw."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from depth_ros.evaluation.metrics.depth import PROTOCOLS, Tally, resized
from depth_ros.networks.blocks.synthesis import inverse, warp
from depth_ros.training.clips import Clip, Moment, clip_crop, window
from depth_ros.training.recipes import Recipe

MEDIAN = PROTOCOLS["eigen_median"]


@torch.inference_mode()
def validate_clips(models: Any, unseen: dict[str, list[Clip]], recipe: Recipe) -> dict[str, float]:
    """For every validation folder, the mean over its clips of

    photometric: error of the middle frame made of its neighbours, relative to that of the neighbours as they
    are, on the same pixels (1 = no better than nothing). abs_rel: with median scaling, where there is depth.
    abs_rel moving: the same scale, on moving objects alone.
    """
    models.eval()
    result = {}
    for name, clips in unseen.items():
        rows = [clip_figures(models, clip, recipe) for clip in clips]
        for key in sorted({key for row in rows for key in row}):
            result[f"{name} {key}"] = float(np.mean([row[key] for row in rows if key in row]))
    return result


def clip_figures(models: nn.ModuleDict, clip: Clip, recipe: Recipe) -> dict[str, float]:
    """The figures of one clip, as `validate_clips` has them."""
    device = next(models.parameters()).device
    item = {key: torch.from_numpy(value)[None].to(device) for key, value in clip_crop(clip, recipe).items()}
    images, K = item["images"], item["intrinsics"]
    middle = clip[len(clip) // 2]
    depth = models["depth"](images[:, len(clip) // 2], K)
    row = {"photometric": photometric_ratio(images, depth, models["ego_motion"](images, K), K)}
    if middle.depth is not None:
        row |= depth_figures(depth[0].float().cpu().numpy(), middle.depth, middle, recipe)
    return row


def depth_figures(depth: np.ndarray, whole: np.ndarray, middle: Moment, recipe: Recipe) -> dict[str, float]:
    """abs_rel of depth (h, w) against the whole truth (H, W), on the window that `clip_crop` takes."""
    camera = middle.camera
    scale = whole.shape[1] / camera.width  # the truth is at its own size
    left, top, w, h = (round(side * scale) for side in window(camera, recipe, None))
    truth = whole[top : top + h, left : left + w]
    tally = Tally(MEDIAN)
    found = tally.add(depth, truth)["abs_rel"]
    row = {} if found is None else {"abs_rel": found}
    if middle.labels.any() and middle.labels.shape == whole.shape:
        seen = resized(depth, truth.shape[0], truth.shape[1])
        known = (truth > MEDIAN.truth_min) & (truth < MEDIAN.truth_max)
        seen = seen * np.median(truth[known]) / np.median(seen[known])
        moving = known & (middle.labels[top : top + h, left : left + w] > 0)
        if moving.any():
            row["abs_rel moving"] = float((np.abs(seen - truth) / truth)[moving].mean())
    return row


def photometric_ratio(images: Tensor, depth: Tensor, T_older_newer: Tensor, K: Tensor) -> float:
    """Mean |synthesis - image| / mean |neighbour - image| of the middle frame, where both neighbours can be seen.

    images (1, N, H, W, 3) uint8, depth (1, H, W) of the middle frame, T (1, N - 1, 4, 4), K (1, 3, 3).
    """
    planes = images.permute(0, 1, 4, 2, 3).float() / 255
    middle = images.shape[1] // 2
    neighbours = ((middle - 1, T_older_newer[:, middle - 1]), (middle + 1, inverse(T_older_newer[:, middle])))
    made_error = plain_error = 0.0
    for index, T in neighbours:
        made, seen = warp(planes[:, index], depth[:, None], T, K)
        made_error += float(((made - planes[:, middle]).abs() * seen).sum())
        plain_error += float(((planes[:, index] - planes[:, middle]).abs() * seen).sum())
    return made_error / max(plain_error, 1e-9)
