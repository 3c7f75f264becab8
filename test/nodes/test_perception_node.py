"""The real perception_node, over DDS: depth, odometry and object motion from stereo pairs in one process."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_client import Client, info_of
from odometry_client import PERIOD, ROOM, STEP, T_BASE_CAMERA, OdometryClient, ground_truth, matrix
from sensor_msgs.msg import CameraInfo, Image

from depth_ros.geometry import inverse
from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.fill import fill_header, fill_image
from depth_ros.nodes import depth_node, object_motion_node, odometry_node, stereo_depth_node
from depth_ros.playback.play import node_process
from depth_ros.world.render import render_geometry, shade

OBJECT = 7
"""Label of an object."""
CAMERAS = {side: camera.resized(320, 240) for side, camera in ROOM.cameras.items()}


def command(*parameters: str) -> list[str]:
    words = [word for parameter in parameters for word in ("-p", parameter)]
    return ["-m", "depth_ros.nodes.perception_node", "--ros-args", *words]


class PairClient(OdometryClient):
    """An OdometryClient with a stereo camera. labels: whether it publishes label images with one object."""

    def __init__(self, namespace: str, labels: bool = False) -> None:
        super().__init__(namespace, odometry_node, stereo_depth_node, object_motion_node)
        self.labels = self.node.create_publisher(Image, "labels", 1) if labels else None
        create = self.node.create_publisher
        self.cameras = {
            side: (create(CameraInfo, f"{side}/camera_info", 1), create(Image, f"{side}/image", 1))
            for side in CAMERAS
        }

    def publish_view(self, count: float | None, interval: int = PERIOD, step: np.ndarray = STEP) -> int:
        self.stamp += interval
        if self.labels:
            ids, labels = np.zeros((240, 320), np.uint8), Image()
            ids[100:180, 100:200] = OBJECT
            fill_image(labels, ids, "mono8")
            fill_header(labels.header, self.stamp, self.frame)
            self.labels.publish(labels)
        for side, camera in CAMERAS.items():
            T = ROOM.pose(0) @ inverse(T_BASE_CAMERA) @ ground_truth(count or 0) @ T_BASE_CAMERA
            T[:3, 3] += camera.baseline * T[:3, 0]
            geometry = render_geometry(ROOM.scene, camera, T, 0.0)
            image, info = Image(), info_of(camera)
            pixels = np.clip(255 * shade(ROOM.scene, geometry, 0.0), 0, 255).astype(np.uint8)
            fill_image(image, pixels, "rgb8")
            for message, publisher in zip((info, image), self.cameras[side]):
                fill_header(message.header, self.stamp, self.frame)
                publisher.publish(message)
        return self.stamp


# Before the client of the module: Fast DDS 3.2 hangs if one of two participants of a process closes.
@pytest.mark.parametrize(
    "height, motion", [(0.0, set()), (1.2, {"object motion"})], ids=["unknown", "height"]
)
def test_an_up_to_scale_model_selects_depth_node_and_object_motion_needs_a_source_of_the_scale(
    small_model, tmp_path, height, motion
):
    model = Path(shutil.copytree(small_model, tmp_path / "scaleless"))
    card = model / "card.yaml"
    card.write_text(card.read_text().replace("scale: metric", "scale: up_to_scale"))
    parameters = f"model:={model}", f"camera_height:={height}", "backend:=eager"
    with node_process(command(*parameters)) as (_, namespace):
        robot = OdometryClient(namespace)
        robot.wait_until(lambda: len(robot.statuses) > 5)
        names = {s.name.rpartition(": ")[2] for s in robot.statuses}
        topics = {name for name, _ in robot.node.get_topic_names_and_types()}
        robot.close()
    assert names == {"depth", "odometry"} | motion
    assert f"{namespace}/odom_up_to_scale" in topics and (f"{namespace}/odom" in topics) == bool(motion)


def test_object_motion_uses_a_network_and_labels(motion_model):
    objects = f"motion_model:={motion_model}", "use_labels:=true", "min_speed:=0.0", "max_speed:=300.0"
    with node_process(command("model:=semi_global", "backend:=eager", *objects)) as (_, namespace):
        robot = PairClient(namespace, labels=True)
        robot.publish_mounting_pose()
        robot.subscribe("odom", "odometry/status", "moving/labels")
        robot.wait_until_tracking()

        def has_object() -> bool:
            return any(OBJECT in np.frombuffer(m.data, np.uint16) for m in robot.received["moving/labels"])

        robot.wait_until(has_object, lambda: robot.publish_view(0))
        assert not any("unknown parameters" in s.message for s in robot.statuses)
        robot.close()


@pytest.fixture(scope="module")
def robot() -> Iterator[PairClient]:
    with node_process(command("model:=semi_global", "two_d_mode:=true")) as (_, namespace):
        client = PairClient(namespace)
        client.publish_mounting_pose()
        yield client
        client.close()


def test_odometry_needs_no_depth_topic(robot: PairClient):
    robot.subscribe("odom", "odometry/status")
    robot.wait_until_tracking()
    last = robot.drive(*range(1, 9))[-1]
    error = inverse(ground_truth(8)) @ matrix(last)
    assert np.linalg.norm(error[:3, 3]) < 0.04 and last.pose.pose.position.z == 0.0


def test_depth_and_odometry_are_of_the_same_frames(robot: PairClient):
    robot.subscribe("odom", "odometry/status", "depth/image_rect")
    robot.wait_until_tracking(8)
    robot.subscribe("odom", "odometry/status", "depth/image_rect")
    odom = robot.drive(9, 10, 11)
    stamps = {stamp_ns(m.header) for m in robot.received["depth/image_rect"]}
    assert stamps >= {stamp_ns(m.header) for m in odom}
    names = {s.name.rpartition(": ")[2] for s in robot.statuses}
    assert names == {"stereo depth", "odometry", "object motion"}
    assert not any("unknown parameters" in s.message for s in robot.statuses)


def test_object_motion_uses_the_odometry_of_the_process(robot: PairClient):
    """Nothing moves in the room: label images of zeros, from the second frame on."""
    robot.subscribe("odom", "odometry/status", "moving/labels")
    robot.wait_until_tracking(8)
    robot.drive(8, 9, 10, 11, 12)
    labels = robot.wait_until(lambda: robot.received["moving/labels"], lambda: robot.publish_view(12))
    stamps = {stamp_ns(m.header) for m in robot.received["odom"]}
    assert {stamp_ns(m.header) for m in labels} <= stamps
    assert not any(np.frombuffer(m.data, np.uint16).any() for m in labels)


def test_each_node_has_its_own_life_cycle(robot: PairClient):
    assert robot.change_state("deactivate") and robot.state() == "inactive"
    robot.subscribe("odom", "odometry/status", "depth/image_rect")
    robot.wait_until(lambda: robot.received["depth/image_rect"], lambda: robot.publish_view(11))
    assert not robot.received["odom"]
    assert robot.change_state("activate")
    robot.wait_until_tracking(11)


def test_parameters_of_the_same_name_have_the_same_type_in_all_nodes():
    """`-p NAME:=VALUE` reaches every node of the process."""
    modules = (depth_node, stereo_depth_node, odometry_node, object_motion_node)
    settings = [{f.name: f for kind in module.SETTINGS for f in fields(kind)} for module in modules]
    for one, other in itertools.combinations(settings, 2):
        for name in set(one) & set(other) - {"model"}:
            assert type(one[name].default) is type(other[name].default), name
            assert one[name].metadata["choices"] == other[name].metadata["choices"], name


def test_a_model_that_does_not_exist_is_an_error_in_diagnostics_and_can_be_corrected(small_model: Path):
    with (
        node_process(command("model:=no_such_model")) as (process, namespace),
        closing(Client(namespace, depth_node)) as client,
    ):
        client.wait_for_status(
            DiagnosticStatus.ERROR, "cannot configure: no model 'no_such_model'; available"
        )
        assert client.set_parameters(model=str(small_model))[0].successful
        assert client.change_state("configure") and process.poll() is None
