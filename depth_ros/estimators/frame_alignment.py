"""A new frame aligned with the key frames: coarse to fine with the newest, in the end with all of them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from depth_ros.estimators.key_frames import KeyFrame, View
from depth_ros.estimators.patches import find
from depth_ros.estimators.pose_solver import Bias, Points, Solution, rescaled, solve, together
from depth_ros.geometry import inverse

if TYPE_CHECKING:
    from depth_ros.estimators.odometry import OdometrySettings

SAME = np.eye(4)
OUTLIER = 16.0
"""Squared Mahalanobis distance of three residuals beyond which a patch does not agree: one of a thousand."""
ROUNDS = (3, 3, 2, 2, 1, 1, 0)
"""Levels on which a motion is sought, in this order."""


@dataclass(frozen=True)
class Aligned:
    """solution: the motion from key frame to view. agree: its patches that do. share: of those in view."""

    solution: Solution
    key: KeyFrame
    agree: int
    share: float
    bias: Bias


def align(
    keys: list[KeyFrame], view: View, T: np.ndarray, settings: OdometrySettings, bias: Bias, usual: float
) -> Aligned | None:
    """The motion from the newest key frame to a view, from T (4, 4) on; None where too few patches are found.

    bias: what is known of a common error of all inverse depths; the result has what is known of it then. usual: 1/m, of
    it, that is let alone.
    """
    few = settings.min_inliers
    if len(keys[-1].pixels) < few:
        return None
    for level in ROUNDS:
        points, _ = _found(keys[-1], view, T, level, settings)
        if len(points) < few:
            return None
        T = solve(points, view.K[level], T).T
    own, in_view = _found(keys[-1], view, T, 0, settings)
    if len(own) < few:
        return None
    others = [
        _found(key, view, T, 0, settings, inverse(keys[-1].T) @ key.T)[0]
        for key in keys[:-1]
        if len(key.pixels)
    ]
    K, applied = view.K[0], Bias(_unusual(bias.mean, usual))
    points = rescaled(together([own, *others]), K, T, applied)
    solution = solve(points, K, T, 1.0, applied)
    if bias.variance > 0:
        # from the newest alone: the others stand where the bias believed so far put them
        bias = solve(rescaled(own, K, T, applied), K, solution.T, 1.0, bias).bias
    near = (solution.distance2 < OUTLIER) & (solution.distance < settings.max_error)
    agree = int(near[: len(own)].sum())
    return Aligned(solution, keys[-1], agree, agree / max(in_view, few), bias)


def _unusual(bias: float, usual: float) -> float:
    return float(np.sign(bias)) * max(abs(bias) - usual, 0.0)


def _found(
    key: KeyFrame,
    view: View,
    T: np.ndarray,
    level: int,
    settings: OdometrySettings,
    T_newest_key: np.ndarray = SAME,
) -> tuple[Points, int]:
    """The patches of a key frame that are found on a level, and how many are in view at all.

    T (4, 4) takes points from the newest key frame to the view, T_newest_key from this one to the newest.
    """
    which = key.coarse if level else np.arange(len(key.pixels))
    patches = key.levels[level]
    found = find(patches, view.levels[level], view.K[level], T @ T_newest_key)
    inside = view.still(found.pixels * 2**level)
    kept = inside & (found.likeness > settings.likeness)
    pixels = found.pixels[kept]
    unknown = np.full(len(pixels), np.nan), np.ones(len(pixels))
    rho, variance = unknown if level else view.at(pixels)
    rays = patches.rays[kept, patches.rays.shape[1] // 2] @ T_newest_key[:3, :3].T
    floor = settings.pixel_std**2 * np.eye(2)
    points = Points(
        rays, np.broadcast_to(T_newest_key[:3, 3], rays.shape), key.inverse_depth[which][kept],
        key.variance[which][kept], pixels, found.covariance[kept] + floor, rho, variance,
    )  # fmt: skip
    return points, int(inside.sum())
