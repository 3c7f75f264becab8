"""Odometry from depth images: points of a key frame are found again in every new frame, and move the camera.

A key frame holds corners with their inverse depths. In a new frame they are tracked by Lucas and Kanade's method
from where constant velocity, or an IMU's rotation, expects them; where that fails, by matched descriptors. The
motion follows from pixels and inverse depths together (`pose_solver`). Corners rather than all pixels: on recorded
clips as accurate, and fast on two cores of a CPU; OpenCV's tracker has no equal in tensor code there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import cv2
import numpy as np

from depth_ros.config import setting
from depth_ros.datatypes import Depth, Motion, Odometry, Pose
from depth_ros.estimators.features import corners, motion_by_descriptors, track
from depth_ros.estimators.pose_solver import Points, Solution, exp, older_newer, solve
from depth_ros.geometry import inverse, orthonormal

POLICIES = ("stop", "extrapolate", "null")


@dataclass(frozen=True)
class OdometrySettings:
    """How the camera's way is found."""

    corners: int = setting(800, "points of a key frame", "", 50, 5000)
    pixel_std: float = setting(0.5, "standard deviation of a tracked corner", "px", 0.05, 5.0)
    inverse_depth_std: float = setting(
        0.003, "standard deviation of 1 / depth where the depth does not say its own", "1/m", 1e-5, 1.0
    )
    min_inliers: int = setting(30, "points that must agree with a motion", "", 6, 1000)
    key_frame_share: float = setting(
        0.6, "a new key frame is made where fewer of the old one's points are left", "", 0.1, 1.0
    )
    when_lost: str = setting(
        "stop",
        "what the pose is while lost: that of the last frame; as constant velocity has it, for a bounded time; NaN",
        choices=POLICIES,
    )
    extrapolate_for: float = setting(0.5, "how long constant velocity is believed", "s", 0.0, 10.0)


@dataclass(frozen=True)
class KeyFrame:
    """grey: (H, W) uint8. pixels: (N, 2) float32. inverse_depth, variance: (N,). T: to the odometry frame."""

    grey: np.ndarray
    pixels: np.ndarray
    inverse_depth: np.ndarray
    variance: np.ndarray
    T: np.ndarray
    covariance: np.ndarray
    depths: np.ndarray
    usable: np.ndarray


class OdometryEstimator:
    """Depth -> Odometry, frame by frame. Frames of another camera than the last one's start anew where it stands."""

    def __init__(self, settings: OdometrySettings = OdometrySettings()) -> None:
        self.settings = settings
        self.reset()

    def reset(self, T: np.ndarray | None = None) -> None:
        """Forget everything seen. The next frame is a first one, and at T (4, 4), or the origin."""
        self._T = np.eye(4) if T is None else np.asarray(T, float)
        self._covariance = np.zeros((6, 6))
        self._key: KeyFrame | None = None
        self._velocity: tuple[np.ndarray, int] | None = None  # motion of the last pair, and its ns
        self._stamp = self._seen = 0
        self._last: np.ndarray | None = None

    def estimate(
        self, depth: Depth, rotation: np.ndarray | None = None, moving: np.ndarray | None = None
    ) -> Odometry:
        """Where the camera is now.

        rotation: (3, 3) from this camera to that of the frame before, by an IMU, to start from.
        moving: (H, W) bool, pixels to leave out.
        """
        begun = time.perf_counter()
        grey = cv2.cvtColor(depth.image, cv2.COLOR_RGB2GRAY)
        inverse_depth, variance = self._inverse_depth(depth)
        milliseconds = {"prepare": _since(begun)}
        if self._key is None or self._key.grey.shape != grey.shape or depth.stamp <= self._stamp:
            self._make_key(grey, inverse_depth, variance, moving)
            self._velocity, self._stamp = None, depth.stamp
            return self._result(depth.stamp, "starting", None, 0.0, milliseconds)
        begun = time.perf_counter()
        K, key = depth.camera.K, self._key
        T_key_guess = inverse(key.T) @ self._T @ self._expected(depth.stamp, rotation)
        found = self._align(key, grey, inverse_depth, variance, moving, K, inverse(T_key_guess))
        if found is None:
            matched = motion_by_descriptors(key.grey, grey, key.depths, key.usable, K)
            if matched is not None:
                found = self._align(key, grey, inverse_depth, variance, moving, K, matched)
        milliseconds["align"] = _since(begun)
        if found is None:
            return self._lost(depth, grey, inverse_depth, variance, moving, milliseconds)
        solution, kept, share = found
        T_key_new, covariance = older_newer(solution)
        T = orthonormal(key.T @ T_key_new)
        motion = Motion(self._stamp, depth.stamp, inverse(self._T) @ T, covariance)
        self._velocity = (motion.T_old_new, depth.stamp - self._stamp)
        self._T, self._stamp = T, depth.stamp
        self._covariance = key.covariance + _turned(covariance, key.T)
        if kept < self.settings.key_frame_share * len(key.pixels):
            begun = time.perf_counter()
            self._make_key(grey, inverse_depth, variance, moving)
            milliseconds["key frame"] = _since(begun)
        return self._result(depth.stamp, "tracking", motion, share, milliseconds)

    def _inverse_depth(self, depth: Depth) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) 1/m, NaN = unknown, and its variance."""
        with np.errstate(divide="ignore", invalid="ignore"):
            rho = np.where(depth.depth > 0, 1 / depth.depth, np.nan).astype(np.float32)
            if depth.std is None:
                return rho, np.full_like(rho, self.settings.inverse_depth_std**2)
            return rho, (depth.std * rho * rho) ** 2

    def _expected(self, stamp: int, rotation: np.ndarray | None) -> np.ndarray:
        """(4, 4) motion since the last frame, by constant velocity, and by the rotation if one is given."""
        T = np.eye(4)
        if self._velocity is not None:
            T = _part(*self._velocity, stamp - self._stamp)
        if rotation is not None:
            T[:3, :3] = rotation
        return T

    def _make_key(
        self, grey: np.ndarray, inverse_depth: np.ndarray, variance: np.ndarray, moving: np.ndarray | None
    ) -> None:
        usable = np.isfinite(inverse_depth)
        if moving is not None:
            usable &= ~moving
        pixels = corners(grey, usable, self.settings.corners)
        columns, rows = pixels.astype(int).T
        self._key = KeyFrame(
            grey, pixels, inverse_depth[rows, columns], variance[rows, columns], self._T, self._covariance,
            inverse_depth, usable,
        )  # fmt: skip

    def _align(
        self,
        key: KeyFrame,
        grey: np.ndarray,
        inverse_depth: np.ndarray,
        variance: np.ndarray,
        moving: np.ndarray | None,
        K: np.ndarray,
        guess: np.ndarray,
    ) -> tuple[Solution, int, float] | None:
        """The motion since the key frame, how many points agree, and their share of those tracked."""
        if len(key.pixels) < self.settings.min_inliers:
            return None
        rays = np.column_stack([key.pixels, np.ones(len(key.pixels))]) @ np.linalg.inv(K).T
        ahead = (rays @ guess[:3, :3].T + key.inverse_depth[:, None] * guess[:3, 3]) @ K.T
        start = ahead[:, :2] / np.maximum(ahead[:, 2:], 1e-3)
        pixels, tracked = track(key.grey, grey, key.pixels, start)
        columns, rows = np.round(pixels).astype(int).T
        columns, rows = np.where(tracked, columns, 0), np.where(tracked, rows, 0)
        if moving is not None:
            tracked &= ~moving[rows, columns]
        if tracked.sum() < self.settings.min_inliers:
            return None
        points = Points(
            key.pixels[tracked], key.inverse_depth[tracked], key.variance[tracked], pixels[tracked],
            inverse_depth[rows, columns][tracked], variance[rows, columns][tracked],
        )  # fmt: skip
        solution = solve(points, K, guess, self.settings.pixel_std)
        agree = int((solution.distance2 < 16).sum())
        if agree < max(self.settings.min_inliers, 0.3 * len(points)):
            return None
        return solution, agree, agree / len(points)

    def _lost(
        self,
        depth: Depth,
        grey: np.ndarray,
        inverse_depth: np.ndarray,
        variance: np.ndarray,
        moving: np.ndarray | None,
        milliseconds: dict[str, float],
    ) -> Odometry:
        """No motion agrees: begin again from here, at the pose that the policy says."""
        gap = depth.stamp - self._stamp
        if self.settings.when_lost == "extrapolate" and gap <= 1e9 * self.settings.extrapolate_for:
            self._T = self._T @ self._expected(depth.stamp, None)
        self._covariance = self._covariance + np.diag([(gap * 1e-9) ** 2] * 6)
        self._stamp = depth.stamp
        self._make_key(grey, inverse_depth, variance, moving)
        return self._result(depth.stamp, "lost", None, 0.0, milliseconds)

    def _result(
        self, stamp: int, state: str, motion: Motion | None, share: float, milliseconds: dict[str, float]
    ) -> Odometry:
        hidden = state == "lost" and self.settings.when_lost == "null"
        T = np.full((4, 4), np.nan) if hidden else self._T.copy()
        return Odometry(stamp, state, Pose(stamp, T, self._covariance.copy()), motion, share, milliseconds)


def _part(T: np.ndarray, whole: int, part: int) -> np.ndarray:
    """The motion T (4, 4) of `whole` ns over `part` ns."""
    share = part / max(whole, 1)
    return exp(share * np.concatenate([T[:3, 3], cv2.Rodrigues(T[:3, :3])[0][:, 0]]))


def _turned(covariance: np.ndarray, T: np.ndarray) -> np.ndarray:
    """(6, 6) of translation and rotation errors, seen from a frame in which T (4, 4) is the pose of theirs."""
    R = np.zeros((6, 6))
    R[:3, :3] = R[3:, 3:] = T[:3, :3]
    return R @ covariance @ R.T


def _since(begun: float) -> float:
    return 1000 * (time.perf_counter() - begun)
