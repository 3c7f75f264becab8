"""The check that every engine has to pass: the eager float32 result on the model's stored input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from depth_ros.card import Card
from depth_ros.errors import DepthRosError

MAX_MEDIAN, MAX_TAIL, MAX_INVALID = 0.01, 0.10, 0.01
"""Limits of the median and 99th percentile of the relative difference, and of the fraction valid in one result only."""
STD_TOLERANCE = 4.0
"""Factor on these limits for predicted standard deviations, which need not be as accurate as what they describe."""


@dataclass(frozen=True)
class Check:
    """Inputs of a model and its eager float32 results on them. std_results: indices of the standard deviations."""

    inputs: tuple[Tensor, ...]
    expected: tuple[Tensor, ...]
    std_results: tuple[int, ...] = ()

    @staticmethod
    @torch.inference_mode()
    def of(model: nn.Module, inputs: tuple[Tensor, ...], std_results: tuple[int, ...] = ()) -> Check:
        """Run `model` on `inputs`. std_results: if the model has no attribute `deviations`."""
        return Check(inputs, _results(model(*inputs)), tuple(getattr(model, "deviations", std_results)))

    @torch.inference_mode()
    def problem(self, run: Callable) -> str:
        """How the results of `run` differ beyond what is allowed; empty if they do not."""
        found = _results(run(*self.inputs))
        if len(found) != len(self.expected):
            return f"{len(found)} results instead of {len(self.expected)}"
        size = tuple(self.inputs[0].shape[-3:-1])
        for i, (expected, result) in enumerate(zip(self.expected, found, strict=True)):
            tolerance = STD_TOLERANCE if i in self.std_results else 1.0
            if problem := _difference(expected.numpy(), result.numpy(), size, tolerance):
                return problem
        return ""

    @torch.inference_mode()
    def change(self, run: Callable) -> float:
        """The largest median relative difference of a result of `run`; that of a standard deviation counts less."""
        changes = [0.0]
        for i, (expected, found) in enumerate(zip(self.expected, _results(run(*self.inputs)), strict=True)):
            relative = ((found - expected) / expected).abs()
            valid = relative[torch.isfinite(relative)]
            median = float(valid.median()) if len(valid) else math.inf
            changes.append(median / (STD_TOLERANCE if i in self.std_results else 1.0))
        return max(changes)

    def save(self, file: Path) -> None:
        """Write inputs and results as safetensors."""
        tensors = {f"input_{i}": x.cpu().contiguous() for i, x in enumerate(self.inputs)}
        tensors |= {f"expected_{i}": x.contiguous() for i, x in enumerate(self.expected)}
        save_file(tensors, file, {"std_results": ",".join(map(str, self.std_results))})

    @staticmethod
    def load(file: Path, device: str) -> Check:
        """Read what `save` wrote."""
        with safe_open(file, framework="pt") as stored:
            names, text = list(stored.keys()), stored.metadata()["std_results"]
            inputs, expected = (
                tuple(stored.get_tensor(f"{kind}_{i}") for i in range(sum(kind in name for name in names)))
                for kind in ("input", "expected")
            )
        std_results = tuple(int(i) for i in text.split(",") if i)
        return Check(tuple(x.to(device) for x in inputs), expected, std_results)


def disagreement(model: nn.Module, run: Callable, inputs: tuple[Tensor, ...]) -> str:
    """How `run` differs from the eager float32 `model` beyond what is allowed; empty if it does not."""
    return Check.of(model, inputs).problem(run)


def check_inputs(card: Card, width: int, height: int, device: str) -> tuple[Tensor, ...]:
    """Inputs of the card's task (see depth_ros.networks), made from its stored image at width x height px.

    The focal length is 0.6 widths and the principal point the image centre. Right images and later frames are made
    from the one image: nearer rows shifted further, and a camera that moves forward.
    """
    image = cv2.imread(str(card.check_image))
    if image is None:
        raise DepthRosError(
            f"{card.check_image} is missing or damaged: restore it (git checkout, or reinstall the package)"
        )
    image = cv2.cvtColor(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    return task_inputs(card.task, card.frames, image, device, len(card.extra_inputs))


def task_inputs(
    task: str, frames: int, image: np.ndarray, device: str, extra_inputs: int = 0
) -> tuple[Tensor, ...]:
    """Inputs of a task made from an image (H, W, 3) uint8, for a model of `frames` frames and that many more inputs."""
    height, width = image.shape[:2]
    f = 0.6 * width
    K = np.array([[f, 0.0, (width - 1) / 2], [0.0, f, (height - 1) / 2], [0.0, 0.0, 1.0]], np.float32)
    arrays: tuple[np.ndarray, ...]
    if task == "stereo_depth":
        arrays = (image, _right_image(image))
    elif task == "ego_motion":
        arrays = (_frames(image, frames), K)
    elif task == "object_motion":
        arrays = (_frames(image, frames), _labels(frames, width, height), K)
    else:
        arrays = (image, K, _extra_inputs(image, extra_inputs)) if extra_inputs else (image, K)
    return tuple(torch.from_numpy(array)[None].to(device) for array in arrays)


def _right_image(left: np.ndarray) -> np.ndarray:
    height, width = left.shape[:2]
    u, v = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(left, u + 2 + 0.04 * v, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _frames(image: np.ndarray, count: int) -> np.ndarray:
    height, width = image.shape[:2]
    zooms = (
        cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0.0, 1 + 0.02 * i) for i in range(count)
    )
    return np.stack([cv2.warpAffine(image, zoom, (width, height)) for zoom in zooms])


def _labels(count: int, width: int, height: int) -> np.ndarray:
    labels = np.zeros((count, height, width), np.uint8)
    labels[:, height // 3 : height * 2 // 3, width // 8 : width // 3] = 1
    labels[:, height // 3 : height * 2 // 3, width // 2 : width * 3 // 4] = 2
    return labels


def _extra_inputs(image: np.ndarray, count: int) -> np.ndarray:
    """(C, H, W) float32: brightness, 0 to 1, or its inverse, and zero, as where nothing is known, in a part."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    channels = np.stack([grey if i % 2 else 1 - grey for i in range(count)])
    channels[:, :, : image.shape[1] // 3] = 0
    return channels


def _results(results: Tensor | tuple[Tensor, ...] | list[Tensor]) -> tuple[Tensor, ...]:
    return tuple(x.cpu() for x in (results if isinstance(results, (tuple, list)) else [results]))


def _difference(expected: np.ndarray, found: np.ndarray, size: tuple[int, ...], tolerance: float) -> str:
    if found.shape != expected.shape:
        return f"shape {found.shape} instead of {expected.shape}"
    if expected.dtype.kind in "iu":
        wrong = float((expected != found).mean())
        return f"{100 * wrong:.1f} % of the labels differ" if wrong > MAX_INVALID else ""
    valid = np.isfinite(expected) & np.isfinite(found)
    invalid = float((np.isfinite(expected) != np.isfinite(found)).mean())
    if invalid > MAX_INVALID:
        return f"{100 * invalid:.1f} % of the values are valid in one result only"
    if not valid.any():
        return "the model gives no valid value on its check image"
    scale = np.abs(expected)
    if expected.shape[-2:] != size:  # motions and planes: small numbers beside large ones
        scale = np.full_like(scale, np.abs(expected - np.eye(*expected.shape[-2:])).max())
    relative = np.abs(found[valid] - expected[valid]) / scale[valid].clip(1e-6)
    median, tail = np.percentile(relative, [50, 99])
    if median > tolerance * MAX_MEDIAN or tail > tolerance * MAX_TAIL:
        return f"median {100 * median:.2f} %, 99th percentile {100 * tail:.1f} %"
    return ""
