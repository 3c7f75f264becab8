"""Messages whose pose is not finite or was not filled in: ignored and named, instead of spoiling every later pose."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_msgs.msg import Pose, PoseWithCovarianceStamped, TransformStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu
from tf2_msgs.msg import TFMessage

from depth_ros.messages.fill import fill_header
from depth_ros.messages.poses import finite_pose
from depth_ros.nodes.inputs.imu import ImuInput
from depth_ros.nodes.inputs.odometry import OdometryInput
from depth_ros.nodes.inputs.set_pose import SetPose
from depth_ros.nodes.inputs.static_transforms import StaticTransforms

STAMP = 5_000_000_000
NAN = float("nan")


def pose(x: float = 1.0, w: float = 1.0) -> Pose:
    message = Pose()
    message.position.x, message.orientation.w = x, w
    return message


BAD = [pose(w=0.0), pose(x=NAN), pose(w=NAN), pose(x=float("inf")), pose(w=2.0)]


def test_only_finite_poses_with_a_unit_quaternion_are_poses():
    good = pose()
    assert finite_pose(good.position, good.orientation)[0, 3] == 1.0
    assert all(finite_pose(each.position, each.orientation) is None for each in BAD)


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_odometry_and_set_pose_ignore_other_poses(host, bad: Pose):
    set_poses: list[np.ndarray] = []
    odometry = OdometryInput(host.node, 1.0, lambda: None, host.warnings.append)
    set_pose = SetPose(host.node, "odom", lambda T, covariance: set_poses.append(T), host.warnings.append)
    message, command = Odometry(), PoseWithCovarianceStamped()
    fill_header(message.header, STAMP, "odom")
    message.pose.pose = command.pose.pose = bad
    odometry._receive(message)
    set_pose._receive(command)
    assert not odometry._poses and not set_poses
    assert [" ignored: it is not finite, or the norm" in text for text in host.warnings] == [True, True]


def test_set_pose_ignores_a_covariance_that_is_not_finite(host):
    set_poses: list[np.ndarray] = []
    set_pose = SetPose(host.node, "odom", lambda T, covariance: set_poses.append(T), host.warnings.append)
    command = PoseWithCovarianceStamped()
    command.pose.pose = pose()
    set_pose._receive(command)
    command.pose.covariance[7] = NAN
    set_pose._receive(command)
    assert len(set_poses) == 1 and len(host.warnings) == 1


def test_static_transforms_without_a_rotation_are_ignored_and_the_others_used(host):
    part = StaticTransforms(host.node)
    message = TFMessage(transforms=[TransformStamped(child_frame_id=name) for name in ("camera", "imu")])
    for each, w in zip(message.transforms, (0.0, 1.0), strict=True):
        each.header.frame_id, each.transform.rotation.w = "base_link", w
    part._receive(message)
    assert part.between("base_link", "camera") is None
    assert part.between("base_link", "imu") == pytest.approx(np.eye(4))


@pytest.mark.parametrize("field", ["angular_velocity", "linear_acceleration"])
def test_imu_samples_that_are_not_finite_are_rejected(host, field: str):
    part = ImuInput(host.node, host.warnings.append)
    message = Imu()
    fill_header(message.header, STAMP, "imu")
    getattr(message, field).y = NAN
    part._store(message)
    assert not part._accelerations and "is not finite" in host.warnings[0]
