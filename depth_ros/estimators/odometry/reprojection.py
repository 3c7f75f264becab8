"""Reprojection of key-frame points into a new frame: correspondences, residuals and Jacobians.

Rolling shutter: most cameras read an image row by row. A point in a lower row is exposed later, after the camera has
moved on by the row's time, counted from the middle of the readout, times the velocity. This is modelled in the key
frame and in the new frame. It cancels where both frames have the same velocity; where the rotation reverses, it amounts
to many pixels, which resemble a translation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Correspondences:
    """N points of key frames found in a new frame.

    rays: (N, 3) from `origins` (N, 3), the key frames' camera centres, in the axes of the newest key frame; their
    length makes the depth 1. inverse_depth, variance: (N,) along the rays, 1/m. pixels: (N, 2) in the new frame.
    covariance: (N, 2, 2) of the pixels. new_inverse_depth, new_variance: (N,) in the new frame, NaN where invalid.
    readout_jacobian: (N, 3) derivative of the rays with respect to the key frame's readout time, 1/s.
    row_time: (N,) exposure time of the pixel's row as a fraction of the readout time, -0.5 (first row) to 0.5.
    """

    rays: np.ndarray
    origins: np.ndarray
    inverse_depth: np.ndarray
    variance: np.ndarray
    pixels: np.ndarray
    covariance: np.ndarray
    new_inverse_depth: np.ndarray
    new_variance: np.ndarray
    readout_jacobian: np.ndarray
    row_time: np.ndarray

    def __len__(self) -> int:
        return len(self.rays)

    @cached_property
    def has_new_depth(self) -> np.ndarray:
        """(N,) bool: the inverse depth in the new frame is valid."""
        return np.isfinite(self.new_inverse_depth)


def concatenate(parts: list[Correspondences]) -> Correspondences:
    """The points of all parts."""
    return Correspondences(
        *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Correspondences))
    )


@dataclass(frozen=True)
class Linearisation:
    """N predictions linearised at a motion.

    residuals: (N, 3) px, px, 1/m. motion: (N, 3, 6) Jacobian of the predictions with respect to the motion.
    inverse_depth, readout_time: (N, 3) Jacobians with respect to these.
    """

    residuals: np.ndarray
    motion: np.ndarray
    inverse_depth: np.ndarray
    readout_time: np.ndarray


def ray_velocity(rays: np.ndarray, inverse_depth: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """(N, 3) derivative by time, 1/s, of rays (N, 3) to points of inverse depth (N,), 1/m.

    velocity: (3, 4) of points in the camera frame: cross-product matrix of the angular velocity, rad/s, and linear
    velocity, m/s.
    """
    return rays @ velocity[:, :3].T + inverse_depth[:, None] * velocity[:, 3]


def residuals_and_jacobians(
    points: Correspondences, K: np.ndarray, T: np.ndarray, systematic: np.ndarray, velocity: np.ndarray
) -> Linearisation:
    """Residuals and Jacobians at T (4, 4). systematic: (2,) bias, 1/m, and readout time, s."""
    bias, readout_time = systematic
    rho, t = points.inverse_depth + bias, points.origins @ T[:3, :3].T + T[:3, 3]
    rays, key_rate = points.rays @ T[:3, :3].T, points.readout_jacobian @ T[:3, :3].T
    scaled = rays + rho[:, None] * t  # the point in the new camera frame times its inverse depth
    scaled = scaled + readout_time * key_rate
    new_rate = points.row_time[:, None] * ray_velocity(scaled, rho, velocity)
    scaled = scaled + readout_time * new_rate
    z = np.maximum(scaled[:, 2], 1e-3)
    x, y, q = scaled[:, 0] / z, scaled[:, 1] / z, rho / z
    fx, fy, o = K[0, 0], K[1, 1], np.zeros_like(x)
    u, v = points.pixels.T
    depth_residual = np.where(points.has_new_depth, points.new_inverse_depth + bias - q, 0.0)
    residual = np.array([u - fx * x - K[0, 2], v - fy * y - K[1, 2], depth_residual]).T
    J = np.array([
        [fx * q, o, -fx * x * q, -fx * x * y, fx * (1 + x * x), -fx * y],
        [o, fy * q, -fy * y * q, -fy * (1 + y * y), fy * x * y, fy * x],
        [o, o, -q * q, -q * y, q * x, o],
    ]).transpose(2, 0, 1)  # fmt: skip
    tx, ty, tz = t.T
    by_depth = np.array([fx * (tx - x * tz) / z, fy * (ty - y * tz) / z, (1 - q * tz) / z]).T
    ax, ay, az = (key_rate + new_rate).T
    by_readout = np.array([fx * (ax - x * az) / z, fy * (ay - y * az) / z, -q * az / z]).T
    return Linearisation(residual, np.ascontiguousarray(J), by_depth, by_readout)
