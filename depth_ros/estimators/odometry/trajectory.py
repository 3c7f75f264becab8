"""What odometry knows of the way so far: key frames, pose, velocity, and covariances of what led there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depth_ros.estimators.odometry.key_frames import KeyFrame, View
from depth_ros.estimators.odometry.settings import OdometrySettings
from depth_ros.geometry import cross, exponential, inverse, logarithm


@dataclass
class Track:
    """What is known of the way. keys: of the window, newest last. last: the frame before, and T (4, 4) its pose.

    covariance: (6, 6) of that pose; relative: the part of it that came since its key frame; follows: (6, 2) how the
    pose since then follows the errors of the camera. velocity: motion of the last pair, and its ns.
    """

    keys: list[KeyFrame]
    last: View
    T: np.ndarray
    covariance: np.ndarray
    relative: np.ndarray
    follows: np.ndarray
    velocity: tuple[np.ndarray, int] | None = None

    @staticmethod
    def begun(view: View, T: np.ndarray, covariance: np.ndarray) -> Track:
        """A new one, of a single frame."""
        return Track([], view, T, covariance, np.zeros((6, 6)), np.zeros((6, 2)))

    def expected(self, gap: int, rotation: np.ndarray | None = None) -> np.ndarray:
        """(4, 4) motion in `gap` ns since the last frame, by constant velocity, and by the rotation if one is given."""
        T = np.eye(4) if self.velocity is None else _part(*self.velocity, gap)
        if rotation is not None:
            T[:3, :3] = rotation
        return T

    def end_velocity(self, T_last_new: np.ndarray, gap: int) -> np.ndarray:
        """(3, 4) velocity of points, see `flow`, at the end of a motion of `gap` ns, if the acceleration lasts."""
        mean = _velocity(T_last_new, gap)
        return mean if self.velocity is None else mean + (mean - _velocity(*self.velocity)) / 2

    def make_key(self, settings: OdometrySettings) -> None:
        """The last frame becomes a key frame; the oldest of the window makes place."""
        key = KeyFrame(self.last, settings.points, self.T, self.covariance)
        self.keys = [*self.keys, key][-settings.window :]
        self.relative, self.follows = np.zeros((6, 6)), np.zeros((6, 2))

    def move(self, view: View, T: np.ndarray) -> np.ndarray:
        """The last frame is now `view`, at T (4, 4), and velocities follow; returns T_last_new (4, 4)."""
        T_last_new, gap = inverse(self.T) @ T, view.stamp - self.last.stamp
        mean, before = _velocity(T_last_new, gap), self.velocity
        self.last.velocity = mean if before is None else (mean + _velocity(*before)) / 2
        view.velocity = self.end_velocity(T_last_new, gap)
        self.velocity = (T_last_new, gap)
        self.T, self.last = T, view
        return T_last_new


def _part(T: np.ndarray, whole: int, part: int) -> np.ndarray:
    """The motion T (4, 4) of `whole` ns over `part` ns."""
    return exponential(part / max(whole, 1) * logarithm(T))


def _velocity(T_old_new: np.ndarray, gap: int) -> np.ndarray:
    """(3, 4) mean velocity of points, see `flow`, in a motion (4, 4) of `gap` ns of the camera."""
    twist = logarithm(inverse(T_old_new)) / (max(gap, 1) * 1e-9)
    return np.column_stack([cross(twist[3:]), twist[:3]])


def axes(T: np.ndarray) -> np.ndarray:
    """(6, 6) that turns translation and rotation errors into the axes of a frame in which T (4, 4) is their pose."""
    R = np.zeros((6, 6))
    R[:3, :3] = R[3:, 3:] = T[:3, :3]
    return R


def turned(covariance: np.ndarray, T: np.ndarray) -> np.ndarray:
    """(6, 6) of such errors in such axes."""
    return axes(T) @ covariance @ axes(T).T
