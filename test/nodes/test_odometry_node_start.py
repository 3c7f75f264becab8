"""odometry_node with parameters that are read when it is configured: transform, 2-D mode, IMU, scale.

One client and one node at a time: discovery by Fast DDS is not reliable with several participants in a process.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from odometry_client import (
    PERIOD,
    ROOM,
    STEP,
    TOLERANCE,
    OdometryClient,
    command,
    ground_truth,
    matrix,
    transform_message,
    twist,
)
from sensor_msgs.msg import Imu
from tf2_msgs.msg import TFMessage

from depth_ros.geometry import T_BODY_OPTICAL, inverse, se3_exp
from depth_ros.messages.fill import fill_header
from depth_ros.playback.play import node_process

STAND_IN = Path(__file__).parent / "tf2_stand_in"


@pytest.fixture(params=["tf2_ros", "without tf2_ros"])
def tf2(request, monkeypatch, tmp_path):
    """Whether the node finds tf2_ros: the installed one, else a stand-in; or neither."""
    if request.param != "tf2_ros":
        (tmp_path / "tf2_ros.py").write_text("raise ImportError('not installed')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    elif importlib.util.find_spec("tf2_ros") is None:
        monkeypatch.setenv("PYTHONPATH", str(STAND_IN), prepend=os.pathsep)
    return request.param == "tf2_ros"


def test_the_transform_is_published_and_other_publishers_of_it_are_warned_about(tf2):
    arguments = command("publish_tf:=true", "two_d_mode:=true", "base_frame:=base_link")
    with node_process(arguments) as (_, namespace):
        robot = OdometryClient(namespace)
        robot.subscribe("odom", "odometry/status", "/tf")
        robot.publish_mounting_pose()
        robot.wait_until_tracking()
        odom = robot.drive(1, 2, 3)[-1]
        (transform,) = robot.wait_until(
            lambda: next((m for m in robot.received["/tf"] if m.transforms[0].header == odom.header), None)
        ).transforms
        assert (transform.header.frame_id, transform.child_frame_id) == ("odom", "base_link")
        t = transform.transform.translation
        assert [t.x, t.y, t.z] == pytest.approx(list(matrix(odom)[:3, 3])) and t.z == 0
        assert np.linalg.norm([t.x, t.y] - ground_truth(3)[:2, 3]) < TOLERANCE
        robot.spin(1.5)
        assert not any("another node" in s.message for s in robot.statuses)
        other = TransformStamped(child_frame_id="base_link")
        fill_header(other.header, robot.stamp, "odom")
        publisher = robot.node.create_publisher(TFMessage, "/tf", 10)
        robot.wait_for_warning(
            "another node also publishes the transform 'odom' -> 'base_link' (publishers of /tf: client)",
            lambda: (publisher.publish(TFMessage(transforms=[other])), robot.publish_view(3)),
        )
        robot.close()


def test_missing_imu_samples_and_mounting_poses_are_warned_about():
    with node_process(command("use_imu:=true", "base_frame:=''")) as (_, namespace):
        robot = OdometryClient(namespace)
        robot.subscribe("odom", "odometry/status")
        imu = robot.node.create_publisher(Imu, "imu", 100)

        def step(frame: str) -> None:
            """Publish the IMU samples of one step, then the view after it."""
            for offset in range(0, PERIOD + 1, PERIOD // 10):
                sample = Imu()
                fill_header(sample.header, robot.stamp + offset, frame)
                sample.angular_velocity.z = STEP[5] / (PERIOD * 1e-9)
                imu.publish(sample)
            robot.publish_view(0)

        robot.wait_for_warning(
            "/imu' has no samples for the time of the images", lambda: robot.publish_view(0)
        )
        robot.wait_for_warning("no transform from 'camera_optical' to 'imu_link'", lambda: step("imu_link"))
        robot.publish_mounting_pose()
        robot.statuses.clear()
        robot.wait_until(lambda: len(robot.statuses) > 2, lambda: step("base_link"))
        assert not robot.statuses[-1].message.startswith("no transform")
        assert "imu" not in robot.statuses[-1].message
        assert robot.received["odometry/status"][-1].message == "tracking"
        robot.close()


def test_a_turning_head_does_not_turn_the_robot(tf2):
    """A moving joint between base and camera, on /tf, which tf2_ros reads; without it, that is what the node says."""
    turn = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.03])
    with node_process(command("base_frame:=base_link")) as (_, namespace):
        robot = OdometryClient(namespace)
        joints = robot.node.create_publisher(TFMessage, "/tf", 10)
        robot.publish_mounting_pose("head")
        robot.subscribe("odom", "odometry/status")

        def look(count: int) -> int:
            T, stamp = se3_exp(count * turn), robot.stamp + PERIOD
            joints.publish(transform_message("base_link", "head", T, stamp))
            robot.spin(0.1)
            return robot.publish_view(count, step=turn)

        if not tf2:
            robot.wait_for_warning(
                "no transform from 'base_link' to 'camera_optical' on /tf_static (/tf is ignored because tf2_ros is "
                "not installed)",
                lambda: look(0),
            )
            return robot.close()
        robot.wait_until(lambda: robot.received["odom"], lambda: look(0))
        robot.wait_for_frame(look(0))
        for count in range(1, 11):
            robot.wait_for_frame(look(count))
        robot.spin(0.1)
        last = robot.received["odom"][-1]
        assert robot.wait_for_frame(robot.stamp).message == "tracking"
        T = matrix(last)
        assert np.linalg.norm(T[:3, 3]) < TOLERANCE and T[1, 0] == pytest.approx(0, abs=0.02)
        assert twist(last) == pytest.approx(np.zeros(6), abs=0.1)
        robot.close()


@pytest.mark.parametrize(
    "options, info_baseline", [((), 0.12), (("baseline:=0.12",), 0.0)], ids=["camera_info", "parameter"]
)
def test_a_disparity_bias_is_estimated(options, info_baseline):
    """0.5 px, here an eighth of the depth, by which the path would be too short."""
    with node_process(command("base_frame:=base_link", *options)) as (_, namespace):
        robot = OdometryClient(namespace)
        robot.publish_mounting_pose()
        robot.baseline, robot.inverse_depth_bias = info_baseline, 0.5 / (ROOM.cameras["left"].fx * 0.12)
        robot.subscribe("odom", "odometry/status")
        robot.wait_until_tracking()
        first, *_, last = robot.drive(*range(13))
        motion = inverse(matrix(first)) @ matrix(last)
        assert np.linalg.norm(motion[:3, 3] - ground_truth(12)[:3, 3]) < 0.03
        robot.close()


def test_up_to_scale_odometry_is_never_published_on_odom_or_tf():
    with node_process(command("depth_scale:=up_to_scale", "base_frame:=''")) as (_, namespace):
        robot = OdometryClient(namespace)
        robot.odom_topic = "odom_up_to_scale"
        robot.subscribe("odom", "odom_up_to_scale", "odometry/status")
        robot.wait_until_tracking()
        last = robot.drive(*range(1, 7))[-1]
        publishers = robot.node.get_publishers_info_by_topic("/tf")
        assert not robot.received["odom"] and namespace not in [each.node_namespace for each in publishers]
        assert last.child_frame_id == "camera_optical"
        T_odom_body = matrix(last) @ inverse(
            T_BODY_OPTICAL
        )  # x of odom is the viewing direction of the first camera
        assert T_odom_body[0, 3] > 0.15 and T_odom_body[1, 0] > 0.08
        robot.close()
    with node_process(command("depth_scale:=up_to_scale", "publish_tf:=true")) as (_, namespace):
        robot = OdometryClient(namespace)
        robot.wait_for_status(DiagnosticStatus.ERROR, "transforms have to be in metres")
        robot.close()
