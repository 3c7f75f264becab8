"""The real odometry_node in a process of its own, over DDS, on a robot that drives through a rendered room."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from node_client import values_of
from odometry_client import PERIOD, STEP, TOLERANCE, OdometryClient, command, ground_truth, matrix, twist

from depth_ros.geometry import inverse, se3_exp
from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.fill import fill_header, fill_pose
from depth_ros.playback.play import node_process

TOPICS = ("odom", "odometry/status", "path")
FIRST_STAMP = 1_000_000_000
"""ns, before those of all frames."""


@pytest.fixture(scope="module")
def client() -> Iterator[OdometryClient]:
    with node_process(command("run_without_subscribers:=false")) as (_, namespace):
        client = OdometryClient(namespace)
        yield client
        client.close()


@pytest.fixture()
def robot(client: OdometryClient) -> OdometryClient:
    """A robot at the start of its path, after a reset."""
    client.publish_mounting_pose()
    client.subscribe(*TOPICS)
    client.wait_until_tracking()
    client.trigger("reset_odom")
    client.subscribe(*TOPICS)
    client.wait_until_tracking()
    return client


def test_a_missing_transform_is_warned_about(client: OdometryClient):
    client.subscribe(*TOPICS)
    status = client.wait_for_warning(
        "no transform from 'base_link' to 'camera_optical'", lambda: client.publish_view(0)
    )
    assert "static_transform_publisher --frame-id base_link --child-frame-id camera_optical" in status.message
    assert not client.received["odom"]


def test_pose_and_twist_are_those_of_the_base_in_its_axes(robot: OdometryClient):
    """REP-103 and REP-105, with a camera that looks elsewhere: pose in odom, twist in base_link."""
    messages = robot.drive(*range(1, 11))
    for count, message in enumerate(messages, 1):
        assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")
        error = inverse(ground_truth(count)) @ matrix(message)
        assert np.linalg.norm(error[:3, 3]) < TOLERANCE and np.trace(error[:3, :3]) > 3 - 1e-3
        assert twist(message) == pytest.approx(STEP / 0.1, abs=0.15)
        for covariance in (message.pose.covariance, message.twist.covariance):
            C = np.array(covariance).reshape(6, 6)
            assert pytest.approx(C.T) == C and (np.linalg.eigvalsh(C) > 0).all() and C.max() < 0.1
    assert matrix(messages[-1])[0, 3] > 0.35 and matrix(messages[-1])[1, 0] > 0.15
    variances = [np.trace(np.array(m.pose.covariance).reshape(6, 6)[:3, :3]) for m in messages]
    assert variances[-1] > variances[2]  # before that, the readout time is still uncertain


def test_status_and_path(robot: OdometryClient):
    robot.drive(*range(1, 9))
    status = robot.wait_for_frame(robot.stamp)
    values = values_of(status)
    assert status.level == DiagnosticStatus.OK and status.message == "tracking"
    assert abs(float(values["readout (ms)"])) < 10 and 0 < float(values["readout std (ms)"]) <= 20
    assert float(values["inliers (%)"]) > 80
    stages = {key for key in values if key.endswith("(ms)")}
    assert "receive (ms)" in stages and len(stages) >= 3
    path = robot.wait_until(lambda: robot.received["path"] and robot.received["path"][-1])
    positions = np.array([[p.pose.position.x, p.pose.position.y] for p in path.poses])
    assert path.header.frame_id == "odom"
    assert np.linalg.norm(positions[-1] - ground_truth(8)[:2, 3]) < TOLERANCE
    assert len(positions) == 4 and (np.linalg.norm(np.diff(positions[:-1], axis=0), axis=1) >= 0.1).all()


def test_nothing_is_published_while_odometry_is_lost(robot: OdometryClient):
    robot.drive(1, 2)
    dark = robot.drive(None, None)
    assert dark == [None, None]
    status = robot.wait_for_frame(robot.stamp)
    assert (status.level, status.message) == (DiagnosticStatus.ERROR, "lost")
    robot.wait_for_warning("odometry is lost: nothing is published", lambda: robot.publish_view(None))
    robot.subscribe(*TOPICS)
    last = robot.wait_until_tracking(2)
    assert np.linalg.norm(matrix(last)[:3, 3] - ground_truth(2)[:3, 3]) < TOLERANCE


def jump(robot: OdometryClient, stamp: int, count: float) -> Odometry:
    """Odometry of the frame that confirms a jump of time to `stamp` ns, after `count` steps."""
    robot.stamp = stamp - PERIOD
    for messages in robot.received.values():
        messages.clear()  # some have the stamps that follow
    robot.publish_view(count)
    robot.spin(0.3)
    assert not robot.received["odom"]
    (message,) = robot.drive(count)
    assert message is not None
    return message


def test_odometry_restarts_at_its_initial_pose_when_a_recording_loops(robot: OdometryClient):
    for _ in range(2):
        last = robot.drive(*range(1, 7))[-1]
        assert np.linalg.norm(matrix(last)[:3, 3] - ground_truth(6)[:3, 3]) < TOLERANCE
        first = jump(robot, FIRST_STAMP, 0)
        assert matrix(first) == pytest.approx(np.eye(4)) and first.twist.covariance[0] == 9999
    late = robot.publish_view(0, interval=-PERIOD)  # late by one frame: not a loop
    robot.stamp += PERIOD
    robot.wait_for_warning("before that of the previous frame", lambda: robot.publish_view(0, interval=0))
    assert all(stamp_ns(m.header) != late for m in robot.received["odom"])


@pytest.mark.parametrize("seconds", [-0.7, -2.0, 5.0, 86400.0])
def test_the_pose_stays_when_the_clock_of_a_robot_is_set(robot: OdometryClient, seconds: float):
    """The motion between the frames before and after it is lost, but nothing more."""
    robot.drive(*[0] * 20)
    before = robot.drive(*range(1, 7))[-1]
    restarted = jump(robot, robot.stamp + round(seconds * 1e9), 7)
    assert matrix(restarted) == pytest.approx(matrix(before), abs=1e-6)
    assert matrix(before)[0, 3] > 0.2 and restarted.twist.covariance[0] == 9999
    last = robot.drive(8, 9)[-1]
    expected = matrix(before) @ inverse(ground_truth(7)) @ ground_truth(9)
    assert np.linalg.norm(matrix(last)[:3, 3] - expected[:3, 3]) < TOLERANCE


@pytest.mark.parametrize("wrong", [0, -5, 7_000_000, 10**18], ids=["zero", "negative", "boot time", "future"])
def test_frames_with_a_wrong_stamp_are_rejected_counted_and_do_not_disturb(robot: OdometryClient, wrong: int):
    robot.drive(1, 2, 3)
    stamp, before = robot.stamp, int(values_of(robot.statuses[-1])["rejected frames"])
    robot.stamp = wrong - PERIOD
    robot.statuses.clear()
    robot.publish_view(17)
    robot.stamp = stamp
    robot.spin(0.3)
    last = robot.drive(4, 5)[-1]
    assert np.linalg.norm(matrix(last)[:3, 3] - ground_truth(5)[:3, 3]) < TOLERANCE
    assert last.twist.covariance[0] < 1  # it went on, without a restart
    status = robot.wait_until(
        lambda: next((s for s in robot.statuses if int(values_of(s)["rejected frames"]) > before), None),
        lambda: robot.publish_view(5),
    )
    robot.spin(1.5)
    said = "; ".join(s.message for s in robot.statuses)
    if wrong > 0:
        assert (
            "frame rejected: its stamp is" in said
            and "the next frame shows whether the clock was set" in said
        )
        return
    for topic in ("image", "depth/image_rect"):
        assert f"message on '{robot.namespace}/{topic}' rejected: header.stamp is zero" in said
    assert "(published by client)" in said and "time went back" not in said
    assert status.level == DiagnosticStatus.WARN


def test_odometry_continues_from_a_pose_that_is_set(robot: OdometryClient):
    robot.drive(1, 2)
    pose = se3_exp(np.array([0, 0, 0, 0, 0, np.pi / 2]))
    pose[:3, 3] = 7, 8, 0
    message = PoseWithCovarianceStamped()
    message.header.frame_id = "map"
    fill_pose(message.pose.pose, pose)
    robot.wait_for_warning(
        "pose on set_pose ignored: its frame_id is 'map'", lambda: robot.poses.publish(message)
    )
    message.header.frame_id = "odom"
    message.pose.covariance[0] = 0.25
    robot.poses.publish(message)
    robot.wait_until(
        lambda: any(abs(m.pose.pose.position.x - 7) < 0.01 for m in robot.received["odom"]),
        lambda: robot.publish_view(2),
    )
    robot.subscribe(*TOPICS)
    robot.wait_until_tracking(2)
    last = robot.drive(3, 4, 5)[-1]
    expected = pose @ inverse(ground_truth(2)) @ ground_truth(5)
    assert np.linalg.norm(matrix(last)[:3, 3] - expected[:3, 3]) < TOLERANCE
    assert last.pose.covariance[0] > 0.25


def test_the_pose_stays_while_odometry_is_paused(robot: OdometryClient):
    robot.drive(1, 2, 3)
    assert robot.trigger("pause_odom").success
    robot.subscribe(*TOPICS)
    for count in (4, 5, 6):
        robot.publish_view(count)
        robot.spin(0.1)
    assert not robot.received["odom"] and not robot.received["odometry/status"]
    assert robot.trigger("resume_odom").success and not robot.trigger("resume_odom").success
    robot.wait_until_tracking(6)
    last = robot.drive(7, 8)[-1]
    expected = ground_truth(3) @ inverse(ground_truth(6)) @ ground_truth(8)
    assert np.linalg.norm(matrix(last)[:3, 3] - expected[:3, 3]) < TOLERANCE


def test_odometry_stops_without_subscribers_unless_told_otherwise(robot: OdometryClient):
    def output_rate() -> float:
        robot.statuses.clear()
        robot.wait_until(lambda: len(robot.statuses) > 1, lambda: robot.publish_view(0))
        return float(values_of(robot.statuses[-1])["output rate (Hz)"])

    robot.subscribe()
    robot.spin(0.3)
    assert output_rate() == 0
    assert robot.set_parameters(run_without_subscribers=True)[0].successful
    assert output_rate() > 0
    assert robot.set_parameters(run_without_subscribers=False)[0].successful


def test_depth_and_image_of_different_frames_are_warned_about(robot: OdometryClient):
    frame, robot.frame = robot.frame, "depth_optical"
    publish = robot.images.publish
    robot.images.publish = lambda image: (
        fill_header(image.header, robot.stamp, frame),
        publish(image),
    )
    try:
        robot.wait_for_warning(
            "the depth image is in frame 'depth_optical' and the image in", lambda: robot.publish_view(0)
        )
    finally:
        robot.frame = frame
        del robot.images.publish


def test_contradicting_parameters_can_be_corrected_between_transitions(robot: OdometryClient):
    assert robot.change_state("deactivate") and robot.change_state("cleanup")
    assert robot.set_parameters(two_d_mode=True, base_frame="")[1].successful
    assert not robot.change_state("configure")
    robot.wait_for_status(DiagnosticStatus.ERROR, "two_d_mode constrains the motion of base_frame")
    assert all(r.successful for r in robot.set_parameters(two_d_mode=False, base_frame="base_link"))
    assert robot.change_state("configure") and robot.change_state("activate")
    assert not robot.set_parameters(odom_frame="map")[0].successful
    robot.wait_until_tracking()
