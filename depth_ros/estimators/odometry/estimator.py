"""Odometry from depth images by alignment of key-frame patches.

A new frame is aligned coarse to fine, starting at the motion predicted by constant velocity or by the rotation of an
IMU, or else by matched descriptors. On each pyramid level the patches of the key frame are warped by their inverse
depths and the current motion and matched in the new image, which gives their shifts with covariances (`patches`). One
robust motion then explains all shifts and, on the finest level, the inverse depths of the new frame (`pose_solver`).
This is direct alignment in which patches that disagree, because they move or are occluded, have little weight. A few
hundred patches are not worth the transfer to a GPU: this is numpy and OpenCV on the CPU.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from depth_ros.datatypes import Depth, Motion, Odometry, Pose
from depth_ros.estimators.odometry.features import motion_from_descriptors
from depth_ros.estimators.odometry.frame_alignment import Alignment, ErrorModel, align
from depth_ros.estimators.odometry.key_frames import PreparedFrame
from depth_ros.estimators.odometry.pose_solver import invert_solution
from depth_ros.estimators.odometry.settings import OdometrySettings
from depth_ros.estimators.odometry.state import OdometryState, rotate_covariance, rotation_jacobian
from depth_ros.estimators.odometry.systematic_errors import Gaussian, SystematicErrors
from depth_ros.geometry import inverse, orthonormal

LOST_VELOCITY_STD = 1.0
"""Standard deviation of the velocity while lost, m/s and rad/s."""
CONFIDENT_INLIER_RATIO = 0.6
"""Inlier ratio from which on no further prediction of the motion is tried."""
BIAS_DEADBAND_RATIO = 0.05
"""Bias that is not corrected, as a fraction of its prior standard deviation: every pair has errors of this size, which
are not constant over the image."""
BIAS_DRIFT_RATIO = 0.02
"""Standard deviation of the change of the bias per frame, as a fraction of its prior standard deviation."""
READOUT_DRIFT_RATIO = 0.02
"""Standard deviation of the change of the readout time per frame, as a fraction of its prior standard deviation."""
MIN_READOUT_STD = 0.01
"""Minimum standard deviation of the readout time measured in one frame, s: velocities come from neighbouring frames."""
COVARIANCE_FACTOR = 1.45
"""Factor on the covariance beside the inflation for errors correlated by image cell: some are correlated over the
whole image. Fitted on rendered and recorded clips."""
INFLATION_FRAMES = 10
"""Number of frames over which the inflation of the covariance is averaged."""


class OdometryEstimator:
    """Depth -> Odometry, frame by frame. A frame of another size or an older stamp restarts at the last pose.

    A frame that cannot be aligned is lost. Subsequent frames are aligned with the key frames before the loss, for
    `relocalization_timeout`, which preserves the whole trajectory, and otherwise with the frames since. The first
    success ends the loss; `stamp_old` of its motion tells which of the two it was.
    """

    def __init__(self, settings: OdometrySettings | None = None) -> None:
        self.settings = settings or OdometrySettings()
        self.reset()

    def reset(self, T: np.ndarray | None = None) -> None:
        """Forget all frames. The next frame is a first one, with pose T (4, 4), the identity if None."""
        self._initial_T = np.eye(4) if T is None else np.asarray(T, float)
        self._state: OdometryState | None = None
        self._state_before_loss: OdometryState | None = None
        self._errors: SystematicErrors | None = None
        self._bias_std = 0.0  # prior, 1/m
        self._inflation: float | None = None

    @property
    def readout_time(self) -> Gaussian:
        """Estimate of the readout time of a rolling shutter, s."""
        if self._errors:
            return self._errors.readout_time
        return Gaussian(self.settings.readout_time, self.settings.readout_time_std**2)

    def estimate(
        self, depth: Depth, R_old_new: np.ndarray | None = None, moving_mask: np.ndarray | None = None
    ) -> Odometry:
        """Pose of the camera and motion since the previous frame.

        R_old_new: (3, 3) rotation since the previous frame, measured by an IMU; the starting point of the alignment.
        moving_mask: (H, W) bool, pixels to ignore.
        """
        timer = _Timer()
        frame = PreparedFrame(depth, moving_mask, self.settings.inverse_depth_std)
        self._initialise_errors(depth)
        timer.stop("prepare")
        state = self._state
        if state is None or state.last.grey.shape != frame.grey.shape or frame.stamp <= state.last.stamp:
            return self._start(frame, timer)
        aligned = None
        before = self._state_before_loss
        if before and frame.stamp - before.last.stamp <= 1e9 * self.settings.relocalization_timeout:
            aligned = self._align(before, frame, None)
            state = before if aligned else state
        aligned = aligned or self._align(state, frame, R_old_new)
        timer.stop("align")
        if aligned is None:
            return self._lose(state, frame, timer)
        motion = self._advance(state, frame, aligned)
        self._state, self._state_before_loss = state, None
        if aligned.inliers < self.settings.key_frame_inlier_ratio * len(aligned.key_frame.pixels):
            timer.start()
            state.add_key_frame(self.settings)
            timer.stop("key frame")
        return self._result("tracking", motion, aligned.inlier_ratio, timer)

    def _initialise_errors(self, depth: Depth) -> None:
        """Compute the prior of the bias, which depends on the baseline, and of all systematic errors if unset."""
        settings = self.settings
        self._bias_std = (
            settings.disparity_bias_std / (depth.camera.fx * depth.baseline) if depth.baseline else 0.0
        )
        self._errors = self._errors or SystematicErrors(Gaussian(0.0, self._bias_std**2), self.readout_time)

    def _start(self, frame: PreparedFrame, timer: _Timer) -> Odometry:
        """Start, or restart at the last pose."""
        state = self._state
        T, covariance = (state.T, state.covariance) if state else (self._initial_T, np.zeros((6, 6)))
        self._state, self._state_before_loss = OdometryState.initial(frame, T, covariance), None
        self._state.add_key_frame(self.settings)
        return self._result("starting", None, 0.0, timer)

    def _advance(self, state: OdometryState, frame: PreparedFrame, aligned: Alignment) -> Motion:
        """Advance the state to an aligned frame and return the motion since its last frame."""
        assert self._errors
        key_frame = aligned.key_frame
        T_key_new, covariance, sensitivity = invert_solution(aligned.solution)
        measured = aligned.solution.inflation
        inflation = measured if self._inflation is None else self._inflation
        self._inflation = inflation + (measured - inflation) / INFLATION_FRAMES
        relative = rotate_covariance(COVARIANCE_FACTOR * self._inflation * covariance, key_frame.T)
        sensitivity = rotation_jacobian(key_frame.T) @ sensitivity
        change = sensitivity - state.relative_sensitivity  # errors common to both ends of the motion cancel
        summed = relative + state.relative_covariance + self._systematic_covariance(change)
        motion_covariance = rotate_covariance(summed, inverse(state.T))
        stamp_old = state.last.stamp
        T_last_new = state.advance(frame, orthonormal(key_frame.T @ T_key_new))
        noise = self._camera_noise(T_last_new)
        state.relative_covariance, state.relative_sensitivity = relative, sensitivity
        state.covariance = key_frame.covariance + relative + self._systematic_covariance(sensitivity) + noise
        bias = self._errors.bias.fused(aligned.errors.bias, 0.0)
        readout_time = self._errors.readout_time.fused(aligned.errors.readout_time, MIN_READOUT_STD)
        self._errors = SystematicErrors(
            _with_drift(bias, BIAS_DRIFT_RATIO * self._bias_std),
            _with_drift(readout_time, READOUT_DRIFT_RATIO * self.settings.readout_time_std),
        )
        return Motion(stamp_old, frame.stamp, T_last_new, motion_covariance + noise)

    def _systematic_covariance(self, sensitivity: np.ndarray) -> np.ndarray:
        """(6, 6) covariance due to the uncertain systematic errors. sensitivity: (6, 2) to these."""
        assert self._errors
        variances = [self._errors.bias.variance, self._errors.readout_time.variance]
        return sensitivity * variances @ sensitivity.T

    def _camera_noise(self, T_last_new: np.ndarray) -> np.ndarray:
        """(6, 6) covariance that `translation_noise` and the like add to a motion."""
        s = self.settings
        distance = float(np.linalg.norm(T_last_new[:3, 3]))
        angle = float(np.linalg.norm(cv2.Rodrigues(T_last_new[:3, :3])[0]))
        translation = s.translation_noise**2 + (s.relative_translation_noise * distance) ** 2
        rotation = s.rotation_noise**2 + (s.relative_rotation_noise * angle) ** 2
        return np.diag([translation] * 3 + [rotation] * 3)

    def _align(
        self, state: OdometryState, frame: PreparedFrame, R_old_new: np.ndarray | None
    ) -> Alignment | None:
        """Align a frame with the key frames; if that fails make the last frame a key frame; then try descriptors."""
        predicted = inverse(state.predict_motion(frame.stamp - state.last.stamp, R_old_new))
        best: Alignment | None = None
        for attempt in ("key frames", "last frame", "descriptors"):
            key_frame = state.key_frames[-1]
            if attempt == "last frame":
                if key_frame.frame is state.last:
                    continue
                state.add_key_frame(self.settings)
                key_frame = state.key_frames[-1]
            T: np.ndarray | None = predicted @ inverse(state.T) @ key_frame.T
            if attempt == "descriptors":
                old = key_frame.frame
                T = motion_from_descriptors(old.grey, frame.grey, old.inverse_depth, frame.K[0])
            aligned = None
            if T is not None:
                model = self._error_model(state, frame)
                aligned = align(state.key_frames, frame, T, self.settings, model)
            if aligned and (best is None or aligned.inlier_ratio > best.inlier_ratio):
                best = aligned
            if best and best.inlier_ratio > CONFIDENT_INLIER_RATIO:
                break
        if best is None or best.inlier_ratio < self.settings.min_inlier_ratio:
            return None
        return best if best.inliers >= self.settings.min_inliers else None

    def _error_model(self, state: OdometryState, frame: PreparedFrame) -> ErrorModel:
        assert self._errors
        T_last_key, duration = inverse(state.T) @ state.key_frames[-1].T, frame.stamp - state.last.stamp

        def velocity(T_new_key: np.ndarray) -> np.ndarray:
            return state.final_velocity(T_last_key @ inverse(T_new_key), duration)

        return ErrorModel(self._errors, BIAS_DEADBAND_RATIO * self._bias_std, velocity)

    def _lose(self, state: OdometryState, frame: PreparedFrame, timer: _Timer) -> Odometry:
        """Restart at the pose given by the policy `when_lost`, and keep the state before the loss."""
        before = self._state_before_loss = self._state_before_loss or state
        duration = frame.stamp - before.last.stamp
        T = before.T
        if self.settings.when_lost == "extrapolate":
            longest = round(1e9 * self.settings.extrapolation_timeout)
            T = T @ before.predict_motion(min(duration, longest))
        covariance = before.covariance + (LOST_VELOCITY_STD * duration * 1e-9) ** 2 * np.eye(6)
        self._state = OdometryState.initial(frame, T, covariance)
        self._state.add_key_frame(self.settings)
        return self._result("lost", None, 0.0, timer)

    def _result(self, state: str, motion: Motion | None, inlier_ratio: float, timer: _Timer) -> Odometry:
        assert self._state
        stamp, T = self._state.last.stamp, self._state.T.copy()
        if state == "lost" and self.settings.when_lost == "null":
            T = np.full((4, 4), np.nan)
        pose = Pose(stamp, T, self._state.covariance.copy())
        return Odometry(stamp, state, pose, motion, inlier_ratio, timer.milliseconds)


@dataclass
class _Timer:
    """Durations of named stages, ms; each lasts from the previous one's end, or from `start`, to `stop`."""

    milliseconds: dict[str, float] = field(default_factory=dict)
    _begin: float = field(default_factory=time.perf_counter)

    def start(self) -> None:
        self._begin = time.perf_counter()

    def stop(self, stage: str) -> None:
        self.milliseconds[stage] = 1000 * (time.perf_counter() - self._begin)
        self.start()


def _with_drift(value: Gaussian, std: float) -> Gaussian:
    return replace(value, variance=value.variance + std**2) if value.variance > 0 else value
