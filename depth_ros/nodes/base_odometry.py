"""Odometry of the robot's base from depth images: mounting pose of the camera, IMU, scale, and jumps of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from rclpy.lifecycle import ManagedEntity
from rclpy.node import Node

from depth_ros.datatypes import Depth, Odometry
from depth_ros.errors import DepthRosError
from depth_ros.estimators.odometry.base_frame import BaseFramePose, BaseState
from depth_ros.estimators.odometry.frame_order import FrameOrder, TimeJump
from depth_ros.estimators.odometry.scale import METRIC, Scale, ScaleSettings
from depth_ros.estimators.odometry.systematic_errors import Gaussian
from depth_ros.nodes.inputs.imu import ImuInput
from depth_ros.nodes.inputs.scale import ScaleInput
from depth_ros.nodes.inputs.transforms import Transforms
from depth_ros.nodes.odometry_settings import OdometryNodeSettings


class OdometryEstimatorLike(Protocol):
    """`OdometryEstimator`, or another source of odometry."""

    @property
    def readout_time(self) -> Gaussian: ...

    def reset(self) -> None: ...

    def estimate(self, depth: Depth, rotation: np.ndarray | None = None) -> Odometry: ...


@dataclass(frozen=True)
class BaseOdometryResult:
    """Odometry after one frame.

    odometry: of the camera. state: of the base; is_valid: whether it is tracked, or extrapolated for a time that is
    short enough. scale: metres per unit of depth, None while it is unknown; odometry and state are then in units.
    readout_time: s, as estimated. start: number of the estimator's start.
    """

    depth: Depth
    odometry: Odometry
    state: BaseState
    is_valid: bool
    base_frame: str
    scale: Scale | None
    readout_time: Gaussian
    start: int


class BaseOdometry:
    """Depth -> odometry of `base_frame`, or of the camera if that is empty.

    Everything but `inputs`, which are entities of `node`, is used in the thread that estimates. `starts` counts the
    starts of the estimator. Once the scale of up-to-scale depth is known, odometry restarts in metres.
    """

    def __init__(
        self, node: Node, estimator: OdometryEstimatorLike, pose: BaseFramePose, settings: OdometryNodeSettings,
        scale_settings: ScaleSettings, warn: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.pose, self._warn = pose, warn
        self.starts = 0
        self._estimator, self._settings = estimator, settings
        self._stamp = 0  # ns, of the last frame that the estimator used
        self._order = FrameOrder(settings.max_frame_gap)
        self._transforms = Transforms(node)
        self._imu = ImuInput(node, warn) if settings.use_imu else None
        self._scale: ScaleInput | None = None
        if settings.depth_scale != "metric":
            self._scale = ScaleInput(node, settings, scale_settings, self._imu, self._transforms, warn)

    @property
    def scale(self) -> Scale | None:
        """Metres per unit of depth, as estimated so far; None while it is unknown."""
        return self._scale.scale if self._scale else METRIC

    @property
    def inputs(self) -> list[ManagedEntity]:
        """The subscriptions that it reads."""
        return [each for each in (self._transforms, self._imu, self._scale) if each]

    def restart(self) -> None:
        """Reset the estimator; the pose stays."""
        self._reset_estimator()
        self.pose.restart()

    def reset(self) -> None:
        """Reset the estimator, and the pose to the initial one."""
        self._reset_estimator()
        self.pose.reset()

    def set_pose(self, T_odom_base: np.ndarray, covariance: np.ndarray) -> None:
        """Reset the estimator, and set the pose (4, 4) and its covariance (6, 6)."""
        self._reset_estimator()
        self.pose.set_pose(T_odom_base, covariance)

    def estimate(self, depth: Depth) -> BaseOdometryResult:
        """Process one frame. Raises DepthRosError if it cannot be used."""
        self._check_order(depth.stamp)
        base_frame = self._settings.base_frame or depth.frame_id
        T_base_optical = self._mounting_pose(base_frame, depth)
        odometry = self._estimator.estimate(depth, self._imu_rotation(depth.frame_id, depth.stamp))
        self._order.accept(depth.stamp)
        self._stamp = depth.stamp
        if self._scale:
            was_known = self._scale.scale is not None
            self._scale.measure(depth, odometry, T_base_optical)
            if self._scale.scale and not was_known:  # the trajectory so far is not in metres
                self._reset_estimator()
                self.pose.rewind()
                odometry = self._estimator.estimate(depth)
                self._order.accept(depth.stamp)
                self._stamp = depth.stamp
            odometry = self._scale.in_metres(odometry)
        state = self.pose.update(odometry, T_base_optical)
        return BaseOdometryResult(
            depth, odometry, state, self.pose.is_valid(state.stamp), base_frame, self.scale,
            self._estimator.readout_time, self.starts,
        )  # fmt: skip

    def _reset_estimator(self) -> None:
        self._estimator.reset()
        if self._scale:
            self._scale.restart()
        self._stamp = 0
        self._order.restart()
        self.starts += 1

    def _check_order(self, stamp: int) -> None:
        """Restart if time jumps. Raises DepthRosError if the frame is late or has a wrong stamp."""
        last = self._stamp
        jump = self._order.check(stamp)
        if jump is TimeJump.NONE:
            return
        pose = "initial" if jump is TimeJump.LOOP else "last"
        change = (
            f"no frame for {1e-9 * (stamp - last):.3f} s"
            if stamp > last
            else f"time went back by {1e-9 * (last - stamp):.3f} s"
        )
        self._warn(f"{change} ({jump.value}): odometry restarts at its {pose} pose")
        self.reset() if jump is TimeJump.LOOP else self.restart()

    def _mounting_pose(self, base_frame: str, depth: Depth) -> np.ndarray:
        """(4, 4) T_base_optical. Raises DepthRosError if TF does not have it."""
        if base_frame == depth.frame_id:
            return np.eye(4)
        T = self._transforms.between(base_frame, depth.frame_id, depth.stamp)
        if T is None:
            raise DepthRosError(self._transforms.missing_transform_text(base_frame, depth.frame_id))
        return T

    def _imu_rotation(self, camera_frame: str, stamp: int) -> np.ndarray | None:
        """(3, 3) R_old_new of the camera since the last frame, from the IMU; None where it is not available."""
        if not (self._imu and self._stamp):
            return None
        R_old_new = self._imu.rotation(self._stamp, stamp)
        if R_old_new is None:
            self._warn(f"'{self._imu.topic}' has no samples for the time of the images")
            return None
        T = self._transforms.between(camera_frame, self._imu.frame_id, stamp)
        if T is None:
            self._warn(self._transforms.missing_transform_text(camera_frame, self._imu.frame_id))
            return None
        return T[:3, :3] @ R_old_new @ T[:3, :3].T
