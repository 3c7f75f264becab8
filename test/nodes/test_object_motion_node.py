"""The real object_motion_node over real DDS: two cars on a rendered street, seen from a moving one."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from node_client import info_of
from odometry_client import OdometryClient, transform_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from depth_ros.datasets import Sample
from depth_ros.datatypes import Pose
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
from depth_ros.playback.play import node_process
from depth_ros.world import World, WorldSettings

COMMAND = ["-m", "depth_ros.nodes.object_motion_node", "--ros-args"]
WORLD = World(WorldSettings(seed=5, frames=6, width=480, height=144, moving_count=2, supersample=2))
FIELDS = [(n, "<u4" if n == "id" else "<f4") for n, _ in MOVING_POINT_FIELDS]
KINDS = {"moving": MarkerArray, "moving/labels": Image, "moving/camera_info": CameraInfo,
         "moving/points": PointCloud2, "moving/objects": PointCloud2}  # fmt: skip
PERIOD, APART = 100_000_000, 10_000_000_000
"""ns between two frames, and between two passes of the street."""


@functools.lru_cache
def view(index: int) -> Sample:
    return WORLD[index]


def cloud(message: PointCloud2) -> np.ndarray:
    return np.frombuffer(message.data, np.dtype(FIELDS))


def velocity(points: np.ndarray) -> np.ndarray:
    return np.stack([points[name] for name in ("vx", "vy", "vz")], -1)


class StreetClient(OdometryClient):
    """Who drives down the street. odom: whether it says so itself; labels: whether it knows what is one car."""

    def __init__(self, namespace: str, odom: bool = False, labels: bool = False) -> None:
        super().__init__(namespace)
        self.name = "object_motion_node"
        create = self.node.create_publisher
        self.odometry, self.labels = create(Odometry, "odom", 10), create(Image, "labels", 1)
        self.says_odom, self.says_labels = odom, labels

    def listen(self, *topics: str) -> None:
        for subscription in self._subscriptions:
            self.node.destroy_subscription(subscription)
        self.received = {topic: [] for topic in topics}
        self._subscriptions = [
            self.node.create_subscription(KINDS[t], t, self.received[t].append, 20) for t in topics
        ]

    def pass_by(self) -> None:
        """The street from its begin to its end."""
        self.stamp += APART
        for index in range(1, 5):
            self.stamp += PERIOD
            sample, colour, depth, labels = view(index), Image(), Image(), Image()
            fill_image(colour, sample.left.image, "rgb8")
            fill_depth(depth, sample.depth)
            fill_image(labels, sample.moving_objects.astype(np.uint8), "mono8")
            infos = [info_of(sample.left.camera) for _ in range(2)]
            for message in (colour, depth, labels, *infos):
                fill_header(message.header, self.stamp, self.frame)
            self.infos.publish(infos[0])
            self.depth_infos.publish(infos[1])
            self.images.publish(colour)
            self.depths.publish(depth)
            self.spin(0.05)
            if self.says_odom:
                self.odometry.publish(self._odom(index))
            if self.says_labels:
                self.labels.publish(labels)
            self.spin(0.15)

    def _odom(self, index: int) -> Odometry:
        message = Odometry()
        T = WORLD.pose(index) @ inverse(T_BODY_OPTICAL)
        fill_odometry(message, Pose(self.stamp, T, 1e-6 * np.eye(6)), "odom", "base_link")
        fill_twist(message.twist, np.zeros(6), 1e-4 * np.eye(6))
        return message

    def complete(self) -> dict[str, list]:
        """What came of one pass, of the frames in which something moves: on all topics."""

        def whole() -> dict[str, list] | None:
            some = {stamp_ns(head(m)) for m in self.received["moving/objects"] if m.width}
            by_stamp = [
                {stamp_ns(head(m)): m for m in found if stamp_ns(head(m)) in some}
                for found in self.received.values()
            ]
            common = sorted(set.intersection(*map(set, by_stamp)))
            return {t: [by[s] for s in common] for t, by in zip(self.received, by_stamp)} if common else None

        return self.wait_until(whole, self.pass_by)


def head(message):
    return message.markers[0].header if isinstance(message, MarkerArray) else message.header


@contextmanager
def running(*parameters: str, **says: bool) -> Iterator[StreetClient]:
    words = [w for p in ("relative_depth_std:=0.002", *parameters) for w in ("-p", p)]
    with node_process([*COMMAND, *words]) as (_, namespace):
        client = StreetClient(namespace, **says)
        client.static.publish(transform_message("base_link", client.frame, T_BODY_OPTICAL))
        yield client
        client.close()


CAR = 2
"""The near one; the other is 40 m off."""


def ground_truth(index: int) -> np.ndarray:
    """Velocity (3,) m/s of the middle of the near car, in the camera."""
    return view(index).velocities[CAR]


def place_of(message, client: StreetClient) -> int:
    """Which frame of the street a message is of."""
    behind = (client.stamp - stamp_ns(head(message))) % (APART + 4 * PERIOD)
    return 4 - behind // PERIOD


def is_right(found: np.ndarray, index: int) -> bool:
    return bool(
        np.linalg.norm(velocity(found) - ground_truth(index)) < 0.1 * np.linalg.norm(ground_truth(index))
    )


@pytest.fixture(scope="class")
def client() -> Iterator[StreetClient]:
    with running() as client:
        yield client


class TestByItself:
    """With the node's own odometry and without any labels. One class, so that its client is gone before the next ones
    come: Fast DDS 3.2 hangs in a participant that closes while another one of the process is silent."""

    def test_what_moves_and_how_fast(self, client: StreetClient):
        """With the node's own odometry and without any labels: the near car, as every topic says it."""
        client.subscribe(*KINDS)
        got = client.complete()
        for markers, labels, info, points, objects in zip(*(got[topic] for topic in KINDS), strict=True):
            index, found = place_of(labels, client), cloud(objects)
            assert labels.header == info.header == points.header == objects.header
            assert (labels.encoding, labels.header.frame_id) == ("mono16", client.frame)
            ids, near, real = (
                np.frombuffer(labels.data, np.uint16).reshape(144, 480),
                found[0],
                view(index).moving_objects,
            )
            seen = ids == near["id"]
            assert (seen & (real == CAR)).sum() > 0.5 * (seen | (real == CAR)).sum()
            assert is_right(near, index) and near["vxx"] > 0 and near["vzz"] > 0
            every = cloud(points)
            assert set(np.unique(every["id"])) == set(found["id"]) == set(np.unique(ids)) - {0}
            assert len(every) == np.isfinite(view(index).depth[ids > 0]).sum()
            assert np.array_equal(velocity(every[every["id"] == near["id"]])[0], velocity(near))
            arrows = [m for m in markers.markers if m.ns == "velocity"]
            assert markers.markers[0].action == Marker.DELETEALL and {a.id for a in arrows} == set(
                found["id"]
            )
            start, end = arrows[0].points
            assert [end.x - start.x, end.z - start.z] == pytest.approx([near["vx"], near["vz"]], rel=1e-5)

    def test_nothing_is_computed_without_a_subscriber(self, client: StreetClient):
        client.subscribe()
        client.spin(2.5)
        client.statuses.clear()
        client.pass_by()
        client.spin(1.2)
        values = [{pair.key: pair.value for pair in status.values} for status in client.statuses]
        assert values and all(v["output rate (Hz)"] == "0.0" and "estimate max (ms)" not in v for v in values)


def test_with_instances_and_the_odometry_of_a_robot():
    """Both come after the depth; ids are those of the labels, and TF says where the camera is on the robot."""
    with running("ego_motion:=odom", "use_labels:=true", odom=True, labels=True) as client:
        client.subscribe("moving/labels", "moving/objects")
        got = client.complete()
        for labels, objects in zip(*got.values(), strict=True):
            index, found = place_of(labels, client), cloud(objects)
            ids = np.frombuffer(labels.data, np.uint16).reshape(144, 480)
            assert CAR in found["id"] and set(found["id"]) <= {1, CAR}
            assert np.array_equal(ids == CAR, view(index).moving_objects == CAR)
            assert is_right(found[found["id"] == CAR][0], index)
        wrong = Image()
        fill_image(wrong, np.zeros((144, 144), np.uint8), "mono8")
        client.says_labels = False

        def mislabel() -> None:
            client.pass_by()
            fill_header(wrong.header, client.stamp, client.frame)
            client.labels.publish(wrong)

        assert "another shape" in client.wait_for_warning("label image is 144x144", mislabel).message


def test_without_a_place_on_the_robot_it_says_so():
    with running("ego_motion:=odom", odom=True) as client:
        client.frame = "another_camera"
        client.subscribe("moving/objects")
        client.wait_for_warning("no transform from 'base_link' to 'another_camera'", client.pass_by)
        assert not client.received["moving/objects"]


def test_by_a_network(motion_model):
    """A model of task object_motion takes the labels; without `use_labels` the node says what it needs."""
    words = (
        f"motion_model:={motion_model}",
        "use_labels:=true",
        "min_speed:=0.0",
        "max_speed:=300.0",
        "backend:=eager",
    )
    with running(*words, labels=True) as client:
        client.subscribe("moving/labels", "moving/objects")
        for labels, objects in zip(*client.complete().values(), strict=True):
            index, found = place_of(labels, client), cloud(objects)
            assert index >= 3 and set(found["id"]) <= {1, CAR} and (found["vxx"] == 9999).all()
            assert np.isfinite(velocity(found)).all()
    with running(f"motion_model:={motion_model}") as client:
        status = client.wait_until(
            lambda: next((s for s in client.statuses if "cannot configure" in s.message), None)
        )
        assert "needs to be told what is one object: set use_labels" in status.message
