"""A new frame aligned with the key frames: coarse to fine with the newest, in the end with all of them together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from depth_ros.estimators.odometry.key_frames import KeyFrame, View
from depth_ros.estimators.odometry.patches import find
from depth_ros.estimators.odometry.pose_solver import (
    Errors,
    Known,
    Points,
    Solution,
    flow,
    rescaled,
    solve,
    together,
)
from depth_ros.geometry import inverse

if TYPE_CHECKING:
    from depth_ros.estimators.odometry.settings import OdometrySettings

SAME, STILL = np.eye(4), np.zeros((3, 4))
OUTLIER = 16.0
"""Squared Mahalanobis distance of three residuals beyond which a patch does not agree: one of a thousand."""
REFINED = 3
"""Steps in which the errors of a camera are sought, from the motion that is found already."""
CELLS = 4
"""Parts of an image along each side in which patches may err together."""
ROUNDS = (3, 3, 2, 2, 1, 1, 0)
"""Levels on which a motion is sought, in this order."""


@dataclass(frozen=True)
class Aligned:
    """solution: the motion from key frame to view. agree: its patches that do. share: of those in view. errors: what is
    known of them now."""

    solution: Solution
    key: KeyFrame
    agree: int
    share: float
    errors: Errors


def align(
    keys: list[KeyFrame],
    view: View,
    T: np.ndarray,
    settings: OdometrySettings,
    errors: Errors,
    usual: float,
    velocity: Callable[[np.ndarray], np.ndarray],
) -> Aligned | None:
    """The motion from the newest key frame to a view, from T (4, 4) on; None where too few patches are found.

    errors: what is known of them; the result has what is known then. usual: 1/m, of the bias, that is let alone.
    velocity: that (3, 4) of points in the view which goes with such a motion, see `flow`.
    """
    few = settings.min_inliers
    if len(keys[-1].pixels) < few:
        return None
    applied = Errors(Known(_unusual(errors.bias.mean, usual)), errors.readout.exact(), velocity(T))
    for level in ROUNDS:  # without the bias: patches are carried over by the inverse depths as they are
        points, _ = _found(keys[-1], view, T, level, settings, applied)
        if len(points) < few:
            return None
        T = solve(points, view.K[level], T, errors=replace(applied, bias=Known())).T
        applied = replace(applied, velocity=velocity(T))
    own, in_view = _found(keys[-1], view, T, 0, settings, applied)
    if len(own) < few:
        return None
    others = [
        _found(key, view, T, 0, settings, applied, inverse(keys[-1].T) @ key.T)[0]
        for key in keys[:-1]
        if len(key.pixels)
    ]
    K = view.K[0]
    points = rescaled(together([own, *others]), K, T, applied)
    solution = solve(points, K, T, 1.0, applied, cells_of(points.pixels, view.grey.shape))
    if errors.bias.variance > 0 or errors.readout.variance > 0:
        # from the newest alone: the others stand where the errors believed so far put them
        sought = replace(errors, velocity=velocity(solution.T))
        found = solve(rescaled(own, K, T, applied), K, solution.T, 1.0, sought, iterations=REFINED)
        errors = replace(errors, bias=found.bias, readout=found.readout)
    near = (solution.distance2 < OUTLIER) & (solution.distance < settings.max_error)
    agree = int(near[: len(own)].sum())
    return Aligned(solution, keys[-1], agree, agree / max(in_view, few), errors)


def _unusual(bias: float, usual: float) -> float:
    return float(np.sign(bias)) * max(abs(bias) - usual, 0.0)


def _found(
    key: KeyFrame,
    view: View,
    T: np.ndarray,
    level: int,
    settings: OdometrySettings,
    errors: Errors,
    T_newest_key: np.ndarray = SAME,
) -> tuple[Points, int]:
    """The patches of a key frame that are found on a level, and how many are in view at all.

    T (4, 4) takes points from the newest key frame to the view, T_newest_key from this one to the newest.
    """
    which = key.coarse if level else np.arange(len(key.pixels))
    patches, K, height = key.levels[level], view.K[level], view.grey.shape[0]
    rays, rho = patches.rays[:, patches.rays.shape[1] // 2].astype(float), key.inverse_depth[which]
    velocity = errors.velocity if key.view.velocity is None else key.view.velocity
    swept = -row_time(key.pixels[which, 1], height) * flow(rays, rho, velocity)
    start = np.zeros((len(rays), 2))
    if readout := errors.readout.mean:
        plain = seen(rays, rho, T @ T_newest_key, K)
        late = row_time(plain[:, 1] * 2**level, height)
        start = (
            seen(rays + readout * swept, rho, T @ T_newest_key, K, readout * late, errors.velocity) - plain
        )
    found = find(patches, view.levels[level], K, T @ T_newest_key, start)
    inside = view.still(found.pixels * 2**level)
    kept = inside & (found.likeness > settings.likeness)
    pixels = found.pixels[kept]
    unknown = np.full(len(pixels), np.nan), np.ones(len(pixels))
    new_rho, variance = unknown if level else view.at(pixels)
    R, origin = T_newest_key[:3, :3], T_newest_key[:3, 3]
    floor = settings.pixel_std**2 * np.eye(2)
    points = Points(
        rays[kept] @ R.T, np.broadcast_to(origin, (len(pixels), 3)), rho[kept], key.variance[which][kept],
        pixels, found.covariance[kept] + floor, new_rho, variance,
        swept[kept] @ R.T, row_time(pixels[:, 1] * 2**level, height)[:, 0],
    )  # fmt: skip
    return points, int(inside.sum())


def cells_of(pixels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(N,) which of CELLS x CELLS parts of an image (H, W) pixels (N, 2) lie in."""
    column, row = np.clip(pixels * CELLS / [shape[1], shape[0]], 0, CELLS - 1).astype(int).T
    return row * CELLS + column


def row_time(rows: np.ndarray, height: int) -> np.ndarray:
    """(N, 1) when rows (N,) are read, as a share of the readout, from its middle."""
    return np.clip((rows[:, None] + 0.5) / height - 0.5, -0.5, 0.5)


def seen(
    rays: np.ndarray,
    inverse_depth: np.ndarray,
    T: np.ndarray,
    K: np.ndarray,
    late: np.ndarray | float = 0.0,
    velocity: np.ndarray = STILL,
) -> np.ndarray:
    """(N, 2) px of points after T (4, 4), and `late` s (N, 1) of a velocity more."""
    moved = rays @ T[:3, :3].T + inverse_depth[:, None] * T[:3, 3]
    moved = moved + late * flow(moved, inverse_depth, velocity)
    return (moved @ K.T)[:, :2] / np.maximum(moved[:, 2:], 1e-3)
