"""The real perception_node over real DDS: pairs in; depth, odometry and object motion out of one process."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from node_client import info_of
from odometry_client import KINDS, PERIOD, ROOM, T_BASE_CAMERA, OdometryClient, ground_truth, matrix
from sensor_msgs.msg import CameraInfo, Image

from depth_ros.engine import EngineSettings
from depth_ros.estimators.object_motion.estimator import ObjectMotionSettings
from depth_ros.estimators.odometry.scale import ScaleSettings
from depth_ros.estimators.odometry.settings import OdometrySettings
from depth_ros.estimators.stereo.estimator import StereoSettings
from depth_ros.geometry import inverse
from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.fill import fill_header, fill_image
from depth_ros.nodes.depth_node import DepthNodeSettings
from depth_ros.nodes.object_motion_node import ObjectMotionNodeSettings
from depth_ros.nodes.odometry_settings import OdometryNodeSettings
from depth_ros.nodes.stereo_depth_node import StereoDepthNodeSettings
from depth_ros.playback.play import node_process
from depth_ros.world.render import render_geometry, shade

OBJECT = 7
COMMAND = ["-m", "depth_ros.nodes.perception_node", "--ros-args"]
KINDS["depth/image_rect"] = KINDS["moving/labels"] = Image
SIZE = {eye: camera.resized(320, 240) for eye, camera in ROOM.cameras.items()}


class PairClient(OdometryClient):
    """A robot with two eyes in the room of `odometry_client`. labels: whether it says that one thing is an object."""

    def __init__(self, namespace: str, labels: bool = False) -> None:
        super().__init__(namespace)
        self.labels = self.node.create_publisher(Image, "labels", 1) if labels else None
        create = self.node.create_publisher
        self.eyes = {
            e: (create(Image, f"{e}/image", 1), create(CameraInfo, f"{e}/camera_info", 1)) for e in SIZE
        }

    def show(self, place: int | None, step: int = PERIOD) -> int:
        self.stamp += step
        if self.labels:
            numbers = np.zeros((240, 320), np.uint8)
            numbers[100:180, 100:200] = OBJECT
            image = Image()
            fill_image(image, numbers, "mono8")
            fill_header(image.header, self.stamp, self.frame)
            self.labels.publish(image)
        for eye, camera in SIZE.items():
            T = ROOM.pose(0) @ inverse(T_BASE_CAMERA) @ ground_truth(place or 0) @ T_BASE_CAMERA
            T[:3, 3] += camera.baseline * T[:3, 0]
            seen = render_geometry(ROOM.scene, camera, T, 0.0)
            image, info = Image(), info_of(camera)
            pixels = np.clip(255 * shade(ROOM.scene, seen, 0.0), 0, 255).astype(np.uint8)
            fill_image(image, pixels, "rgb8")
            for message in (info, image):
                fill_header(message.header, self.stamp, self.frame)
            self.eyes[eye][1].publish(info)
            self.eyes[eye][0].publish(image)
        return self.stamp


# before the module's client: Fast DDS 3.2 hangs in a participant that closes beside a silent one of the process
@pytest.mark.parametrize(
    "height, motion", [(0.0, set()), (1.2, {"object motion"})], ids=["unknown", "height"]
)
def test_a_model_of_one_image_without_a_scale(small_model, tmp_path, height, motion):
    """The parameter chooses the nodes, the card the scale: there are metres per second once something tells metres."""
    model = Path(shutil.copytree(small_model, tmp_path / "scaleless"))
    card = model / "card.yaml"
    card.write_text(card.read_text().replace("scale: metric", "scale: up_to_scale"))
    options = f"model:={model}", f"camera_height:={height}", "backend:=eager"
    with node_process([*COMMAND, *(w for p in options for w in ("-p", p))]) as (_, namespace):
        robot = OdometryClient(namespace)
        robot.wait_until(lambda: len(robot.statuses) > 5)
        names = {s.name.rpartition(": ")[2] for s in robot.statuses}
        topics = {name for name, _ in robot.node.get_topic_names_and_types()}
        robot.close()
    assert names == {"depth", "odometry"} | motion
    assert f"{namespace}/odom_up_to_scale" in topics and (f"{namespace}/odom" in topics) == bool(motion)


def test_a_network_says_how_objects_move(motion_model):
    """The parameters of object_motion_node's network reach it, and the labels its images."""
    options = f"motion_model:={motion_model}", "use_labels:=true", "min_speed:=0.0", "max_speed:=300.0"
    words = "model:=semi_global", "backend:=eager", *options
    with node_process([*COMMAND, *(w for p in words for w in ("-p", p))]) as (_, namespace):
        robot = PairClient(namespace, labels=True)
        robot.publish_mounting_pose()
        robot.subscribe("odom", "odometry/status", "moving/labels")
        robot.wait_until_tracking()

        def found() -> bool:
            return any(OBJECT in np.frombuffer(m.data, np.uint16) for m in robot.received["moving/labels"])

        robot.wait_until(found, lambda: robot.publish_view(0))
        assert not any("unknown parameters" in s.message for s in robot.statuses)
        robot.close()


@pytest.fixture(scope="module")
def robot() -> Iterator[PairClient]:
    with node_process([*COMMAND, "-p", "model:=semi_global", "-p", "two_d:=true"]) as (
        _,
        namespace,
    ):
        client = PairClient(namespace)
        client.publish_mounting_pose()
        yield client
        client.close()


def test_odometry_of_pairs_needs_no_depth_topic(robot: PairClient):
    robot.subscribe("odom", "odometry/status")
    robot.wait_until_tracking()
    last = robot.drive(*range(1, 9))[-1]
    error = inverse(ground_truth(8)) @ matrix(last)
    assert np.linalg.norm(error[:3, 3]) < 0.04 and last.pose.pose.position.z == 0.0


def test_depth_and_odometry_of_the_same_frames(robot: PairClient):
    robot.subscribe("odom", "odometry/status", "depth/image_rect")
    robot.wait_until_tracking(8)
    robot.subscribe("odom", "odometry/status", "depth/image_rect")
    odom = robot.drive(9, 10, 11)
    stamps = {stamp_ns(m.header) for m in robot.received["depth/image_rect"]}
    assert stamps >= {stamp_ns(m.header) for m in odom}
    names = {s.name.rpartition(": ")[2] for s in robot.statuses}
    assert names == {"stereo depth", "odometry", "object motion"}
    assert not any("unknown parameters" in s.message for s in robot.statuses)


def test_what_moves_is_told_of_the_same_frames_without_its_own_odometry(robot: PairClient):
    """Nothing moves in the room: label images of zeros, as soon as there are two frames in a row."""
    robot.subscribe("odom", "odometry/status", "moving/labels")
    robot.wait_until_tracking(8)
    for place in (8, 9, 10, 11, 12):
        robot.drive(place)
    found = robot.wait_until(lambda: robot.received["moving/labels"], lambda: robot.publish_view(12))
    stamps = {stamp_ns(m.header) for m in robot.received["odom"]}
    assert {stamp_ns(m.header) for m in found} <= stamps
    assert not any(np.frombuffer(m.data, np.uint16).any() for m in found)


def test_each_node_has_its_own_life_cycle(robot: PairClient):
    assert robot.change_state("deactivate") and robot.state() == "inactive"
    robot.subscribe("odom", "odometry/status", "depth/image_rect")
    robot.wait_until(lambda: robot.received["depth/image_rect"], lambda: robot.publish_view(11))
    assert not robot.received["odom"]
    assert robot.change_state("activate")
    robot.wait_until_tracking(11)


def test_parameters_that_nodes_share_mean_the_same():
    """`-p NAME:=VALUE` reaches every node of the process."""
    settings = [
        {f.name: f for kind in kinds for f in fields(kind)}
        for kinds in (
            (DepthNodeSettings, EngineSettings),
            (StereoDepthNodeSettings, StereoSettings, EngineSettings),
            (OdometryNodeSettings, OdometrySettings, ScaleSettings),
            (ObjectMotionNodeSettings, ObjectMotionSettings, EngineSettings),
        )
    ]
    for one, other in itertools.combinations(settings, 2):
        for name in set(one) & set(other) - {"model"}:
            assert type(one[name].default) is type(other[name].default), name
            assert one[name].metadata["choices"] == other[name].metadata["choices"], name


def test_a_model_that_does_not_exist():
    with node_process([*COMMAND, "-p", "model:=no_such_model"]) as (process, _):
        assert process.wait(60) == 1
