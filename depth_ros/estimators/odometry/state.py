"""State of the odometry estimator: key frames, pose, velocity and covariances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depth_ros.estimators.odometry.key_frames import KeyFrame, PreparedFrame
from depth_ros.estimators.odometry.settings import OdometrySettings
from depth_ros.geometry import inverse, se3_exp, se3_log, skew


@dataclass
class OdometryState:
    """Window of key frames, newest last, and pose of the last frame.

    T: (4, 4) pose of `last`. covariance: (6, 6) of T. relative_covariance: (6, 6), the part of it that accumulated
    since the newest key frame. relative_sensitivity: (6, 2) derivative of the motion since that key frame with respect
    to the systematic errors. last_motion: (4, 4) motion of the last pair of frames, and its duration, ns.
    """

    key_frames: list[KeyFrame]
    last: PreparedFrame
    T: np.ndarray
    covariance: np.ndarray
    relative_covariance: np.ndarray
    relative_sensitivity: np.ndarray
    last_motion: tuple[np.ndarray, int] | None = None

    @staticmethod
    def initial(frame: PreparedFrame, T: np.ndarray, covariance: np.ndarray) -> OdometryState:
        """The state at a first frame, without key frames."""
        return OdometryState([], frame, T, covariance, np.zeros((6, 6)), np.zeros((6, 2)))

    def predict_motion(self, duration: int, R_old_new: np.ndarray | None = None) -> np.ndarray:
        """(4, 4) T_old_new of the `duration` ns after the last frame at constant velocity.

        R_old_new: (3, 3) rotation measured by an IMU; replaces the predicted one.
        """
        T = np.eye(4)
        if self.last_motion is not None:
            last, last_duration = self.last_motion
            T = se3_exp(duration / max(last_duration, 1) * se3_log(last))
        if R_old_new is not None:
            T[:3, :3] = R_old_new
        return T

    def final_velocity(self, T_last_new: np.ndarray, duration: int) -> np.ndarray:
        """(3, 4) velocity of points, see `ray_velocity`, after a motion of `duration` ns at constant acceleration."""
        mean = _mean_velocity(T_last_new, duration)
        return mean if self.last_motion is None else mean + (mean - _mean_velocity(*self.last_motion)) / 2

    def add_key_frame(self, settings: OdometrySettings) -> None:
        """Make the last frame a key frame; the oldest one leaves a full window."""
        key_frame = KeyFrame(self.last, settings.num_patches, self.T, self.covariance)
        self.key_frames = [*self.key_frames, key_frame][-settings.window_size :]
        self.relative_covariance, self.relative_sensitivity = np.zeros((6, 6)), np.zeros((6, 2))

    def advance(self, frame: PreparedFrame, T: np.ndarray) -> np.ndarray:
        """Make `frame`, at pose T (4, 4), the last frame and update velocities; returns T_last_new (4, 4)."""
        T_last_new, duration = inverse(self.T) @ T, frame.stamp - self.last.stamp
        mean, previous = _mean_velocity(T_last_new, duration), self.last_motion
        self.last.velocity = mean if previous is None else (mean + _mean_velocity(*previous)) / 2
        frame.velocity = self.final_velocity(T_last_new, duration)
        self.last_motion = (T_last_new, duration)
        self.T, self.last = T, frame
        return T_last_new


def _mean_velocity(T_old_new: np.ndarray, duration: int) -> np.ndarray:
    """(3, 4) mean velocity of points, see `ray_velocity`, during a camera motion (4, 4) of `duration` ns."""
    twist = se3_log(inverse(T_old_new)) / (max(duration, 1) * 1e-9)
    return np.column_stack([skew(twist[3:]), twist[:3]])


def rotation_jacobian(T: np.ndarray) -> np.ndarray:
    """(6, 6) Jacobian that rotates translation and rotation errors by the rotation of T (4, 4)."""
    J = np.zeros((6, 6))
    J[:3, :3] = J[3:, 3:] = T[:3, :3]
    return J


def rotate_covariance(covariance: np.ndarray, T: np.ndarray) -> np.ndarray:
    """(6, 6) covariance of translation and rotation errors, rotated by the rotation of T (4, 4)."""
    J = rotation_jacobian(T)
    return J @ covariance @ J.T
