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


def check_inputs(card: Card, width: int, height: int, device: str) -> tuple[Tensor, Tensor]:
    """The stored image resized to width x height (1, H, W, 3) uint8, and intrinsics (1, 3, 3) as of a camera
    whose focal length is 0.6 widths and whose centre is the image's."""
    image = cv2.imread(str(card.check_image))
    if image is None:
        raise DepthRosError(
            f"{card.check_image} is missing or damaged: restore it (git checkout, or reinstall the package)"
        )
    image = cv2.cvtColor(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    f = 0.6 * width
    K = torch.tensor([[[f, 0.0, (width - 1) / 2], [0.0, f, (height - 1) / 2], [0.0, 0.0, 1.0]]])
    return torch.from_numpy(image)[None].to(device), K.to(device)


@torch.inference_mode()
def disagreement(model: nn.Module, run: Callable, inputs: tuple[Tensor, Tensor]) -> str:
    """How `run` differs from the eager float32 `model` beyond what is allowed; empty if it does not."""
    expected = model(*inputs).float().cpu().numpy()
    found = run(*inputs).float().cpu().numpy()
    if found.shape != expected.shape:
        return f"shape {found.shape}, not {expected.shape}"
    known = np.isfinite(expected) & np.isfinite(found)
    lost = float((np.isfinite(expected) != np.isfinite(found)).mean())
    if lost > UNKNOWN:
        return f"{100 * lost:.1f} % of the pixels are known to one side only"
    if not known.any():
        return "the model knows no pixel of its check image"
    relative = np.abs(found - expected)[known] / np.abs(expected[known]).clip(1e-6)
    median, tail = np.percentile(relative, [50, 99])
    if median > MEDIAN or tail > TAIL:
        return f"median {100 * median:.2f} %, 99th percentile {100 * tail:.1f} %"
    return ""
