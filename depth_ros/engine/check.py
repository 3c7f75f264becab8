"""The check every engine has to pass: the eager float32 result on the model's stored input."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from depth_ros.card import Card
from depth_ros.errors import DepthRosError

MEDIAN, TAIL, UNKNOWN = 0.01, 0.10, 0.01
"""Allowed: median and 99th percentile of the relative difference, share of pixels known to one side only."""
DEVIATION = 4.0
"""Times as much is allowed for standard deviations: what is predicted of an error is no measurement."""


def check_inputs(card: Card, width: int, height: int, device: str) -> tuple[Tensor, ...]:
    """What a model of the card's task takes (see depth_ros.networks), made from its stored image at width x height.

    The camera's focal length is 0.6 widths and its centre is the image's. Another eye and later moments are made
    from the one image: nearer rows shifted more, and a camera that moves forward.
    """
    image = cv2.imread(str(card.check_image))
    if image is None:
        raise DepthRosError(
            f"{card.check_image} is missing or damaged: restore it (git checkout, or reinstall the package)"
        )
    image = cv2.cvtColor(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    return task_inputs(card.task, card.frames, image, device)


def task_inputs(task: str, frames: int, image: np.ndarray, device: str) -> tuple[Tensor, ...]:
    """The same of any image (H, W, 3) uint8 and any model that looks at `frames` moments."""
    height, width = image.shape[:2]
    f = 0.6 * width
    K = np.array([[f, 0.0, (width - 1) / 2], [0.0, f, (height - 1) / 2], [0.0, 0.0, 1.0]], np.float32)
    arrays: tuple[np.ndarray, ...]
    if task == "stereo_depth":
        arrays = (image, _other_eye(image))
    elif task == "ego_motion":
        arrays = (_moments(image, frames), K)
    elif task == "object_motion":
        arrays = (_moments(image, frames), _labels(frames, width, height), K)
    else:
        arrays = (image, K)
    return tuple(torch.from_numpy(array)[None].to(device) for array in arrays)


def _other_eye(left: np.ndarray) -> np.ndarray:
    height, width = left.shape[:2]
    u, v = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(left, u + 2 + 0.04 * v, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _moments(image: np.ndarray, count: int) -> np.ndarray:
    height, width = image.shape[:2]
    turns = (
        cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0.0, 1 + 0.02 * i) for i in range(count)
    )
    return np.stack([cv2.warpAffine(image, turn, (width, height)) for turn in turns])


def _labels(count: int, width: int, height: int) -> np.ndarray:
    labels = np.zeros((count, height, width), np.uint8)
    labels[:, height // 3 : height * 2 // 3, width // 8 : width // 3] = 1
    labels[:, height // 3 : height * 2 // 3, width // 2 : width * 3 // 4] = 2
    return labels


@torch.inference_mode()
def disagreement(model: nn.Module, run: Callable, inputs: tuple[Tensor, ...]) -> str:
    """How `run` differs from the eager float32 `model` beyond what is allowed; empty if it does not.

    Results that are estimates of error, which `model.deviations` counts up, may differ `DEVIATION` times as much.
    """
    expected, found = _arrays(model(*inputs)), _arrays(run(*inputs))
    if len(found) != len(expected):
        return f"{len(found)} results, not {len(expected)}"
    size = tuple(inputs[0].shape[-3:-1])
    loose = getattr(model, "deviations", ())
    factors = (DEVIATION if i in loose else 1.0 for i in range(len(expected)))
    pairs = zip(expected, found, factors, strict=True)
    return next(filter(None, (_difference(a, b, size, factor) for a, b, factor in pairs)), "")


def _arrays(results: Tensor | tuple[Tensor, ...] | list[Tensor]) -> list[np.ndarray]:
    several = results if isinstance(results, (tuple, list)) else (results,)
    return [result.cpu().numpy() for result in several]


def _difference(expected: np.ndarray, found: np.ndarray, size: tuple[int, ...], factor: float = 1.0) -> str:
    if found.shape != expected.shape:
        return f"shape {found.shape}, not {expected.shape}"
    if expected.dtype.kind in "iu":
        other = float((expected != found).mean())
        return f"{100 * other:.1f} % of the labels are others" if other > UNKNOWN else ""
    known = np.isfinite(expected) & np.isfinite(found)
    lost = float((np.isfinite(expected) != np.isfinite(found)).mean())
    if lost > UNKNOWN:
        return f"{100 * lost:.1f} % of the values are known to one side only"
    if not known.any():
        return "the model knows nothing of its check image"
    scale = np.abs(expected)
    if expected.shape[-2:] != size:  # motions and planes: small numbers beside large ones
        scale = np.full_like(scale, np.abs(expected - np.eye(*expected.shape[-2:])).max())
    relative = np.abs(found - expected)[known] / scale[known].clip(1e-6)
    median, tail = np.percentile(relative, [50, 99])
    if median > factor * MEDIAN or tail > factor * TAIL:
        return f"median {100 * median:.2f} %, 99th percentile {100 * tail:.1f} %"
    return ""
