"""Pose integration of the base frame: camera odometry to pose, twist and covariances in REP-103 and REP-105 frames.

Every covariance is of x y z and rotation about x y z. Errors add to the position and rotate about the fixed axes of
the parent frame, at the origin of the frame that the pose describes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from depth_ros.datatypes import Odometry
from depth_ros.geometry import inverse, orthonormal, se3_exp, se3_log, skew

UNKNOWN_VARIANCE = 9999.0
"""Variance, m^2 or rad^2, that marks an unknown value, as in rtabmap_ros."""
ACCELERATION_STD = 1.0
"""Standard deviation, m/s^2 and rad/s^2, of the base's acceleration while its velocity is extrapolated."""
PLANAR_VARIANCE = 1e-6
"""Variance, m^2 or rad^2, of z, roll and pitch in 2-D mode; zero would make the covariance matrix singular."""


@dataclass(frozen=True)
class BaseState:
    """Pose and twist of the base frame at one time.

    T: (4, 4) T_odom_base. covariance: (6, 6) of T, in the odom frame. twist: (6,) m/s and rad/s in the base frame.
    twist_covariance: (6, 6). state: as in `datatypes.Odometry`.
    """

    stamp: int
    state: str = "starting"
    T: np.ndarray = field(default_factory=lambda: np.eye(4))
    covariance: np.ndarray = field(default_factory=lambda: UNKNOWN_VARIANCE * np.eye(6))
    twist: np.ndarray = field(default_factory=lambda: np.zeros(6))
    twist_covariance: np.ndarray = field(default_factory=lambda: UNKNOWN_VARIANCE * np.eye(6))


class BaseFramePose:
    """Integrates the odometry of one camera to the pose of a base frame.

    The pose is continuous over restarts of the estimator; the first state after a restart has UNKNOWN_VARIANCE.
    initial: (4, 4) first T_odom_base, the identity if None. two_d_mode: estimate x, y and yaw only.
    max_extrapolation: s for which the last velocity is extrapolated while odometry is lost.

    With a fixed identity for T_base_optical the result is the camera's own trajectory, as the node publishes it.
    """

    def __init__(
        self, initial: np.ndarray | None = None, two_d_mode: bool = False, max_extrapolation: float = 0.0
    ) -> None:
        self._initial = np.eye(4) if initial is None else initial
        self._two_d_mode, self._max_extrapolation = two_d_mode, max_extrapolation
        self.reset()

    def reset(self) -> None:
        """Return to the initial pose. The estimator has to be reset, too."""
        self.set_pose(self._initial)

    def set_pose(self, T: np.ndarray, covariance: np.ndarray | None = None) -> None:
        """Set T_odom_base (4, 4) and its covariance (6, 6), zero if None. The estimator has to be reset, too."""
        self._anchor = project_to_plane(T) if self._two_d_mode else T
        self._anchor_covariance = np.zeros((6, 6)) if covariance is None else covariance
        self._last: tuple[np.ndarray, np.ndarray] | None = None  # the estimator's pose, T_base_optical
        self._state = BaseState(0, T=self._anchor, covariance=self._anchor_covariance)

    def restart(self) -> None:
        """Continue from the current pose after a reset of the estimator."""
        self.set_pose(self._state.T, self._state.covariance)

    def rewind(self) -> None:
        """Return to the pose at the last start of the estimator, after a reset of the estimator."""
        self.set_pose(self._anchor, self._anchor_covariance)

    def is_valid(self, stamp: int) -> bool:
        """Whether the pose at `stamp`, ns, is tracked, or extrapolated for at most `max_extrapolation` s."""
        return self._seconds_since_tracked(stamp) <= self._max_extrapolation

    def update(self, odometry: Odometry, T_base_optical: np.ndarray) -> BaseState:
        """Integrate one frame. T_base_optical: (4, 4) pose of the camera in the base frame at the frame's stamp."""
        if odometry.state == "lost":
            return self._extrapolate(odometry.stamp)
        if odometry.state == "starting" and self._last:  # the estimator's poses start at its origin again
            last = self._extrapolate(odometry.stamp)
            self.set_pose(last.T, last.covariance)
        if self._last is None:
            self._first_T_base_optical = T_base_optical
        pose, T_base_last = self._last or (odometry.pose.T, T_base_optical)
        self._last = (odometry.pose.T, T_base_optical)
        step = self._base_motion(T_base_last, inverse(pose) @ odometry.pose.T, T_base_optical)
        T = orthonormal(self._state.T @ step)
        covariance = self._pose_covariance(T, odometry, T_base_optical)
        state = BaseState(odometry.stamp, odometry.state, T, covariance)
        motion = odometry.motion
        if motion is None:
            self._state = state
            return replace(state, covariance=UNKNOWN_VARIANCE * np.eye(6))
        seconds = 1e-9 * (motion.stamp_new - motion.stamp_old)
        twist = se3_log(self._base_motion(T_base_last, motion.T_old_new, T_base_optical)) / seconds
        J = lever_arm_jacobian(T_base_last[:3, :3], motion.T_old_new[:3, :3], T_base_optical) / seconds
        twist_covariance = self._constrain(J @ motion.covariance @ J.T)
        self._state = replace(state, twist=twist, twist_covariance=twist_covariance)
        return self._state

    def _seconds_since_tracked(self, stamp: int) -> float:
        return max(0.0, 1e-9 * (stamp - self._state.stamp)) if self._state.stamp else 0.0

    def _base_motion(
        self, T_base_old: np.ndarray, T_old_new: np.ndarray, T_base_new: np.ndarray
    ) -> np.ndarray:
        """(4, 4) motion of the base from that of the camera and the camera's poses in the base before and after."""
        T = T_base_old @ T_old_new @ inverse(T_base_new)
        return project_to_plane(T) if self._two_d_mode else T

    def _extrapolate(self, stamp: int) -> BaseState:
        """The state at constant velocity since the last tracked frame; its covariance grows with time."""
        last, seconds = self._state, min(self._seconds_since_tracked(stamp), self._max_extrapolation)
        growth = np.eye(6) * (ACCELERATION_STD * seconds) ** 2
        covariance = last.covariance + last.twist_covariance * seconds**2 + growth * seconds**2 / 4
        return BaseState(
            stamp, "lost", last.T @ se3_exp(last.twist * seconds), self._constrain(covariance),
            last.twist, self._constrain(last.twist_covariance + growth),
        )  # fmt: skip

    def _pose_covariance(self, T: np.ndarray, odometry: Odometry, T_base_optical: np.ndarray) -> np.ndarray:
        """(6, 6) of T_odom_base: that of the estimator's pose plus that of the pose at the estimator's start."""
        R_odom_first = self._anchor[:3, :3] @ self._first_T_base_optical[:3, :3]
        J = lever_arm_jacobian(R_odom_first, odometry.pose.T[:3, :3], T_base_optical)
        A = np.eye(6)
        A[:3, 3:] = -skew(T[:3, 3] - self._anchor[:3, 3])
        return self._constrain(J @ odometry.pose.covariance @ J.T + A @ self._anchor_covariance @ A.T)

    def _constrain(self, covariance: np.ndarray) -> np.ndarray:
        """The covariance; in 2-D mode z, roll and pitch are independent and have PLANAR_VARIANCE."""
        if not self._two_d_mode:
            return covariance
        planar = np.ix_((0, 1, 5), (0, 1, 5))
        out = np.eye(6) * PLANAR_VARIANCE
        out[planar] = covariance[planar]
        return out


def lever_arm_jacobian(
    R_parent_first: np.ndarray, R_first_camera: np.ndarray, T_base_camera: np.ndarray
) -> np.ndarray:
    """(6, 6) Jacobian from the errors of a camera's pose in its first frame to those of the base in the parent frame.

    The base is rigidly attached to the camera: a rotation error of the camera displaces the base.
    """
    R = R_parent_first
    lever_arm = R @ R_first_camera @ inverse(T_base_camera)[:3, 3]
    J = np.zeros((6, 6))
    J[:3, :3] = J[3:, 3:] = R
    J[:3, 3:] = -skew(lever_arm) @ R
    return J


def project_to_plane(T: np.ndarray) -> np.ndarray:
    """(4, 4) nearest planar motion: x, y and yaw of T (4, 4)."""
    yaw = np.arctan2(T[1, 0] - T[0, 1], T[0, 0] + T[1, 1])
    out = np.eye(4)
    out[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    out[:2, 3] = T[:2, 3]
    return out
