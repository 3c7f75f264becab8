"""Operators Resize and Upsample of ONNX in torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from depth_ros.errors import DepthRosError

if TYPE_CHECKING:
    from depth_ros.networks.blocks.onnx.node import Node

SPATIAL = {"linear": ("linear", "bilinear", "trilinear"), "cubic": ("", "bicubic", "")}
NEAREST = {
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round_prefer_floor": lambda x: torch.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: torch.floor(x + 0.5),
}


def resize(node: Node) -> Callable[..., Tensor]:
    """The function of Resize (opsets 10 to 19) or Upsample. Raises DepthRosError for modes that are not supported."""
    scales, sizes = _scales_and_sizes(node)
    mode = node.get("mode", "nearest")
    coordinates = node.get(
        "coordinate_transformation_mode", "half_pixel" if node.opset >= 11 else "asymmetric"
    )
    axes = node.get("axes")
    if node.get("keep_aspect_ratio_policy", "stretch") != "stretch" or coordinates == "tf_crop_and_resize":
        raise DepthRosError(f"operator Resize with {coordinates} or a fixed aspect ratio is not supported")

    def function(x: Tensor, *_: Any) -> Tensor:
        chosen = [a % x.ndim for a in axes] if axes else list(range(x.ndim))
        given = scales or []
        new = dict(zip(chosen, sizes or [math.floor(x.shape[a] * s) for a, s in zip(chosen, given)]))
        factors = dict(zip(chosen, scales or [new[a] / x.shape[a] for a in chosen]))
        changed = [a for a in chosen if new[a] != x.shape[a]]
        if not changed:
            return x
        if mode != "nearest" and min(changed) >= 2 and _is_native(mode, coordinates, new, factors, x):
            kind = SPATIAL[mode][x.ndim - 3]
            antialias = bool(node.get("antialias", 0))
            size = [new.get(a, x.shape[a]) for a in range(2, x.ndim)]
            return F.interpolate(
                x, size, mode=kind, align_corners=coordinates == "align_corners", antialias=antialias
            )
        if mode == "cubic" or node.get("antialias", 0):
            raise DepthRosError(f"operator Resize: mode {mode} with {coordinates} is not supported")
        for axis in changed:
            position = _positions(coordinates, x.shape[axis], new[axis], factors[axis])
            x = _linear(x, axis, position) if mode == "linear" else _nearest(
                x, axis, position, node.get("nearest_mode", "round_prefer_floor" if node.opset >= 11 else "floor")
            )  # fmt: skip
        return x

    return function


def _scales_and_sizes(node: Node) -> tuple[list[float] | None, list[int] | None]:
    if node.op == "Upsample" or node.opset < 11:
        return node.values(1, "scales"), None
    return node.values(2) or None, node.values(3) or None


def _is_native(
    mode: str, coordinates: str, new: dict[int, int], factors: dict[int, float], x: Tensor
) -> bool:
    """Whether F.interpolate computes the same: the given factors are those of the sizes, and its coordinates."""
    exact = all(abs(factors[a] * x.shape[a] - new[a]) < 1e-3 for a in new)
    known = coordinates in ("half_pixel", "align_corners") or (
        coordinates == "pytorch_half_pixel" and min(n for axis, n in new.items() if axis >= 2) > 1
    )
    return exact and known and bool(SPATIAL[mode][x.ndim - 3] if 3 <= x.ndim <= 5 else "")


def _positions(coordinates: str, size: int, new: int, factor: float) -> Tensor:
    """Position in the input of every element of an axis of the result."""
    index = torch.arange(new, dtype=torch.float32)
    if coordinates == "align_corners":
        return index * ((size - 1) / (new - 1)) if new > 1 else index * 0
    if coordinates == "asymmetric":
        return index / factor
    if coordinates == "pytorch_half_pixel" and new == 1:
        return index * 0
    return (index + 0.5) / factor - 0.5


def _nearest(x: Tensor, axis: int, position: Tensor, rounding: str) -> Tensor:
    size, new = x.shape[axis], len(position)
    index = NEAREST[rounding](position).clamp(0, size - 1).long().tolist()
    repeats = new // size
    if repeats * size == new and index == [
        i // repeats for i in range(new)
    ]:  # the usual doubling, in a quick form
        return (
            x.unsqueeze(axis + 1)
            .expand(*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
            .flatten(axis, axis + 1)
        )
    return x.index_select(axis, torch.tensor(index, device=x.device))


def _linear(x: Tensor, axis: int, position: Tensor) -> Tensor:
    position = position.clamp(0, x.shape[axis] - 1)
    low = position.floor().clamp(max=max(x.shape[axis] - 2, 0))
    high = (low + 1).clamp(max=x.shape[axis] - 1)
    fraction = (position - low).tolist()
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    weight = torch.tensor(fraction, device=x.device, dtype=x.dtype).reshape(shape)
    first, second = (
        x.index_select(axis, torch.tensor(i.long().tolist(), device=x.device)) for i in (low, high)
    )
    return first + (second - first) * weight
