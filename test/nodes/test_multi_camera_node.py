"""The real multi_camera_node over DDS: four cameras share one thread; each has its topics, parameters, diagnostics."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from known_depth_node import SHORT
from node_client import Client, camera, image_of, info_of, values_of
from odometry_client import transform_message
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from depth_ros.errors import DepthRosError
from depth_ros.messages.decode import depth_from, stamp_ns
from depth_ros.messages.fill import fill_header
from depth_ros.nodes import depth_node
from depth_ros.nodes.multi_camera_node import camera_arguments, camera_names
from depth_ros.playback.play import node_process

CAMERAS = ("front", "left", "right", "rear")
SMALL = camera(64, 48)
SECONDS = 4.0


class Rig:
    """The drivers of the cameras, and subscribers of the depth of each."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client, create = client, client.node.create_publisher
        self.publishers = {
            name: [create(kind, f"{namespace}/{name}/{topic}", 1)
                   for kind, topic in ((CameraInfo, "info"), (Image, "image_raw"))]
            for name in CAMERAS
        }  # fmt: skip
        self.received: dict[str, list[Image]] = {name: [] for name in CAMERAS}
        for name in CAMERAS:
            client.node.create_subscription(
                Image,
                f"{namespace}/{name}/depth/image_rect",
                self.received[name].append,
                QoSProfile(depth=50),
            )

    def publish(self, name: str) -> None:
        self.client.stamp += 1_000_000
        info, image = info_of(SMALL), image_of(SMALL, SHORT)
        for message, publisher in zip((info, image), self.publishers[name], strict=True):
            fill_header(message.header, self.client.stamp, f"{name}_optical")
            publisher.publish(message)

    def run(self, seconds: float) -> None:
        """All cameras at 30 Hz, the front one at 60 Hz."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name in (*CAMERAS, "front"):
                self.publish(name)
            self.client.spin(1 / 30)


def check_merged_points(rig: Rig, namespace: str) -> None:
    """The points of all cameras, 100 m apart, are in one cloud in base_link."""
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    transforms, node = TFMessage(), rig.client.node
    for index, name in enumerate(CAMERAS):
        T = np.eye(4)
        T[0, 3] = 100 * index
        transforms.transforms += transform_message("base_link", f"{name}_optical", T).transforms
    node.create_publisher(TFMessage, "/tf_static", latched).publish(transforms)
    clouds: list[PointCloud2] = []
    node.create_subscription(PointCloud2, f"{namespace}/points_filtered", clouds.append, 5)

    def offsets() -> set[int]:
        points = np.frombuffer(clouds[-1].data, "<f4").reshape(-1, 5) if clouds else np.empty((0, 5))
        return set(np.rint(points[:, 0] / 100).astype(int))

    rig.client.wait_until(lambda: offsets() == {0, 1, 2, 3}, lambda: [rig.publish(name) for name in CAMERAS])
    assert clouds[-1].header.frame_id == "base_link"


def test_four_cameras_share_one_thread_fairly_and_a_signal_ends_it(tmp_path: Path):
    script, log = Path(__file__).with_name("known_multi_camera_node.py"), tmp_path / "log.txt"
    command = [
        str(script),
        str(log),
        "--ros-args",
        "-p",
        f"cameras:={','.join(CAMERAS)}",
        "-p",
        "base_frame:=base_link",
    ]
    command += ["-r", "image:=image_raw", "-r", "camera_info:=info"]
    with (
        node_process(command) as (process, namespace),
        closing(Client(f"{namespace}/front", depth_node)) as client,
    ):
        rig = Rig(client, namespace)
        client.wait_until(lambda: all(rig.received.values()), lambda: [rig.publish(name) for name in CAMERAS])
        assert client.set_parameters(depth_encoding="16UC1")[0].successful
        client.spin(0.5)
        for messages in rig.received.values():
            messages.clear()
        rig.run(SECONDS)
        counts = {name: len(messages) for name, messages in rig.received.items()}
        assert min(counts.values()) >= 3 and max(counts.values()) - min(counts.values()) <= 2, counts
        for name, messages in rig.received.items():
            assert messages[-1].header.frame_id == f"{name}_optical"
            assert messages[-1].encoding == ("16UC1" if name == "front" else "32FC1")
            assert depth_from(messages[-1])[5, 20] == pytest.approx(11.0)
            stamps = [stamp_ns(message.header) for message in messages]
            assert stamps == sorted(set(stamps))
        status = client.wait_until(lambda: client.statuses and client.statuses[-1])
        assert (
            status.name.endswith("front/depth_node: depth") and int(values_of(status)["dropped frames"]) > 0
        )
        check_merged_points(rig, namespace)
        rig.publish("rear")  # still being estimated when the signal comes
    assert process.returncode == 0


def test_namespace_and_topics_of_a_camera_are_those_of_the_node_below_its_own_namespace():
    topics = {"image": "/robot/color/image_raw", "camera_info": "/robot/color/camera_info"}
    node = SimpleNamespace(
        get_namespace=lambda: "/robot/depth_ros", resolve_topic_name=lambda name: topics[name]
    )
    assert camera_arguments("front", node)[2::2] == [
        "__ns:=/robot/front/depth_ros", "image:=/robot/front/color/image_raw",
        "camera_info:=/robot/front/color/camera_info",
    ]  # fmt: skip
    assert camera_arguments("/rear", node)[2] == "__ns:=/rear/depth_ros"


def test_names_of_cameras_are_checked():
    assert camera_names("front, /left/") == ["front", "/left"]
    for text in ("", "front,front"):
        with pytest.raises(DepthRosError, match="each once, separated by commas"):
            camera_names(text)
