"""The real odometry_node in its own process, over real DDS, on a robot that rolls through a rendered room."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from odometry_client import PERIOD, STEP, TOLERANCE, OdometryClient, command, ground_truth, matrix, twist
from std_srvs.srv import Trigger

from depth_ros.geometry import inverse, se3_exp
from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.fill import fill_header, fill_pose
from depth_ros.playback.play import node_process

TOPICS = ("odom", "odometry/status", "path")


@pytest.fixture(scope="module")
def running() -> Iterator[OdometryClient]:
    with node_process(command("unwatched:=false")) as (_, namespace):
        client = OdometryClient(namespace)
        yield client
        client.close()


@pytest.fixture()
def robot(running: OdometryClient) -> OdometryClient:
    """Odometry that begins at place 0, whatever was before."""
    running.publish_mounting_pose()
    running.subscribe(*TOPICS)
    running.wait_until_tracking()
    running.trigger("reset_odom")
    running.subscribe(*TOPICS)
    running.wait_until_tracking()
    return running


def ask(robot: OdometryClient, service: str) -> Trigger.Response:
    client = robot.node.create_client(Trigger, service)
    robot.wait_until(client.service_is_ready)
    future = client.call_async(Trigger.Request())
    robot.wait_until(future.done)
    robot.node.destroy_client(client)
    return future.result()


def test_without_a_transform_it_says_what_is_missing(running: OdometryClient):
    running.subscribe(*TOPICS)
    status = running.wait_for_warning(
        "no transform from 'base_link' to 'camera_optical'", lambda: running.publish_view(0)
    )
    assert "static_transform_publisher --frame-id base_link --child-frame-id camera_optical" in status.message
    assert not running.received["odom"]


def test_forward_is_x_and_a_left_turn_is_yaw(robot: OdometryClient):
    """REP-103 and REP-105, of a base whose camera looks elsewhere: pose in odom, twist in base_link."""
    found = robot.drive(*range(1, 11))
    for place, message in enumerate(found, 1):
        assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")
        error = inverse(ground_truth(place)) @ matrix(message)
        assert np.linalg.norm(error[:3, 3]) < TOLERANCE and np.trace(error[:3, :3]) > 3 - 1e-3
        assert twist(message) == pytest.approx(STEP / 0.1, abs=0.15)
        for covariance in (message.pose.covariance, message.twist.covariance):
            C = np.array(covariance).reshape(6, 6)
            assert pytest.approx(C.T) == C and (np.linalg.eigvalsh(C) > 0).all() and C.max() < 0.1
    assert matrix(found[-1])[0, 3] > 0.35 and matrix(found[-1])[1, 0] > 0.15
    sizes = [np.trace(np.array(m.pose.covariance).reshape(6, 6)[:3, :3]) for m in found]
    assert sizes[-1] > sizes[2]  # before that it is the shutter that is not known


def test_status_and_path(robot: OdometryClient):
    robot.drive(*range(1, 9))
    status = robot.wait_for_frame(robot.stamp)
    values = {pair.key: pair.value for pair in status.values}
    assert status.level == DiagnosticStatus.OK and status.message == "tracking"
    assert abs(float(values["readout (ms)"])) < 10 and 0 < float(values["readout std (ms)"]) <= 20
    assert float(values["inliers (%)"]) > 80
    stages = {key for key in values if key.endswith("(ms)")}
    assert "receive (ms)" in stages and len(stages) >= 3
    path = robot.wait_until(lambda: robot.received["path"] and robot.received["path"][-1])
    places = np.array([[p.pose.position.x, p.pose.position.y] for p in path.poses])
    assert path.header.frame_id == "odom" and np.linalg.norm(places[-1] - ground_truth(8)[:2, 3]) < TOLERANCE
    assert len(places) == 4 and (np.linalg.norm(np.diff(places[:-1], axis=0), axis=1) >= 0.1).all()


def test_lost_is_said_and_nothing_is_published_until_it_is_found_again(robot: OdometryClient):
    robot.drive(1, 2)
    dark = robot.drive(None, None)
    assert dark == [None, None]
    status = robot.wait_for_frame(robot.stamp)
    assert (status.level, status.message) == (DiagnosticStatus.ERROR, "lost")
    robot.wait_for_warning("odometry is lost: nothing is published", lambda: robot.publish_view(None))
    robot.subscribe(*TOPICS)
    last = robot.wait_until_tracking(2)
    assert np.linalg.norm(matrix(last)[:3, 3] - ground_truth(2)[:3, 3]) < TOLERANCE


def test_time_that_goes_back_starts_it_anew_as_a_bag_that_loops(robot: OdometryClient):
    for _ in range(3):
        found = robot.drive(*range(1, 7))
        assert np.linalg.norm(matrix(found[-1])[:3, 3] - ground_truth(6)[:3, 3]) < TOLERANCE
        robot.stamp -= 20 * PERIOD
        robot.subscribe(*TOPICS)
        (first,) = robot.drive(0)
        assert matrix(first) == pytest.approx(np.eye(4)) and first.twist.covariance[0] == 9999
    late = robot.publish_view(0, interval=-PERIOD)  # late by one frame, that is no loop
    robot.stamp += PERIOD
    robot.wait_for_warning("after a newer one", lambda: robot.publish_view(0, interval=0))
    assert all(stamp_ns(m.header) != late for m in robot.received["odom"])
    robot.wait_for_warning("time went back by 5", lambda: robot.publish_view(0, interval=-5_000_000_000))
    robot.wait_for_warning("no frame for 3", lambda: robot.publish_view(0, interval=3_000_000_000))


def test_a_pose_that_is_set_counts_from_then_on(robot: OdometryClient):
    robot.drive(1, 2)
    there = se3_exp(np.array([0, 0, 0, 0, 0, np.pi / 2]))
    there[:3, 3] = 7, 8, 0
    message = PoseWithCovarianceStamped()
    message.header.frame_id = "map"
    fill_pose(message.pose.pose, there)
    robot.wait_for_warning("set_pose is in frame 'map'", lambda: robot.poses.publish(message))
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
    expected = there @ inverse(ground_truth(2)) @ ground_truth(5)
    assert np.linalg.norm(matrix(last)[:3, 3] - expected[:3, 3]) < TOLERANCE
    assert last.pose.covariance[0] > 0.25


def test_paused_it_stays_where_it_is(robot: OdometryClient):
    robot.drive(1, 2, 3)
    assert robot.trigger("pause_odom").success
    robot.subscribe(*TOPICS)
    for place in (4, 5, 6):
        robot.publish_view(place)
        robot.spin(0.1)
    assert not robot.received["odom"] and not robot.received["odometry/status"]
    assert robot.trigger("resume_odom").success and not robot.trigger("resume_odom").success
    robot.wait_until_tracking(6)
    last = robot.drive(7, 8)[-1]
    expected = ground_truth(3) @ inverse(ground_truth(6)) @ ground_truth(8)
    assert np.linalg.norm(matrix(last)[:3, 3] - expected[:3, 3]) < TOLERANCE


def test_nothing_is_computed_while_nobody_subscribes(robot: OdometryClient):
    def output_rate() -> float:
        robot.statuses.clear()
        robot.wait_until(lambda: len(robot.statuses) > 1, lambda: robot.publish_view(0))
        return float({p.key: p.value for p in robot.statuses[-1].values}["output rate (Hz)"])

    robot.subscribe()
    robot.spin(0.3)
    assert output_rate() == 0
    assert robot.set_parameters(unwatched=True)[0].successful
    assert output_rate() > 0
    assert robot.set_parameters(unwatched=False)[0].successful


def test_depth_and_image_that_do_not_belong_together(robot: OdometryClient):
    frame, robot.frame = robot.frame, "depth_optical"
    colour = robot.images.publish
    robot.images.publish = lambda image: (
        fill_header(image.header, robot.stamp, frame),
        colour(image),
    )
    try:
        robot.wait_for_warning(
            "depth is in frame 'depth_optical' and the image in", lambda: robot.publish_view(0)
        )
    finally:
        robot.frame = frame
        del robot.images.publish


def test_life_cycle(robot: OdometryClient):
    assert robot.change_state("deactivate") and robot.change_state("cleanup")
    assert robot.set_parameters(two_d=True, base_frame="")[1].successful
    assert not robot.change_state("configure")
    robot.wait_until(lambda: any("two_d holds" in s.message for s in robot.statuses))
    assert all(r.successful for r in robot.set_parameters(two_d=False, base_frame="base_link"))
    assert robot.change_state("configure") and robot.change_state("activate")
    assert not robot.set_parameters(odom_frame="map")[0].successful
    robot.wait_until_tracking()
