"""The bag that `replay --out x.mcap` writes, played over DDS: every topic is received, and a real node works on it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_client import Client
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader

from depth_ros.estimators.stereo.estimator import StereoEstimator
from depth_ros.messages.decode import stamp_ns
from depth_ros.nodes import odometry_node
from depth_ros.playback.kinds import STEREO
from depth_ros.playback.play import node_process
from depth_ros.playback.replay import ReplayOptions, replay
from depth_ros.world import World, WorldSettings

FRAMES = 8
INPUTS = {
    "/depth/image_rect": "depth/image_rect", "/depth/camera_info": "depth/camera_info",
    "/stereo/left/image_raw/compressed": "image/compressed", "/stereo/left/camera_info": "camera_info",
}  # fmt: skip
"""Topics of the bag -> those of odometry_node."""


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    street = World(WorldSettings(kind="street", frames=FRAMES, width=320, height=96, seed=4, moving_count=0))
    path = tmp_path_factory.mktemp("out") / "results.mcap"
    replay(street, StereoEstimator("semi_global"), STEREO, ReplayOptions(path, progress=False))
    return path


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    command = ["-m", "depth_ros.nodes.odometry_node", "--ros-args", "-p", "base_frame:=''"]
    with (
        node_process([*command, "-p", "image_transport:=compressed"]) as (_, namespace),
        closing(Client(namespace, odometry_node)) as client,
    ):
        yield client


def contents(bag: Path) -> dict[str, tuple[type, list[bytes]]]:
    """Types and serialised messages by topic; those whose package is not installed are left out."""
    found: dict[str, tuple[type, list[bytes]]] = {}
    with Reader(bag) as reader:
        for connection, _, data in reader.messages():
            package, _, name = connection.msgtype.split("/")
            if connection.topic not in found and importlib.util.find_spec(package):
                kind = getattr(importlib.import_module(f"{package}.msg"), name)
                found[connection.topic] = (kind, [])
            if connection.topic in found:
                found[connection.topic][1].append(bytes(data))
    return found


def test_every_topic_is_received_by_a_subscriber_of_its_type(bag: Path, client: Client):
    qos, played = QoSProfile(depth=50), contents(bag)
    assert {"/depth/image_rect", "/points", "/disparity", "/odom", "/path"} <= played.keys()
    received: dict[str, list[Any]] = {topic: [] for topic in played}
    publishers = {t: client.node.create_publisher(kind, f"played{t}", qos) for t, (kind, _) in played.items()}
    subscriptions = [
        client.node.create_subscription(kind, f"played{topic}", received[topic].append, qos)
        for topic, (kind, _) in played.items()
    ]
    client.wait_until(lambda: all(each.get_subscription_count() for each in publishers.values()))
    for topic, (kind, messages) in played.items():
        for data in messages:
            publishers[topic].publish(data)
            client.executor.spin_once(0.02)
        expected = [deserialize_message(data, kind) for data in messages]
        client.wait_until(lambda topic=topic, n=expected: len(received[topic]) >= len(n), timeout=20)
        assert received[topic] == expected, topic
    for each in subscriptions:
        client.node.destroy_subscription(each)


def test_the_real_odometry_node_follows_the_depth_of_the_bag(bag: Path, client: Client):
    played = contents(bag)
    publishers = {t: client.node.create_publisher(played[t][0], name, 5) for t, name in INPUTS.items()}
    client.subscribe("odom")
    client.wait_until(lambda: all(each.get_subscription_count() for each in publishers.values()))

    def send(index: int) -> None:
        for topic, publisher in publishers.items():
            publisher.publish(played[topic][1][index])

    expected = [deserialize_message(data, played["/odom"][0]) for data in played["/odom"][1]]
    for index, wanted in enumerate(expected):
        client.wait_until(
            lambda wanted=wanted: (
                stamp_ns(wanted.header) in [stamp_ns(m.header) for m in client.received["odom"]]
            ),
            lambda index=index: send(index),
        )
    ends = [m.pose.pose.position for m in (expected[-1], client.received["odom"][-1])]
    driven = np.linalg.norm([ends[0].x, ends[0].y, ends[0].z])
    assert driven > 1 and np.linalg.norm([ends[1].x, ends[1].y, ends[1].z]) == pytest.approx(driven, rel=0.05)
