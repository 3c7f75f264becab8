"""Temporal fusion: depth of successive images of a moving camera, which flickers less than that of each image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from depth_ros.config import setting
from depth_ros.datatypes import Camera, Depth
from depth_ros.geometry import inverse, rays

RELATIVE_STD = 0.1
"""Standard deviation, as a fraction of the depth, of models that give none."""
MIN_VALID = 0.1
"""Fraction of the image that the previous depth has to cover; with less the fusion starts anew."""
RESIDUAL_WINDOW = 9
"""px; residuals are averaged over so many pixels: noise averages out, the residual of an object that moves does not."""
TO_SIGMA = 1.4826
"""Standard deviation of a Gaussian, from the median of its absolute values."""


@dataclass(frozen=True)
class FusionSettings:
    """Temporal fusion of depth."""

    scale_gain: float = setting(
        0.3, "Fraction of the change of scale from one image to the next that is followed.", "", 0.01, 1.0
    )
    process_noise: float = setting(
        0.05,
        "Standard deviation that the fused depth gains with each image, as a fraction of it.",
        "",
        0.001,
        1.0,
    )
    residual_gate: float = setting(
        2.0, "Residuals from which the new depth replaces the fused one, in standard deviations of the residuals.",
        "", 0.5, 10.0,
    )  # fmt: skip


@dataclass(frozen=True)
class _State:
    """Fused depth (H, W) m and variance (H, W) of its logarithm."""

    depth: Depth
    variance: np.ndarray


class TemporalFusion:
    """Depth of each image, fused with that of the images before it.

    The scale of the new depth and the fused one are brought together by the median of their log ratio. Then the
    logarithms of both are averaged, weighted by their inverse variances, where they agree within the residuals of the
    image. Elsewhere, on moving objects and what was hidden before, the new depth is taken as it is.
    """

    def __init__(self, settings: FusionSettings = FusionSettings()) -> None:
        self._settings = settings
        self._state: _State | None = None

    def reset(self) -> None:
        """Forget earlier images."""
        self._state = None

    def fuse(self, depth: Depth, T_old_new: np.ndarray | None) -> Depth:
        """Fused depth at the stamp and in the camera of `depth`.

        T_old_new: (4, 4), pose of the camera in that of the image before, m; None if unknown: the fusion starts anew.
        """
        measured = log_variance(depth)
        state, self._state = self._state, _State(depth, measured)
        if state is None or T_old_new is None:
            return depth
        predicted, variance = warped(state.depth.depth, state.variance, state.depth.camera, depth, T_old_new)
        with np.errstate(divide="ignore", invalid="ignore"):
            residual = np.log(depth.depth / predicted)
        valid = np.isfinite(residual)
        if valid.mean() < MIN_VALID:
            return depth
        scale = np.float32(np.median(residual[valid]))
        correction = (
            np.float32(1 - self._settings.scale_gain) * scale
        )  # of the new depth; the rest of the old one
        residual -= scale
        variance += np.float32(self._settings.process_noise**2)
        gain = variance / (variance + measured)
        gain = np.maximum(gain, self._disagreement(residual, valid))
        fused_residual = np.where(valid, (gain - 1) * residual, np.float32(0)) - correction
        fused = depth.depth * np.exp(fused_residual)
        fused_variance = np.where(valid, gain * measured, measured)
        std = None if depth.std is None else fused * np.sqrt(fused_variance)
        result = replace(depth, depth=fused, std=std)
        self._state = _State(result, fused_variance)
        return result

    def _disagreement(self, residual: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """(H, W) 0 to 1, how much the fused depth is out of date: 1 beyond the gate, 0 at half of it."""
        sigma = TO_SIGMA * np.median(np.abs(residual[valid]))
        smooth = cv2.blur(np.where(valid, residual, np.float32(0)), (RESIDUAL_WINDOW, RESIDUAL_WINDOW))
        ratio = np.abs(smooth) / np.float32(max(self._settings.residual_gate * sigma, 1e-6))
        return np.clip(2 * ratio - 1, 0, 1)


def log_variance(depth: Depth) -> np.ndarray:
    """(H, W) variance of the logarithm of the depth."""
    if depth.std is None:
        return np.full(depth.depth.shape, RELATIVE_STD**2, np.float32)
    return (depth.std / depth.depth) ** 2


def warped(
    old: np.ndarray, values: np.ndarray, old_camera: Camera, depth: Depth, T_old_new: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) m of an older image, and further values of it, at the pixels of a newer one; NaN where unknown.

    The depth of the newer image relates the pixels. The depth found is that of the old point in the newer camera.
    """
    R, t = T_old_new[:3, :3].astype(np.float32), T_old_new[:3, 3].astype(np.float32)
    z = depth.depth
    directions = rays(depth.camera)
    x_old, y_old, z_old = (z * (directions @ R[axis]) + t[axis] for axis in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse_z = np.where(z_old > 0, 1 / z_old, np.float32(np.nan))
    u = np.float32(old_camera.fx) * x_old * inverse_z + np.float32(old_camera.cx)
    v = np.float32(old_camera.fy) * y_old * inverse_z + np.float32(old_camera.cy)
    found, other = (
        cv2.remap(each, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=float("nan"))
        for each in (old, values)
    )
    t_z = np.float32(inverse(T_old_new)[2, 3])
    predicted = found * inverse_z * (z - t_z) + t_z
    return np.where(predicted > 0, predicted, np.float32(np.nan)), other
