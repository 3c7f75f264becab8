"""Residual scene flow between two depth images after ego-motion compensation.

Every pixel of the newer image is projected into the older camera with its depth and the ego-motion. The measurement
there is its pixel position, from optical flow, and its inverse depth. Where the point is static, measurement and
prediction differ by noise only, whose covariance follows from those of flow, depth and ego-motion. Optical flow is
computed to the older image warped into the newer camera as if the scene were static: the remaining flow is small, and
zero where nothing moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_ros.datatypes import Depth, Motion
from depth_ros.geometry import inverse, rays, skew

UNMEASURED_VARIANCE = 1e6
"""1/m^2, variance of an inverse depth that was not measured."""
ROUNDING_VARIANCE = 1 / 12
"""px^2, variance of a position rounded to a whole pixel."""
MAX_ROUND_TRIP_ERROR = 1.0
"""px, largest error of the forward-backward flow check."""
DIS_PRESET = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
OCCLUDER_DEPTH_RATIO = 1.15
"""A pixel is occluded if its depth exceeds the depth measured there by this ratio."""
SAME_DEPTH_TOLERANCE = 0.05
"""Relative difference up to which two depths of a static occluder agree."""
MIN_GRADIENT_ENERGY = 1e-2
"""Squared grey levels per px^2, added to the structure tensor so that it is invertible without texture."""
PATCH_SIZE = 8
"""px, size of the patches that the optical flow matches."""


@dataclass(frozen=True)
class SceneFlowSettings:
    """Sampling and noise of the residual scene flow.

    stride: px between evaluated pixels. flow_std: px, of the optical flow in textured regions. intensity_std: grey
    levels, of the difference of one pixel between two images. relative_depth_std: as a fraction of the depth, for depth
    images without a standard deviation. min_squared_distance: squared Mahalanobis distances below it are set to 0.
    """

    stride: int
    flow_std: float
    intensity_std: float
    relative_depth_std: float
    min_squared_distance: float


@dataclass(frozen=True)
class SceneFlow:
    """Measurements at every `settings.stride`-th pixel; (H, W) is the size of this grid.

    points: (H, W, 3) m, in the newer camera. depth_std: (H, W) m. measured: (H, W, 3), pixel position (px, px) and
    inverse depth (1/m) in the older image. flow_covariance: (H, W, 3) px^2, xx xy yy of the measured position.
    inverse_depth_variance: (H, W) 1/m^2. valid: (H, W) bool. squared_distance: (H, W) squared Mahalanobis distance (3
    degrees of freedom) from a static point; 0 below `settings.min_squared_distance`. grey, older_grey: the images at
    full size, uint8. older_inverse_depth: 1/m at full size, NaN = invalid.
    """

    points: np.ndarray
    depth_std: np.ndarray
    measured: np.ndarray
    flow_covariance: np.ndarray
    inverse_depth_variance: np.ndarray
    valid: np.ndarray
    squared_distance: np.ndarray
    motion: Motion
    K: np.ndarray
    grey: np.ndarray
    older_grey: np.ndarray
    older_inverse_depth: np.ndarray
    settings: SceneFlowSettings

    def residual_covariance(self, indices: np.ndarray) -> np.ndarray:
        """(N, 3, 3) covariance of `measured` minus its static prediction; indices (N,) into the flat grid."""
        points, std = self.points.reshape(-1, 3)[indices], self.depth_std.ravel()[indices]
        T, flow_covariance = self.motion.T_old_new, self.flow_covariance.reshape(-1, 3)[indices]
        _, J_point = predict_measurement(points, T, self.K)
        J_depth = (J_point @ T[:3, :3] @ (points / points[:, 2:])[..., None])[..., 0] * std[:, None]
        J_motion = J_point @ motion_jacobian(points @ T[:3, :3].T)
        covariance = J_depth[:, :, None] * J_depth[:, None, :]
        covariance += J_motion @ self.motion.covariance @ np.swapaxes(J_motion, -1, -2)
        covariance[:, 0, 0] += flow_covariance[:, 0]
        covariance[:, 0, 1] += flow_covariance[:, 1]
        covariance[:, 1, 0] += flow_covariance[:, 1]
        covariance[:, 1, 1] += flow_covariance[:, 2]
        covariance[:, 2, 2] += self.inverse_depth_variance.ravel()[indices]
        return covariance


def scene_flow(older: Depth, newer: Depth, motion: Motion, settings: SceneFlowSettings) -> SceneFlow:
    """Residual scene flow of `newer` relative to `older`, both of one size."""
    K, T, grid = newer.camera.K, motion.T_old_new, _pixel_grid(*newer.depth.shape)
    flow_std, step = settings.flow_std, np.s_[:: settings.stride, :: settings.stride]
    static = _project_static(rays(newer.camera) * _fill_invalid_depth(newer.depth)[..., None], T, K)
    grey, older_grey = newer.grey, older.grey
    warped = sample_image(older_grey, static, cv2.INTER_LINEAR, 0.0)
    forward, backward = _optical_flow(grey, warped), _optical_flow(warped, grey)
    match = (grid + forward)[step]
    target = sample_image(static, match, cv2.INTER_LINEAR, -1e4)
    returned = match + sample_image(backward, match, cv2.INTER_LINEAR, 1e4)
    depth = newer.depth[step]
    consistent = np.linalg.norm(returned - grid[step], axis=-1) < MAX_ROUND_TRIP_ERROR
    valid = np.isfinite(depth) & (depth > 0) & consistent & (target > -1e3).all(-1)
    points = rays(newer.camera)[step] * np.where(valid, depth, np.float32(1.0))[..., None]
    older_rho = _inverse_depth(older.depth)
    rho, rho_variance = _sample_inverse_depth(older, older_rho, target, settings)
    predicted = predict_measurement(points, T, K)[0]
    rho_valid = np.isfinite(rho) & np.isfinite(rho_variance)
    measured = np.concatenate([target, np.where(rho_valid, rho, predicted[..., 2])[..., None]], -1)
    rho_variance = np.where(rho_valid, rho_variance, UNMEASURED_VARIANCE)
    flow_covariance = texture_covariance(grey, settings.intensity_std, step)
    flow_covariance = flow_covariance + flow_std**2 * np.array([1.0, 0.0, 1.0])
    valid &= (predicted[..., 2] > 0) & ~occlusion_mask(older, newer, predicted, motion)
    squared_distance = np.zeros(valid.shape)
    flow = SceneFlow(
        points, _depth_std(newer, settings.relative_depth_std)[step], measured, flow_covariance, rho_variance, valid,
        squared_distance, motion, K, grey, older_grey, older_rho, settings,
    )  # fmt: skip
    error = np.where(valid[..., None], measured - predicted, 0.0)
    # Depth and ego-motion only add noise to flow and inverse depth, so this is an upper bound of the distance.
    bound = (error[..., :2] ** 2).sum(-1) / flow_std**2 + error[..., 2] ** 2 / rho_variance
    indices = np.flatnonzero(bound > settings.min_squared_distance)
    covariance = flow.residual_covariance(indices)
    squared_distance.ravel()[indices] = squared_mahalanobis(error.reshape(-1, 3)[indices], covariance)
    squared_distance[squared_distance <= settings.min_squared_distance] = 0.0
    return flow


def predict_measurement(points: np.ndarray, T: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixel position and inverse depth (..., 3) of points (..., 3) transformed by T (4, 4), and the Jacobian
    (..., 3, 3) with respect to the transformed point."""
    X = points @ T[:3, :3].T + T[:3, 3]
    rho = 1 / np.where(X[..., 2] > 1e-3, X[..., 2], np.nan)
    x, y, zero = X[..., 0] * rho, X[..., 1] * rho, np.zeros_like(rho)
    predicted = np.stack([K[0, 0] * x + K[0, 2], K[1, 1] * y + K[1, 2], rho], -1)
    rows = [
        [K[0, 0] * rho, zero, -K[0, 0] * x * rho],
        [zero, K[1, 1] * rho, -K[1, 1] * y * rho],
        [zero, zero, -rho * rho],
    ]
    return predicted, np.stack([np.stack(row, -1) for row in rows], -2)


def squared_mahalanobis(error: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distance (...) of errors (..., N) under covariances (..., N, N)."""
    return (error * np.linalg.solve(covariance, error[..., None])[..., 0]).sum(-1)


def occlusion_mask(older: Depth, newer: Depth, predicted: np.ndarray, motion: Motion) -> np.ndarray:
    """(H, W) bool: pixels occluded in the older image by a static, nearer surface, so that their flow is meaningless.

    predicted: (H, W, 3), measurement of a static point in the older image. The occluder is static if the newer image
    shows it at the depth that the ego-motion predicts.
    """
    K = newer.camera.K
    z = sample_image(older.depth, predicted[..., :2].astype(np.float32), cv2.INTER_NEAREST, np.nan)
    ray = np.concatenate([(predicted[..., :2] - K[:2, 2]) / np.diag(K)[:2], np.ones_like(z)[..., None]], -1)
    occluder = predict_measurement(ray * z[..., None], inverse(motion.T_old_new), K)[0]
    measured = sample_image(newer.depth, occluder[..., :2].astype(np.float32), cv2.INTER_NEAREST, np.nan)
    static = np.abs(measured * occluder[..., 2] - 1) < SAME_DEPTH_TOLERANCE
    return (z * predicted[..., 2] * OCCLUDER_DEPTH_RATIO < 1) & static


def texture_covariance(grey: np.ndarray, intensity_std: float, step: tuple[slice, slice]) -> np.ndarray:
    """(H, W, 3) px^2, xx xy yy of the covariance of a patch's position, at the pixels `step` of a grey image.

    Inverse structure tensor (Foerstner 1987): large across a single edge, large in all directions without texture.
    intensity_std: grey levels.
    """
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (5, 5), 1.0)
    x, y = (cv2.Sobel(smooth, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    products: np.ndarray = np.stack([x * x, x * y, y * y], -1)
    products = cv2.boxFilter(products, -1, (PATCH_SIZE, PATCH_SIZE), normalize=False)[step]
    xx, xy, yy = np.moveaxis(products, -1, 0)
    xx, yy = xx + np.float32(MIN_GRADIENT_ENERGY), yy + np.float32(MIN_GRADIENT_ENERGY)
    return intensity_std**2 * np.stack([yy, -xy, xx], -1) / (xx * yy - xy * xy)[..., None]


def motion_jacobian(rotated: np.ndarray) -> np.ndarray:
    """(..., 3, 6): Jacobian of a transformed point with respect to an error of the motion (translation, rotation).

    rotated: (..., 3) m, the point after rotation, before translation.
    """
    return np.concatenate([np.broadcast_to(np.eye(3), (*rotated.shape, 3)), -skew(rotated)], -1)


def sample_image(values: np.ndarray, pixels: np.ndarray, interpolation: int, outside: float) -> np.ndarray:
    """Values (H, W) or (H, W, C) at pixels (h, w, 2) px; `outside` beyond the image."""
    x, y = np.ascontiguousarray(pixels[..., 0]), np.ascontiguousarray(pixels[..., 1])
    return np.asarray(cv2.remap(values, x, y, interpolation, borderValue=[outside] * 4))


def _project_static(points: np.ndarray, T: np.ndarray, K: np.ndarray) -> np.ndarray:
    """(H, W, 2) float32 px of static points (H, W, 3) in the older image; far outside it if behind the camera."""
    predicted, _ = predict_measurement(points, T, K)
    return np.nan_to_num(predicted[..., :2], nan=-1e4).clip(-1e4, 1e4).astype(np.float32)


def _pixel_grid(height: int, width: int) -> np.ndarray:
    """(H, W, 2) float32 column and row of every pixel."""
    return np.stack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)), -1)


def _optical_flow(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(H, W, 2) px from `image` to `other`, both grey (DIS, Kroeger et al., ECCV 2016)."""
    return cv2.DISOpticalFlow.create(DIS_PRESET).calc(image, other, np.empty(0))


def _fill_invalid_depth(depth: np.ndarray) -> np.ndarray:
    """(H, W) float32 m: invalid pixels get the largest valid depth."""
    valid = np.isfinite(depth) & (depth > 0)
    return np.where(valid, depth, depth[valid].max() if valid.any() else 1.0).astype(np.float32)


def _depth_std(depth: Depth, relative_std: float) -> np.ndarray:
    """(H, W) m."""
    return relative_std * depth.depth if depth.std is None else depth.std


def _inverse_depth(depth: np.ndarray) -> np.ndarray:
    """(H, W) float32 1/m of depth (H, W) m; NaN = invalid."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(depth > 0, 1 / depth, np.nan).astype(np.float32)


def _sample_inverse_depth(
    depth: Depth, rho: np.ndarray, pixels: np.ndarray, settings: SceneFlowSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Inverse depth rho (H, W) and its variance at pixels (h, w, 2), including their position error; NaN = invalid."""
    with np.errstate(invalid="ignore"):
        gradient = np.nan_to_num(np.hypot(*np.gradient(rho)))
        variance = (_depth_std(depth, settings.relative_depth_std) * rho * rho) ** 2
        variance = variance + (settings.flow_std**2 + ROUNDING_VARIANCE) * gradient**2
    sampled = [sample_image(x, pixels, cv2.INTER_NEAREST, np.nan) for x in (rho, variance.astype(np.float32))]
    return sampled[0], sampled[1].astype(float)
