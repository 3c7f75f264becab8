"""The real object_motion_node in a process of its own, over DDS: two cars on a rendered street."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from node_client import header_of, info_of, values_of
from odometry_client import OdometryClient, transform_message
from sensor_msgs.msg import Image, PointCloud2
from visualization_msgs.msg import Marker

from depth_ros.datatypes import Depth, Pose
from depth_ros.estimators.filters import FilterSettings, filtered
from depth_ros.geometry import T_BODY_OPTICAL, inverse
from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.fill import (
    MOVING_POINT_FIELDS,
    fill_depth,
    fill_header,
    fill_image,
    fill_odometry,
    fill_twist,
)
from depth_ros.nodes import object_motion_node
from depth_ros.playback.play import node_process
from depth_ros.recordings import Sample
from depth_ros.world import World, WorldSettings

COMMAND = ["-m", "depth_ros.nodes.object_motion_node", "--ros-args"]
WORLD = World(WorldSettings(seed=5, frames=6, width=480, height=144, moving_count=2, supersample=2))
FIELDS = [(n, "<u4" if n == "id" else "<f4") for n, _ in MOVING_POINT_FIELDS]
RESULTS = ("moving", "moving/labels", "moving/camera_info", "moving/points", "moving/objects")
PERIOD, PAUSE = 100_000_000, 10_000_000_000
"""ns between two frames, and between two runs of the sequence."""
FRAMES = range(1, 5)
"""Of the sequence that is published."""
CAR = 2
"""Label of the near car; the other is 40 m away."""


@functools.lru_cache
def view(index: int) -> Sample:
    return WORLD[index]


def depth_of(index: int) -> Depth:
    sample = view(index)
    return Depth(0, "", sample.depth, sample.left.camera, sample.left.image)


def points_in(message: PointCloud2) -> np.ndarray:
    return np.frombuffer(message.data, np.dtype(FIELDS))


def velocity(points: np.ndarray) -> np.ndarray:
    return np.stack([points[name] for name in ("vx", "vy", "vz")], -1)


class StreetClient(OdometryClient):
    """A car that drives along the street. publish_odom, publish_labels: whether it publishes these as well."""

    def __init__(self, namespace: str, publish_odom: bool = False, publish_labels: bool = False) -> None:
        super().__init__(namespace, object_motion_node)
        create = self.node.create_publisher
        self.odometry, self.labels = create(Odometry, "odom", 10), create(Image, "labels", 1)
        self.publish_odom, self.publish_labels = publish_odom, publish_labels

    def publish_sequence(self) -> None:
        self.stamp += PAUSE
        for index in FRAMES:
            self.stamp += PERIOD
            sample, image, depth, labels = view(index), Image(), Image(), Image()
            fill_image(image, sample.left.image, "rgb8")
            fill_depth(depth, sample.depth)
            fill_image(labels, sample.moving_objects.astype(np.uint8), "mono8")
            infos = [info_of(sample.left.camera) for _ in range(2)]
            for message in (image, depth, labels, *infos):
                fill_header(message.header, self.stamp, self.frame)
            self.infos.publish(infos[0])
            self.depth_infos.publish(infos[1])
            self.images.publish(image)
            self.depth_images.publish(depth)
            self.spin(0.05)
            if self.publish_odom:
                self.odometry.publish(self._odometry_message(index))
            if self.publish_labels:
                self.labels.publish(labels)
            self.spin(0.15)

    def _odometry_message(self, index: int) -> Odometry:
        message = Odometry()
        T = WORLD.pose(index) @ inverse(T_BODY_OPTICAL)
        fill_odometry(message, Pose(self.stamp, T, 1e-6 * np.eye(6)), "odom", "base_link")
        fill_twist(message.twist, np.zeros(6), 1e-4 * np.eye(6))
        return message

    def results_with_objects(self) -> list[tuple[int, list[Any]]]:
        """Index of the frame and messages on all subscribed topics, for the frames in which an object moves."""

        def complete() -> list[tuple[int, list[Any]]] | None:
            stamps = {stamp_ns(header_of(m)) for m in self.received["moving/objects"] if m.width}
            by_stamp = [{stamp_ns(header_of(m)): m for m in messages} for messages in self.received.values()]
            complete = sorted(stamps.intersection(*by_stamp))
            return [(self._index_of(stamp), [m[stamp] for m in by_stamp]) for stamp in complete]

        return self.wait_until(complete, self.publish_sequence)

    def _index_of(self, stamp: int) -> int:
        age = (self.stamp - stamp) % (PAUSE + len(FRAMES) * PERIOD)
        return FRAMES[-1] - age // PERIOD


@contextmanager
def running(*parameters: str, **options: bool) -> Iterator[StreetClient]:
    words = [w for p in ("relative_depth_std:=0.002", *parameters) for w in ("-p", p)]
    with node_process([*COMMAND, *words]) as (_, namespace):
        client = StreetClient(namespace, **options)
        client.static_transforms.publish(transform_message("base_link", client.frame, T_BODY_OPTICAL))
        yield client
        client.close()


def is_velocity_of_car(point: np.ndarray, index: int) -> bool:
    """Whether the velocity is that of the centre of the near car, in the camera, within 10 %."""
    ground_truth = view(index).velocities[CAR]
    return bool(np.linalg.norm(velocity(point) - ground_truth) < 0.1 * np.linalg.norm(ground_truth))


@pytest.fixture(scope="class")
def client() -> Iterator[StreetClient]:
    with running() as client:
        yield client


class TestOwnOdometryWithoutLabels:
    """One class, so that its client is closed before the next one is made: Fast DDS 3.2 hangs if one of two
    participants of a process closes."""

    def test_all_topics_show_the_near_car(self, client: StreetClient):
        client.subscribe(*RESULTS, "points_static", "points_moving")
        for index, (markers, labels, info, points, objects, *parts) in client.results_with_objects():
            centres = points_in(objects)
            assert labels.header == info.header == points.header == objects.header
            assert (labels.encoding, labels.header.frame_id) == ("mono16", client.frame)
            ids = np.frombuffer(labels.data, np.uint16).reshape(144, 480)
            near, is_car = centres[0], view(index).moving_objects == CAR
            found = ids == near["id"]
            assert (found & is_car).sum() > 0.5 * (found | is_car).sum()
            assert is_velocity_of_car(near, index) and near["vxx"] > 0 and near["vzz"] > 0
            cloud = points_in(points)
            assert set(np.unique(cloud["id"])) == set(centres["id"]) == set(np.unique(ids)) - {0}
            assert len(cloud) == np.isfinite(view(index).depth[ids > 0]).sum()
            assert np.array_equal(velocity(cloud[cloud["id"] == near["id"]])[0], velocity(near))
            static, moving = (np.frombuffer(part.data, "<f4").reshape(144, 480, 4) for part in parts)
            is_moving = np.isfinite(moving[..., 2])
            assert is_moving.any() and not is_moving[ids == 0].any()
            near_car = cv2.dilate((ids > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
            kept = np.isfinite(filtered(depth_of(index), FilterSettings()).depth)
            assert np.array_equal(np.isfinite(static[..., 2]), kept & ~near_car)
            arrows = [m for m in markers.markers if m.ns == "velocity"]
            assert markers.markers[0].action == Marker.DELETEALL
            assert {arrow.id for arrow in arrows} == set(centres["id"])
            start, end = arrows[0].points
            assert [end.x - start.x, end.z - start.z] == pytest.approx([near["vx"], near["vz"]], rel=1e-5)

    def test_no_objects_are_computed_without_subscribers(self, client: StreetClient):
        client.subscribe()
        client.spin(2.5)
        client.statuses.clear()
        client.publish_sequence()
        client.spin(1.2)
        values = [values_of(status) for status in client.statuses]
        assert values and all(v["output rate (Hz)"] == "0.0" and "estimate max (ms)" not in v for v in values)


def test_labels_and_the_odometry_of_another_node_are_used_although_they_arrive_after_the_depth():
    """Ids are those of the labels; TF has the mounting pose of the camera."""
    parameters = "ego_motion:=odom", "use_labels:=true"
    with running(*parameters, publish_odom=True, publish_labels=True) as client:
        client.subscribe("moving/labels", "moving/objects")
        for index, (labels, objects) in client.results_with_objects():
            ids, centres = np.frombuffer(labels.data, np.uint16).reshape(144, 480), points_in(objects)
            assert CAR in centres["id"] and set(centres["id"]) <= {1, CAR}
            assert np.array_equal(ids == CAR, view(index).moving_objects == CAR)
            assert is_velocity_of_car(centres[centres["id"] == CAR][0], index)
        square = Image()
        fill_image(square, np.zeros((144, 144), np.uint8), "mono8")
        client.publish_labels = False

        def publish_with_square_labels() -> None:
            client.publish_sequence()
            fill_header(square.header, client.stamp, client.frame)
            client.labels.publish(square)

        status = client.wait_for_warning("label image of 144x144 pixels", publish_with_square_labels)
        assert "different aspect ratios" in status.message


def test_a_missing_mounting_pose_is_warned_about():
    with running("ego_motion:=odom", publish_odom=True) as client:
        client.frame = "another_camera"
        client.subscribe("moving/objects")
        client.wait_for_warning("no transform from 'base_link' to 'another_camera'", client.publish_sequence)
        assert not client.received["moving/objects"]


def test_a_network_estimates_the_motion_of_labelled_objects(motion_model):
    """Without `use_labels` the node is not configured and reports what it needs."""
    speeds = "min_speed:=0.0", "max_speed:=300.0"
    parameters = f"motion_model:={motion_model}", "use_labels:=true", *speeds, "backend:=eager"
    with running(*parameters, publish_labels=True) as client:
        client.subscribe("moving/labels", "moving/objects")
        for index, (_, objects) in client.results_with_objects():
            centres = points_in(objects)
            assert index >= 3 and set(centres["id"]) <= {1, CAR} and (centres["vxx"] == 9999).all()
            assert np.isfinite(velocity(centres)).all()
    with running(f"motion_model:={motion_model}") as client:
        client.wait_for_status(DiagnosticStatus.ERROR, "needs instance labels: set use_labels to true")
