"""What of the optical flow between two depth images the camera's own motion does not explain.

Every pixel of the newer image is carried into the older one by its depth and the ego-motion. What is measured there,
its place by optical flow and its inverse depth, differs from what is expected by noise, whose covariance follows from
those of flow, depth and ego-motion, or because it moved. The flow is sought in the older image as it would look from
the newer camera if everything stood still: there it is small, and none where nothing moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_ros.datatypes import Depth, Motion
from depth_ros.geometry import rays

UNKNOWN = 1e6
"""Variance, 1/m^2, of an inverse depth that was not measured."""
ROUNDING = 1 / 12
"""px^2, variance of a place that is rounded to a pixel."""
ROUND_TRIP = 1.0
"""px that the flow there and back may miss by, of a pixel that is seen in both images."""
DIS = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM


@dataclass(frozen=True)
class SceneFlow:
    """Of every n-th pixel, (H, W) of them.

    points: (H, W, 3) m, in the newer camera. std: (H, W) m, of their depth. measured: (H, W, 3), px px 1/m, what is
    seen in the older image. noise: (H, W, 3, 3), covariance of `measured` less what is expected of a static point.
    known: (H, W) bool.
    """

    points: np.ndarray
    std: np.ndarray
    measured: np.ndarray
    noise: np.ndarray
    known: np.ndarray
    motion: Motion
    K: np.ndarray

    def surprise(self) -> np.ndarray:
        """(H, W) squared Mahalanobis distance from static; 0 where nothing is known. Three degrees of freedom."""
        found = np.zeros(self.known.shape)
        seen, _ = expected(self.points[self.known], self.motion.T_old_new, self.K)
        error = self.measured[self.known] - seen
        found[self.known] = mahalanobis(error, self.noise[self.known])
        return found


def scene_flow(
    older: Depth, newer: Depth, motion: Motion, stride: int, flow_std: float, depth_std: float
) -> SceneFlow:
    """Measure it. stride: px between the pixels that are looked at. flow_std: px.

    depth_std: of depth that does not state its own, as a share of it.
    """
    K, T, grid = newer.camera.K, motion.T_old_new, _grid(*newer.depth.shape)
    step = np.s_[::stride, ::stride]
    static = _carried(rays(newer.camera) * _filled(newer.depth)[..., None], T, K)
    as_static = _read(older.image, static, cv2.INTER_LINEAR, 0.0)
    there, back = _flow(newer.image, as_static), _flow(as_static, newer.image)
    match = (grid + there)[step]
    target = _read(static, match, cv2.INTER_LINEAR, -1e4)
    returned = match + _read(back, match, cv2.INTER_LINEAR, 1e4)
    depth = newer.depth[step]
    same = np.linalg.norm(returned - grid[step], axis=-1) < ROUND_TRIP
    known = np.isfinite(depth) & (depth > 0) & same
    points = rays(newer.camera)[step] * np.where(known, depth, 1.0)[..., None]
    rho, rho_variance = _inverse_depth(older, target, depth_std, flow_std)
    seen, by_point = expected(points, T, K)
    measured = np.concatenate([target, np.where(np.isfinite(rho), rho, seen[..., 2])[..., None]], -1)
    z_std = _std(newer, depth_std)[step]
    along = (by_point @ T[:3, :3] @ rays(newer.camera)[step][..., None])[..., 0] * z_std[..., None]
    noise = along[..., :, None] * along[..., None, :]
    noise[..., 0, 0] += flow_std**2
    noise[..., 1, 1] += flow_std**2
    noise[..., 2, 2] += np.where(np.isfinite(rho), rho_variance, UNKNOWN)
    by_motion = by_point @ _moved(points @ T[:3, :3].T)
    noise += by_motion @ motion.covariance @ np.swapaxes(by_motion, -1, -2)
    known &= np.isfinite(noise).all((-1, -2)) & np.isfinite(measured).all(-1) & (seen[..., 2] > 0)
    return SceneFlow(points, z_std, measured, noise, known, motion, K)


def expected(points: np.ndarray, T: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixel and inverse depth (..., 3) of points (..., 3) carried by T, and the derivative by the carried point."""
    X = points @ T[:3, :3].T + T[:3, 3]
    rho = 1 / np.where(X[..., 2] > 1e-3, X[..., 2], np.nan)
    x, y, zero = X[..., 0] * rho, X[..., 1] * rho, np.zeros_like(rho)
    seen = np.stack([K[0, 0] * x + K[0, 2], K[1, 1] * y + K[1, 2], rho], -1)
    rows = [
        [K[0, 0] * rho, zero, -K[0, 0] * x * rho],
        [zero, K[1, 1] * rho, -K[1, 1] * y * rho],
        [zero, zero, -rho * rho],
    ]
    return seen, np.stack([np.stack(row, -1) for row in rows], -2)


def mahalanobis(error: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Squared distance (...) of errors (..., N) under covariances (..., N, N)."""
    return (error * np.linalg.solve(covariance, error[..., None])[..., 0]).sum(-1)


def cross(v: np.ndarray) -> np.ndarray:
    """(..., 3, 3) that takes w to v x w."""
    zero = np.zeros_like(v[..., 0])
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    return np.stack(
        [np.stack([zero, -z, y], -1), np.stack([z, zero, -x], -1), np.stack([-y, x, zero], -1)], -2
    )


def _moved(turned: np.ndarray) -> np.ndarray:
    """(..., 3, 6): derivative of a carried point by an error of the motion, translation and rotation."""
    return np.concatenate([np.broadcast_to(np.eye(3), (*turned.shape, 3)), -cross(turned)], -1)


def _carried(points: np.ndarray, T: np.ndarray, K: np.ndarray) -> np.ndarray:
    """(H, W, 2) float32 px where static points (H, W, 3) are in the older image; far outside if behind it."""
    seen, _ = expected(points, T, K)
    return np.nan_to_num(seen[..., :2], nan=-1e4).clip(-1e4, 1e4).astype(np.float32)


def _grid(height: int, width: int) -> np.ndarray:
    """(H, W, 2) float32 column and row of every pixel."""
    return np.stack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)), -1)


def _flow(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(H, W, 2) px from `image` to `other`, both RGB (Kroeger et al., ECCV 2016)."""
    grey = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (image, other)]
    return cv2.DISOpticalFlow.create(DIS).calc(grey[0], grey[1], np.empty(0))


def _filled(depth: np.ndarray) -> np.ndarray:
    """Depth without gaps: unknown is as far as the farthest."""
    known = np.isfinite(depth) & (depth > 0)
    return np.where(known, depth, depth[known].max() if known.any() else 1.0).astype(np.float32)


def _std(depth: Depth, share: float) -> np.ndarray:
    return share * depth.depth if depth.std is None else depth.std


def _inverse_depth(
    depth: Depth, places: np.ndarray, share: float, flow_std: float
) -> tuple[np.ndarray, np.ndarray]:
    """Inverse depth and its variance at places (H, W, 2) px, whose error adds to it; NaN where it is unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = (1 / depth.depth).astype(np.float32)
        slope = np.nan_to_num(np.hypot(*np.gradient(rho)))
        variance = (_std(depth, share) * rho * rho) ** 2 + (flow_std**2 + ROUNDING) * slope**2
    found = [_read(x, places, cv2.INTER_NEAREST, np.nan) for x in (rho, variance.astype(np.float32))]
    return found[0], found[1].astype(float)


def _read(values: np.ndarray, places: np.ndarray, method: int, outside: float) -> np.ndarray:
    """Values (H, W) or (H, W, C) at places (h, w, 2) px."""
    x, y = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    return np.asarray(cv2.remap(values, x, y, method, borderValue=[outside] * 4))
