"""Depth that is wrong by a factor, in the real nodes over DDS: the height of the camera over the road reveals it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from node_client import Client, image_of, info_of, values_of
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from stereo_client import StereoClient
from tf2_msgs.msg import TFMessage

from depth_ros.datatypes import Frame
from depth_ros.estimators.depth_doubts import MEASUREMENTS
from depth_ros.messages.fill import fill_image, fill_transform
from depth_ros.nodes import depth_node
from depth_ros.playback.play import node_process
from depth_ros.recordings import open_recording
from depth_ros.world import World, WorldSettings

WARNING = "the floor lies at"
RATIO = "depth of the floor / expected"


def mount(client: Client, *mountings: tuple[str, str, np.ndarray]) -> Publisher:
    """Publish transforms on /tf_static: parent, child, (4, 4)."""
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = client.node.create_publisher(TFMessage, "/tf_static", latched)
    message = TFMessage()
    for parent, child, T in mountings:
        each = TransformStamped(child_frame_id=child)
        each.header.frame_id = parent
        fill_transform(each.transform, T)
        message.transforms.append(each)
    publisher.publish(message)
    return publisher


def send_frame(client: Client, frame: Frame) -> Callable[[], int]:
    message = image_of(frame.camera)
    fill_image(message, frame.image, "rgb8")
    return lambda: client.publish(message, info_of(frame.camera), step=200_000_000)


def measured(client: Client, send: Callable[[], int], low: float, high: float) -> DiagnosticStatus:
    """The last of so many statuses with such a ratio that the doubts of all images before are over."""
    client.subscribe("depth/image_rect")
    client.statuses.clear()

    def found() -> DiagnosticStatus | None:
        ratios = [values_of(s).get(RATIO, "unknown") for s in client.statuses]
        inside = [s[0].isdigit() and low < float(s) < high for s in ratios]
        return client.statuses[-1] if sum(inside) > 2 * MEASUREMENTS and inside[-1] else None

    return client.wait_until(found, send)


@pytest.fixture(scope="module")
def mono() -> Iterator[Client]:
    """depth_node with model mono_driving, and base_link on the road."""
    parameters = ("model:=mono_driving", "base_frame:=base_link", "backend:=eager")
    command = ["-m", "depth_ros.nodes.depth_node", "--ros-args", *(w for p in parameters for w in ("-p", p))]
    with node_process(command) as (_, namespace), closing(Client(namespace, depth_node)) as client:
        yield client


def test_a_model_of_rooms_is_doubted_on_a_road_and_one_of_roads_is_not(mono: Client):
    sample = World(WorldSettings(kind="street", frames=1, seed=1, moving_count=0))[0]
    publisher = mount(mono, ("base_link", "front_optical", sample.T_world_camera))
    send = send_frame(mono, sample.left)
    status = measured(mono, send, 0.85, 1.15)
    assert WARNING not in status.message and "is unsure" not in status.message
    assert "0.0" < values_of(status)["standard deviation / depth"] < "0.4"
    assert mono.set_parameters(model="mono")[0].successful
    status = measured(mono, send, 0.3, 0.7)
    assert WARNING in status.message and "model 'mono' does not know such scenes" in status.message
    mono.node.destroy_publisher(publisher)


def test_a_model_of_rooms_is_doubted_on_a_recorded_road(mono: Client, data_root: Path):
    """The camera of KITTI is 1.65 m above the road, and level."""
    frame = open_recording(data_root / "kitti_raw_road")[0].left
    T = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.65], [0, 0, 0, 1.0]])
    publisher = mount(mono, ("base_link", "front_optical", T))
    assert mono.set_parameters(model="mono")[0].successful
    status = measured(mono, send_frame(mono, frame), 0.2, 0.6)
    assert WARNING in status.message and "1.65 m above 'base_link'" in status.message
    mono.node.destroy_publisher(publisher)


def test_a_wrong_baseline_is_revealed_by_the_road():
    """Without base_frame: `base_footprint` is on the ground by convention, whatever `base_link` is."""
    sample = World(WorldSettings(kind="street", frames=1, seed=1, moving_count=0))[0]
    left, right = sample.left, sample.right
    assert right is not None
    P = right.camera.P.copy()
    P[0, 3] *= 0.5
    camera = replace(right.camera, P=P)
    T, lifted = sample.T_world_camera.copy(), np.eye(4)
    T[2, 3] -= 0.6
    lifted[2, 3] = 0.6
    command = ["-m", "depth_ros.nodes.stereo_depth_node", "--ros-args", "-p", "model:=semi_global"]
    with node_process(command) as (_, namespace), closing(StereoClient(namespace)) as client:
        mount(client, ("base_footprint", "base_link", lifted), ("base_link", "left_optical", T))
        pair = {"left": (left.image, left.camera), "right": (right.image, right.camera)}
        assert WARNING not in measured(client, lambda: client.send(pair), 0.95, 1.05).message
        pair["right"] = right.image, camera
        message = measured(client, lambda: client.send(pair), 0.47, 0.53).message
    assert WARNING in message and "the baseline in camera_info" in message
