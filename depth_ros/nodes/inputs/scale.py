"""What says how many metres a unit of depth is, while odometry runs: the ground below, `wheel_odom`, `imu`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from rclpy.node import Node

from depth_ros.datatypes import Depth, Motion, Odometry, Pose
from depth_ros.estimators.odometry.metric_trajectory import ScaledWay
from depth_ros.estimators.odometry.scale import (
    UP,
    Scale,
    ScaleEstimator,
    ScaleSettings,
    ground_scale,
    inertial_scale,
    wheel_scale,
)
from depth_ros.geometry import inverse
from depth_ros.nodes.inputs.imu import ImuInput
from depth_ros.nodes.inputs.odometry import OdomInput
from depth_ros.nodes.inputs.transforms import Transforms
from depth_ros.nodes.odometry_settings import OdometryNodeSettings

KEPT = 100
"""Poses: 10 s at 10 Hz."""
SHAKEN = 2.0
"""s of accelerations and poses that the scale is found from at once."""
LONGEST_GAP = 0.2
"""s between two poses of the wheels that may be interpolated."""


class ScaleInput:
    """Odometry of up-to-scale depth -> odometry in metres, by all sources that `settings` name, while `node` is active.

    imu, transforms: of the node. What is missing is said to `complain`.
    """

    def __init__(
        self, node: Node, settings: OdometryNodeSettings, scale: ScaleSettings, imu: ImuInput | None,
        transforms: Transforms, complain: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._settings, self._scale, self._complain = settings, scale, complain
        self._imu, self._transforms = imu, transforms
        self._wheels: OdomInput | None = None
        if settings.use_wheels:
            self._wheels = OdomInput(node, LONGEST_GAP, lambda: None, complain, "wheel_odom")
        self._known, self._way = ScaleEstimator(scale), ScaledWay()
        self._rolled, self._shaken = deque[Pose](maxlen=KEPT), deque[Pose](maxlen=KEPT)

    def destroy(self) -> None:
        if self._wheels:
            self._wheels.destroy()

    @property
    def known(self) -> Scale | None:
        """What is known so far."""
        return self._known.scale

    def begin(self) -> None:
        """Odometry begins anew. What is known of the scale stays."""
        self._way.begin()
        self._rolled.clear()
        self._shaken.clear()

    def metres(self, found: Odometry) -> Odometry:
        """The same in metres; as it is while no scale is known."""
        return self._way.metres(found, self.known) if self.known else found

    def measure(self, depth: Depth, found: Odometry, T_base_optical: np.ndarray) -> None:
        """Take a frame into account, and what odometry says of it in units."""
        height = self._settings.camera_height
        if height:
            up = T_base_optical[2, :3] if self._settings.base_frame else UP
            self._known.add(ground_scale(depth, height, up, self._scale))
        if found.state == "lost":
            self._rolled.clear()
            self._shaken.clear()
            return
        if self._wheels:
            self._rolled.append(found.pose)
            self._known.add(self._by_wheels(self._wheels, depth.frame_id))
        if self._imu:
            self._shaken.append(found.pose)
            self._known.add(self._by_imu(self._imu, depth.frame_id))

    def _by_wheels(self, wheels: OdomInput, camera: str) -> Scale | None:
        """From the oldest pose on since which the wheels tell their way, as soon as that is long enough."""
        while len(self._rolled) > 1 and self._rolled[0].stamp < wheels.oldest:
            self._rolled.popleft()
        first = self._rolled[0]
        for last in reversed(self._rolled):
            rolled = wheels.motion(camera, first.stamp, last.stamp) if last is not first else None
            if rolled is None:
                continue
            if np.linalg.norm(rolled.T_old_new[:3, 3]) < self._scale.least_way:
                return None
            while self._rolled[0] is not last:
                self._rolled.popleft()
            return wheel_scale(between(first, last), rolled, self._scale)
        return None

    def _by_imu(self, imu: ImuInput, camera: str) -> Scale | None:
        """From all poses that lie within SHAKEN seconds, each of which serves once if it tells something."""
        times, accelerations = imu.accelerations(self._shaken[0].stamp)
        poses = [pose for pose in self._shaken if len(times) and times[0] <= pose.stamp <= times[-1]]
        if len(poses) < 2 or poses[-1].stamp - poses[0].stamp < 1e9 * SHAKEN:
            return None
        T_camera_imu = self._transforms.between(camera, imu.frame_id, poses[-1].stamp)
        if T_camera_imu is None:
            self._complain(self._transforms.problem(camera, imu.frame_id))
            return None
        start = poses[0].stamp
        stamps = 1e-9 * np.array([pose.stamp - start for pose in poses])
        T = np.array([pose.T for pose in poses])
        found = inertial_scale(T, stamps, 1e-9 * (times - start), accelerations, T_camera_imu, self._scale)
        used = poses[-1] if found else poses[len(poses) // 2]
        while self._shaken[0] is not used:
            self._shaken.popleft()
        return found


def between(first: Pose, last: Pose) -> Motion:
    """The motion from one pose to another of one way, with the covariance that was gathered since."""
    R = np.kron(np.eye(2), first.T[:3, :3])
    gathered = R.T @ (last.covariance - first.covariance) @ R
    return Motion(first.stamp, last.stamp, inverse(first.T) @ last.T, gathered)
