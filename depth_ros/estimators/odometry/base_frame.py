"""From the motion of a camera to that of the robot that carries it: poses, twists and covariances as REP-103 and
REP-105 want them. Numbers only, no messages.

Covariances are of x y z and rotation about x y z: of errors that add to the position and that turn about the fixed axes
of the parent frame, at the point that the pose describes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from depth_ros.datatypes import Odometry
from depth_ros.geometry import cross, exponential, inverse, logarithm, orthonormal

UNKNOWN = 9999.0
"""Variance of what is not known at all, as rtabmap_ros has it."""
ACCELERATION = 1.0
"""m/s2 and rad/s2, one standard deviation: what a robot may do while its motion is only extrapolated."""
FLAT = 1e-6
"""Variance of what 2-D mode holds at zero; zero itself would be no covariance matrix."""


@dataclass(frozen=True)
class BaseState:
    """The robot at one time. T: (4, 4) T_odom_base. covariance: (6, 6), in odom.

    twist: (6,) m/s and rad/s in the base frame, twist_covariance: (6, 6). state: as of `datatypes.Odometry`.
    """

    stamp: int
    state: str = "starting"
    T: np.ndarray = field(default_factory=lambda: np.eye(4))
    covariance: np.ndarray = field(default_factory=lambda: UNKNOWN * np.eye(6))
    twist: np.ndarray = field(default_factory=lambda: np.zeros(6))
    twist_covariance: np.ndarray = field(default_factory=lambda: UNKNOWN * np.eye(6))


class BaseTrack:
    """Strings the poses of one camera's odometry together to the track of a base frame.

    Starts of the estimator do not show in it: the pose goes on from where it was, with UNKNOWN covariance in the first
    state after them. start: (4, 4) T_odom_base at the beginning. two_d: x, y and yaw only. While odometry is lost
    the last velocity is taken to hold for `longest` seconds.
    """

    def __init__(self, start: np.ndarray | None = None, two_d: bool = False, longest: float = 0.0) -> None:
        self._start, self._two_d, self._longest = np.eye(4) if start is None else start, two_d, longest
        self.place()

    def place(self, T: np.ndarray | None = None, covariance: np.ndarray | None = None) -> None:
        """The base is at T_odom_base (None: at the start), known with `covariance`; the estimator begins anew there."""
        T = self._start if T is None else T
        self._anchor = flat(T) if self._two_d else T
        self._anchor_covariance = np.zeros((6, 6)) if covariance is None else covariance
        self._last: tuple[np.ndarray, np.ndarray] | None = (
            None  # the estimator's pose, and T_base_optical then
        )
        self._known = BaseState(0, T=self._anchor, covariance=self._anchor_covariance)

    def again(self) -> None:
        """The estimator begins anew, at the place where it began last."""
        self.place(self._anchor, self._anchor_covariance)

    def restart(self) -> None:
        """The estimator begins anew, wherever the base is now."""
        self.place(self._known.T, self._known.covariance)

    def known(self, stamp: int) -> bool:
        """Whether the base can be said to be anywhere at `stamp`, ns: tracked, or extrapolated for short enough."""
        return self._since_known(stamp) <= self._longest

    def _since_known(self, stamp: int) -> float:
        return max(0.0, 1e-9 * (stamp - self._known.stamp)) if self._known.stamp else 0.0

    def update(self, found: Odometry, T_base_optical: np.ndarray) -> BaseState:
        """The base at the time of `found`. T_base_optical: (4, 4) where the camera is on the robot, at that time."""
        if found.state == "lost":
            return self._extrapolated(found.stamp)
        if found.state == "starting" and self._last:  # its poses count from here
            last = self._extrapolated(found.stamp)
            self.place(last.T, last.covariance)
        if self._last is None:
            self._first = T_base_optical
        pose, arm = self._last or (found.pose.T, T_base_optical)
        self._last = (found.pose.T, T_base_optical)
        step = self._of_base(arm, inverse(pose) @ found.pose.T, T_base_optical)
        T = orthonormal(self._known.T @ step)
        state = BaseState(found.stamp, found.state, T, self._covariance(T, found, T_base_optical))
        if found.motion is None:
            self._known = state
            return replace(state, covariance=UNKNOWN * np.eye(6))
        seconds = 1e-9 * (found.motion.stamp_new - found.motion.stamp_old)
        twist = logarithm(self._of_base(arm, found.motion.T_old_new, T_base_optical)) / seconds
        J = to_base(arm[:3, :3], found.motion.T_old_new[:3, :3], T_base_optical) / seconds
        self._known = replace(
            state, twist=twist, twist_covariance=self._held(J @ found.motion.covariance @ J.T)
        )
        return self._known

    def _of_base(self, arm: np.ndarray, T_old_new: np.ndarray, T_base_optical: np.ndarray) -> np.ndarray:
        """A motion of the camera as one of the base. arm: T_base_optical in the older frame."""
        T = arm @ T_old_new @ inverse(T_base_optical)
        return flat(T) if self._two_d else T

    def _extrapolated(self, stamp: int) -> BaseState:
        """Where the base would be at the velocity last known, the less sure the longer ago that was."""
        known, seconds = self._known, min(self._since_known(stamp), self._longest)
        growth = np.eye(6) * (ACCELERATION * seconds) ** 2
        covariance = known.covariance + known.twist_covariance * seconds**2 + growth * seconds**2 / 4
        return BaseState(
            stamp, "lost", known.T @ exponential(known.twist * seconds), self._held(covariance),
            known.twist, self._held(known.twist_covariance + growth),
        )  # fmt: skip

    def _covariance(self, T: np.ndarray, found: Odometry, T_base_optical: np.ndarray) -> np.ndarray:
        """(6, 6) of T_odom_base: the estimator's, and that of the place where it began."""
        R_odom_first = self._anchor[:3, :3] @ self._first[:3, :3]
        J = to_base(R_odom_first, found.pose.T[:3, :3], T_base_optical)
        turn = np.eye(6)
        turn[:3, 3:] = -cross(T[:3, 3] - self._anchor[:3, 3])
        return self._held(J @ found.pose.covariance @ J.T + turn @ self._anchor_covariance @ turn.T)

    def _held(self, covariance: np.ndarray) -> np.ndarray:
        """What 2-D mode holds at zero has the variance FLAT."""
        if not self._two_d:
            return covariance
        kept = np.ix_((0, 1, 5), (0, 1, 5))
        out = np.eye(6) * FLAT
        out[kept] = covariance[kept]
        return out


def to_base(R_parent_first: np.ndarray, R_first_camera: np.ndarray, T_base_optical: np.ndarray) -> np.ndarray:
    """(6, 6) Jacobian: errors of a camera's pose in its first frame become those of the base in the parent frame.

    The arm from camera to base turns with the camera: an error of rotation moves the base.
    """
    R = R_parent_first
    arm = R @ R_first_camera @ inverse(T_base_optical)[:3, 3]
    J = np.zeros((6, 6))
    J[:3, :3] = J[3:, 3:] = R
    J[:3, 3:] = -cross(arm) @ R
    return J


def flat(T: np.ndarray) -> np.ndarray:
    """The motion in the plane that is nearest: x, y and yaw of T (4, 4)."""
    yaw = np.arctan2(T[1, 0] - T[0, 1], T[0, 0] + T[1, 1])
    out = np.eye(4)
    out[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    out[:2, 3] = T[:2, 3]
    return out
