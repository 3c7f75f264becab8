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
from depth_ros.geometry import cross, inverse, rays

UNKNOWN = 1e6
"""Variance, 1/m^2, of an inverse depth that was not measured."""
ROUNDING = 1 / 12
"""px^2, variance of a place that is rounded to a pixel."""
ROUND_TRIP = 1.0
"""px that the flow there and back may miss by, of a pixel that is seen in both images."""
DIS = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
NEARER, SAME_DEPTH = 1.15, 0.05
"""How much nearer what hides a pixel is, as a ratio, and within which share its depths in both images agree."""
FLAT = 1e-2
"""Squared grey levels per px^2: what has no gradients at all."""
PATCH = 8
"""px, size of the patches that the flow matches."""


@dataclass(frozen=True)
class SceneFlow:
    """Of every n-th pixel, (H, W) of them.

    points: (H, W, 3) m, in the newer camera. std: (H, W) m, of their depth. measured: (H, W, 3), px px 1/m, what is
    seen in the older image. flow_noise: (H, W, 3) px^2, variances and covariance xx xy yy of its place;
    depth_noise: (H, W) 1/m^2, variance of its inverse depth. known: (H, W) bool. surprise: (H, W) squared Mahalanobis
    distance from standing still, of three degrees of freedom, where it is above `least`; else 0. grey, older_grey: the
    images; older_inverse_depth: 1/m, NaN = unknown, of their size. stride: their pixels between two of these.
    """

    points: np.ndarray
    std: np.ndarray
    measured: np.ndarray
    flow_noise: np.ndarray
    depth_noise: np.ndarray
    known: np.ndarray
    surprise: np.ndarray
    motion: Motion
    K: np.ndarray
    grey: np.ndarray
    older_grey: np.ndarray
    older_inverse_depth: np.ndarray
    stride: int

    def noise(self, which: np.ndarray) -> np.ndarray:
        """(N, 3, 3), covariance of `measured` less what is expected of static points; which: (N,) of all, flat."""
        points, std = self.points.reshape(-1, 3)[which], self.std.ravel()[which]
        T, flow_noise = self.motion.T_old_new, self.flow_noise.reshape(-1, 3)[which]
        _, by_point = expected(points, T, self.K)
        along = (by_point @ T[:3, :3] @ (points / points[:, 2:])[..., None])[..., 0] * std[:, None]
        by_motion = by_point @ moved(points @ T[:3, :3].T)
        noise = along[:, :, None] * along[:, None, :]
        noise += by_motion @ self.motion.covariance @ np.swapaxes(by_motion, -1, -2)
        noise[:, 0, 0] += flow_noise[:, 0]
        noise[:, 0, 1] += flow_noise[:, 1]
        noise[:, 1, 0] += flow_noise[:, 1]
        noise[:, 1, 1] += flow_noise[:, 2]
        noise[:, 2, 2] += self.depth_noise.ravel()[which]
        return noise


def scene_flow(
    older: Depth, newer: Depth, motion: Motion, stride: int, flow_std: float, image_std: float,
    depth_std: float, least: float,
) -> SceneFlow:  # fmt: skip
    """Measure it. stride: px between the pixels that are looked at. flow_std: px, where there is texture.

    image_std: grey levels that an unmoved pixel differs by. depth_std: of depth that does not state its own, as a
    share of it. least: squared Mahalanobis distance from which on it is worth to be known.
    """
    K, T, grid = newer.camera.K, motion.T_old_new, _grid(*newer.depth.shape)
    step = np.s_[::stride, ::stride]
    static = _carried(rays(newer.camera) * _filled(newer.depth)[..., None], T, K)
    grey, older_grey = newer.grey, older.grey
    as_static = read(older_grey, static, cv2.INTER_LINEAR, 0.0)
    there, back = _flow(grey, as_static), _flow(as_static, grey)
    match = (grid + there)[step]
    target = read(static, match, cv2.INTER_LINEAR, -1e4)
    returned = match + read(back, match, cv2.INTER_LINEAR, 1e4)
    depth = newer.depth[step]
    same = np.linalg.norm(returned - grid[step], axis=-1) < ROUND_TRIP
    known = np.isfinite(depth) & (depth > 0) & same & (target > -1e3).all(-1)
    points = rays(newer.camera)[step] * np.where(known, depth, np.float32(1.0))[..., None]
    older_rho = _inverse(older.depth)
    rho, depth_noise = _inverse_depth(older, older_rho, target, depth_std, flow_std)
    seen = expected(points, T, K)[0]
    rho_known = np.isfinite(rho) & np.isfinite(depth_noise)
    measured = np.concatenate([target, np.where(rho_known, rho, seen[..., 2])[..., None]], -1)
    depth_noise = np.where(rho_known, depth_noise, UNKNOWN)
    flow_noise = texture_noise(grey, image_std, step) + flow_std**2 * np.array([1.0, 0.0, 1.0])
    known &= (seen[..., 2] > 0) & ~hidden(older, newer, seen, motion)
    surprise = np.zeros(known.shape)
    flow = SceneFlow(
        points, _std(newer, depth_std)[step], measured, flow_noise, depth_noise, known, surprise, motion, K,
        grey, older_grey, older_rho, stride,
    )  # fmt: skip
    error = np.where(known[..., None], measured - seen, 0.0)
    # What depth and ego-motion add to the noise of flow and inverse depth can only make it less surprising.
    most = (error[..., :2] ** 2).sum(-1) / flow_std**2 + error[..., 2] ** 2 / depth_noise
    which = np.flatnonzero(most > least)
    surprise.ravel()[which] = mahalanobis(error.reshape(-1, 3)[which], flow.noise(which))
    surprise[surprise <= least] = 0.0
    return flow


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


def hidden(older: Depth, newer: Depth, seen: np.ndarray, motion: Motion) -> np.ndarray:
    """(H, W) whether a pixel, expected at `seen` (H, W, 3) in the older image, was behind something nearer there that
    stands still itself, since the newer image shows it where it has to be: its flow is made up."""
    K = newer.camera.K
    z = read(older.depth, seen[..., :2].astype(np.float32), cv2.INTER_NEAREST, np.nan)
    ray = np.concatenate([(seen[..., :2] - K[:2, 2]) / np.diag(K)[:2], np.ones_like(z)[..., None]], -1)
    now = expected(ray * z[..., None], inverse(motion.T_old_new), K)[0]
    there = read(newer.depth, now[..., :2].astype(np.float32), cv2.INTER_NEAREST, np.nan)
    return (z * seen[..., 2] * NEARER < 1) & (np.abs(there * now[..., 2] - 1) < SAME_DEPTH)


def texture_noise(grey: np.ndarray, image_std: float, step: tuple[slice, slice]) -> np.ndarray:
    """(H, W, 3) px^2, variances and covariance xx xy yy of the place of a patch, at every n-th pixel of a grey image.

    By its gradients (Foerstner 1987): large across the edge where there is only one, and all around where there is
    nothing. image_std: grey levels.
    """
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (5, 5), 1.0)
    x, y = (cv2.Sobel(smooth, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    products: np.ndarray = np.stack([x * x, x * y, y * y], -1)
    products = cv2.boxFilter(products, -1, (PATCH, PATCH), normalize=False)[step]
    xx, xy, yy = np.moveaxis(products, -1, 0)
    xx, yy = xx + np.float32(FLAT), yy + np.float32(FLAT)
    return image_std**2 * np.stack([yy, -xy, xx], -1) / (xx * yy - xy * xy)[..., None]


def moved(turned: np.ndarray) -> np.ndarray:
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
    """(H, W, 2) px from `image` to `other`, both grey (Kroeger et al., ECCV 2016)."""
    return cv2.DISOpticalFlow.create(DIS).calc(image, other, np.empty(0))


def _filled(depth: np.ndarray) -> np.ndarray:
    """Depth without gaps: unknown is as far as the farthest."""
    known = np.isfinite(depth) & (depth > 0)
    return np.where(known, depth, depth[known].max() if known.any() else 1.0).astype(np.float32)


def _std(depth: Depth, share: float) -> np.ndarray:
    return share * depth.depth if depth.std is None else depth.std


def _inverse(depth: np.ndarray) -> np.ndarray:
    """1/m of depth (H, W) m; NaN where it is unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(depth > 0, 1 / depth, np.nan).astype(np.float32)


def _inverse_depth(
    depth: Depth, rho: np.ndarray, places: np.ndarray, share: float, flow_std: float
) -> tuple[np.ndarray, np.ndarray]:
    """Inverse depth rho (H, W) and its variance at places (H, W, 2) px, whose error adds to it; NaN where unknown."""
    with np.errstate(invalid="ignore"):
        slope = np.nan_to_num(np.hypot(*np.gradient(rho)))
        variance = (_std(depth, share) * rho * rho) ** 2 + (flow_std**2 + ROUNDING) * slope**2
    found = [read(x, places, cv2.INTER_NEAREST, np.nan) for x in (rho, variance.astype(np.float32))]
    return found[0], found[1].astype(float)


def read(values: np.ndarray, places: np.ndarray, method: int, outside: float) -> np.ndarray:
    """Values (H, W) or (H, W, C) at places (h, w, 2) px."""
    x, y = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    return np.asarray(cv2.remap(values, x, y, method, borderValue=[outside] * 4))
