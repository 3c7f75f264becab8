"""Metric-scale sources for up-to-scale odometry: ground plane, wheel odometry and IMU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from rclpy.lifecycle import LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.node import Node

from depth_ros.datatypes import Depth, Motion, Odometry, Pose
from depth_ros.estimators.odometry.metric_trajectory import MetricTrajectory
from depth_ros.estimators.odometry.scale import Scale, ScaleEstimator, ScaleSettings
from depth_ros.estimators.odometry.scale_sources import UP, ground_scale, inertial_scale, wheel_scale
from depth_ros.geometry import inverse
from depth_ros.nodes.inputs.imu import ImuInput
from depth_ros.nodes.inputs.odometry import OdometryInput
from depth_ros.nodes.inputs.transforms import Transforms
from depth_ros.nodes.odometry_settings import OdometryNodeSettings

POSES_KEPT = 100
"""10 s at 10 Hz."""
IMU_INTERVAL = 2.0
"""s of poses and accelerations that one scale is estimated from."""
MAX_WHEEL_GAP = 0.2
"""s, longest interval between two poses of the wheel odometry that is interpolated."""


class ScaleInput(ManagedEntity):
    """Metric scale of up-to-scale odometry, from all sources that `settings` enable.

    imu, transforms: of the node, which activates them. Missing transforms and covariances are passed to `warn`.
    Everything but the messages of the wheel odometry is used in the thread that estimates.
    """

    def __init__(
        self, node: Node, settings: OdometryNodeSettings, scale_settings: ScaleSettings, imu: ImuInput | None,
        transforms: Transforms, warn: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._settings, self._scale_settings, self._warn = settings, scale_settings, warn
        self._imu, self._transforms = imu, transforms
        self._wheel_odometry: OdometryInput | None = None
        if settings.use_wheel_odometry:
            self._wheel_odometry = OdometryInput(node, MAX_WHEEL_GAP, lambda: None, warn, "wheel_odom")
        self._reset()

    def _reset(self) -> None:
        self._estimator, self._trajectory = ScaleEstimator(self._scale_settings), MetricTrajectory()
        self._wheel_poses, self._imu_poses = deque[Pose](maxlen=POSES_KEPT), deque[Pose](maxlen=POSES_KEPT)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._reset()
        if self._wheel_odometry:
            self._wheel_odometry.on_activate(state)
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._wheel_odometry:
            self._wheel_odometry.on_deactivate(state)
        return TransitionCallbackReturn.SUCCESS

    @property
    def scale(self) -> Scale | None:
        """Metres per unit of depth, as estimated so far; None if unknown."""
        return self._estimator.scale

    def restart(self) -> None:
        """Start a new trajectory after a reset of the odometry estimator. The scale is kept."""
        self._trajectory.reset()
        self._wheel_poses.clear()
        self._imu_poses.clear()

    def in_metres(self, odometry: Odometry) -> Odometry:
        """Odometry in metres; unchanged while the scale is unknown."""
        return self._trajectory.update(odometry, self.scale) if self.scale else odometry

    def measure(self, depth: Depth, odometry: Odometry, T_base_optical: np.ndarray) -> None:
        """Update the scale with one frame: up-to-scale depth, its up-to-scale odometry, and the camera's pose (4, 4) in
        the base frame."""
        height = self._settings.camera_height
        if height:
            up = T_base_optical[2, :3] if self._settings.base_frame else UP
            self._estimator.update(ground_scale(depth, height, up, self._scale_settings))
        if odometry.state == "lost":
            self._wheel_poses.clear()
            self._imu_poses.clear()
            return
        if self._wheel_odometry:
            self._wheel_poses.append(odometry.pose)
            self._estimator.update(self._wheel_scale(self._wheel_odometry, depth.frame_id))
        if self._imu:
            self._imu_poses.append(odometry.pose)
            self._estimator.update(self._imu_scale(self._imu, depth.frame_id))

    def _wheel_scale(self, wheel_odometry: OdometryInput, camera_frame: str) -> Scale | None:
        """Scale from the motion between the oldest and the newest pose that the wheel odometry covers, if it is long
        enough; each motion is used once."""
        poses = self._wheel_poses
        while len(poses) > 1 and poses[0].stamp < wheel_odometry.oldest_stamp:
            poses.popleft()
        first = poses[0]
        for last in reversed(poses):
            if last is first:
                break
            wheel_motion = wheel_odometry.motion(camera_frame, first.stamp, last.stamp)
            if wheel_motion is None:
                continue
            if np.linalg.norm(wheel_motion.T_old_new[:3, 3]) < self._scale_settings.min_wheel_distance:
                return None
            while poses[0] is not last:
                poses.popleft()
            return wheel_scale(motion_between(first, last), wheel_motion, self._scale_settings)
        return None

    def _imu_scale(self, imu: ImuInput, camera_frame: str) -> Scale | None:
        """Scale from the stored poses, once they span IMU_INTERVAL; poses that gave a scale are discarded."""
        times, accelerations = imu.accelerations(self._imu_poses[0].stamp)
        poses = [pose for pose in self._imu_poses if len(times) and times[0] <= pose.stamp <= times[-1]]
        if len(poses) < 2 or poses[-1].stamp - poses[0].stamp < 1e9 * IMU_INTERVAL:
            return None
        T_camera_imu = self._transforms.between(camera_frame, imu.frame_id, poses[-1].stamp)
        if T_camera_imu is None:
            self._warn(self._transforms.missing_transform_text(camera_frame, imu.frame_id))
            return None
        start = poses[0].stamp
        pose_times = 1e-9 * np.array([pose.stamp - start for pose in poses])
        T = np.array([pose.T for pose in poses])
        scale = inertial_scale(
            T, pose_times, 1e-9 * (times - start), accelerations, T_camera_imu, self._scale_settings
        )
        next_first = poses[-1] if scale else poses[len(poses) // 2]
        while self._imu_poses[0] is not next_first:
            self._imu_poses.popleft()
        return scale


def motion_between(first: Pose, last: Pose) -> Motion:
    """Motion between two poses of one trajectory, with the covariance accumulated between them."""
    R = np.kron(np.eye(2), first.T[:3, :3])
    covariance = R.T @ (last.covariance - first.covariance) @ R
    return Motion(first.stamp, last.stamp, inverse(first.T) @ last.T, covariance)
