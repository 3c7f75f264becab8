"""Nodes beside camera drivers: the topics of each driver, and our nodes as the launch files start them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import rclpy
import yaml
from node_client import Client
from sensor_msgs.msg import CameraInfo, Image

sys.path.append(str(Path(__file__).resolve().parents[1]))
from camera_drivers import DRIVERS, Stream
from launch_files import LaunchFile
from node_tables import ROOT

from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.fill import fill_header
from depth_ros.nodes import depth_node, object_motion_node, odometry_node, planes_node, stereo_depth_node
from depth_ros.playback.play import node_process

WIDTH, HEIGHT, FOCAL_LENGTH, BASELINE = 64, 48, 50.0, 0.1
CHANNELS = {"mono8": 1, "rgb8": 3, "bgr8": 3, "bgra8": 4}
SHARED = {"/tf", "/tf_static", "/diagnostics", "/rosout", "/parameter_events", "/clock"}
"""Topics on which many nodes publish."""
FOLDER = Path(__file__).parent
PAIRS = [name for name, driver in DRIVERS.items() if any(stream.right for stream in driver.streams)]
DEPTHS = ["realsense", "zed", "oak", "gazebo"]


class FakeDriver:
    """Publishes all topics of a driver in a ROS context of its own, and its images on `send`."""

    def __init__(self, name: str) -> None:
        self.driver = DRIVERS[name]
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        namespace, _, node = self.driver.node.rpartition("/")
        self.node = rclpy.create_node(node, namespace=namespace or "/", context=self.context)
        self.publishers = {
            topic: self.node.create_publisher(kind, topic, 10) for topic, kind in self.driver.topics.items()
        }
        self.stamp = 1_000_000_000

    def close(self) -> None:
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def send(self) -> None:
        """One image on each stream, with its camera_info."""
        self.stamp += 100_000_000
        for stream in self.driver.streams:
            image, info = image_of(stream), info_of(stream)
            fill_header(image.header, self.stamp, stream.frame_id)
            fill_header(info.header, self.stamp, stream.info_frame_id or stream.frame_id)
            self.publishers[stream.camera_info].publish(info)
            self.publishers[stream.topic].publish(image)


def image_of(stream: Stream) -> Image:
    """Noise, or 2 m everywhere in a depth image."""
    if stream.encoding in CHANNELS:
        shape = (HEIGHT, WIDTH, CHANNELS[stream.encoding])
        pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    else:
        pixels = (
            np.full((HEIGHT, WIDTH), 2000, np.uint16)
            if stream.encoding == "16UC1"
            else np.full((HEIGHT, WIDTH), 2.0, np.float32)
        )
    message = Image(height=HEIGHT, width=WIDTH, encoding=stream.encoding, step=pixels[0].nbytes)
    message.data.frombytes(pixels.tobytes())
    return message


def info_of(stream: Stream) -> CameraInfo:
    f, cx, cy = FOCAL_LENGTH, (WIDTH - 1) / 2, (HEIGHT - 1) / 2
    tx = -f * BASELINE if stream.right else 0.0
    info = CameraInfo(height=HEIGHT, width=WIDTH, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0]
    info.p = [f, 0.0, cx, tx, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    info.r = [1.0, stream.rotation, 0.0, -stream.rotation, 1.0, 0.0, 0.0, 0.0, 1.0]
    if stream.distorted:
        info.d = [-0.05, 0.06, 0.0, 0.0, -0.02]
    return info


@contextmanager
def robot(
    driver: str, module: ModuleType, script: str = "", **given: str
) -> Iterator[tuple[FakeDriver, Client]]:
    """The driver and our node, as its launch file starts it for that driver. script: instead of the node's module."""
    name = module.__name__.rpartition(".")[2].removesuffix("_node")
    launch = LaunchFile(ROOT / f"launch/{name}.launch.xml")
    namespace = launch.completed(driver=driver)["namespace"]
    words = [str(FOLDER / script), "/dev/null"] if script else ["-m", module.__name__]
    words += ["--ros-args", "-r", f"__ns:={namespace}"]
    for source, target in launch.remaps(driver=driver, **given).items():
        words += ["-r", f"{source}:={target}"]
    parameters = launch.node_parameters(driver=driver, use_sim_time="false", **given)
    fake = FakeDriver(driver)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"/**": {"ros__parameters": parameters}}, file, default_flow_style=False)
        file.flush()
        with node_process([*words, "--params-file", file.name]):
            client = Client(namespace, module)
            try:
                yield fake, client
            finally:
                client.close()
                fake.close()


def collisions(client: Client) -> dict[str, list[str]]:
    """Topics on which several nodes publish, or that have several types."""
    found = {}
    for topic, types in client.node.get_topic_names_and_types():
        publishers = client.node.get_publishers_info_by_topic(topic)
        nodes = sorted({f"{p.node_namespace.rstrip('/')}/{p.node_name}" for p in publishers})
        if topic not in SHARED and (len(nodes) > 1 or len(types) > 1):
            found[topic] = [*nodes, *types]
    return found


def check(fake: FakeDriver, client: Client, *topics: str) -> None:
    """Results arrive for the images of the driver, nothing is warned of, and no topic has two publishers."""
    client.subscribe(*topics)
    client.wait_until(lambda: all(client.received.values()), fake.send)
    stamps = {stamp_ns(client.received[topic][-1].header) for topic in topics}
    assert all(1_000_000_000 < stamp <= fake.stamp for stamp in stamps)
    client.statuses.clear()
    client.wait_until(lambda: len(client.statuses) > 3, fake.send)
    assert {status.message for status in client.statuses} == {"ok"}
    assert collisions(client) == {}


@pytest.mark.parametrize("driver", DRIVERS)
def test_depth_of_the_images_of_a_driver(driver: str):
    with robot(driver, depth_node, "known_depth_node.py") as (fake, client):
        check(fake, client, "depth/image_rect", "depth/camera_info", "points")
        image = LaunchFile(ROOT / "launch/depth.launch.xml").remaps(driver=driver)["image"]
        frame_id = client.received["depth/image_rect"][-1].header.frame_id
        assert frame_id == fake.driver.stream(image).frame_id


@pytest.mark.parametrize("driver", PAIRS)
def test_depth_of_the_pairs_of_a_driver(driver: str):
    with robot(driver, stereo_depth_node, "known_stereo_node.py", check_pairs="false") as (fake, client):
        check(fake, client, "disparity", "depth/image_rect")
        assert client.received["disparity"][-1].t == pytest.approx(BASELINE)


@pytest.mark.parametrize("driver", DEPTHS)
def test_planes_of_the_depth_images_of_a_driver(driver: str):
    with robot(driver, planes_node, source="depth") as (fake, client):
        check(fake, client, "planes/labels")


@pytest.mark.parametrize(
    ("name", "driver"), [*(("odometry", driver) for driver in DEPTHS), ("object_motion", "realsense")]
)
def test_depth_and_image_of_a_driver_are_paired(name: str, driver: str):
    module = {"odometry": odometry_node, "object_motion": object_motion_node}[name]
    topic = {"odometry": "odometry/status", "object_motion": "moving/labels"}[name]
    given = {"odometry": {"base_frame": ""}, "object_motion": {}}[name]  # otherwise TF would be needed
    with robot(driver, module, **given) as (fake, client):
        client.subscribe(topic)
        client.wait_until(lambda: client.received[topic], fake.send)
        assert collisions(client) == {}


def test_other_publishers_of_an_output_are_named_with_a_remap():
    """A node that is started among the topics of a driver with the same name, as the launch files do not."""
    with node_process(["-m", planes_node.__name__, "--ros-args", "-p", "source:=depth"]) as (_, namespace):
        client = Client(namespace, planes_node)
        other = client.node.create_publisher(CameraInfo, "planes/camera_info", 1)
        status = client.wait_for_warning("is also published by")
        assert f"'{namespace}/planes/camera_info' is also published by {namespace}/client" in status.message
        assert "-r planes/camera_info:=depth_ros/planes/camera_info" in status.message
        client.node.destroy_publisher(other)
        client.close()
