"""Depth of an up-to-scale model, over DDS: in metres once odometry knows the scale, under names that say so before."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from known_perception_node import HEIGHT, UNIT, WALL
from node_client import Client, camera, image_of, info_of, values_of
from sensor_msgs.msg import Image

from depth_ros.messages.decode import depth_from
from depth_ros.nodes import depth_node
from depth_ros.playback.play import node_process

CAMERA = camera(64, 64)
METRIC = "depth/image_rect", "points"
UP_TO_SCALE = "depth_up_to_scale/image_rect", "points_up_to_scale"
CONFIDENCE = "depth/confidence", "depth_up_to_scale/confidence"


def textured(brightness: int) -> Image:
    message = image_of(CAMERA)
    pixels = np.random.default_rng(0).integers(0, brightness, 64 * 64 * 3, np.uint8)
    message.data = pixels.tobytes()
    return message


def command(log: Path, *parameters: str) -> list[str]:
    script = str(Path(__file__).with_name("known_perception_node.py"))
    words = [
        w
        for p in ("model:=up_to_scale", "depth_scale:=up_to_scale", "base_frame:=''", *parameters)
        for w in ("-p", p)
    ]
    return [script, str(log), "--ros-args", *words]


def points_of(cloud) -> np.ndarray:
    return np.frombuffer(cloud.data, "<f4").reshape(cloud.height, cloud.width, 4)[..., :3]


def test_depth_and_points_are_metric_once_the_scale_is_known_and_never_unscaled_under_metric_names(tmp_path):
    """The scale comes from the floor, which the dark images do not show; nobody subscribes to odometry."""
    log = tmp_path / "log.txt"
    with (
        node_process(command(log, f"camera_height:={HEIGHT}")) as (_, namespace),
        closing(Client(namespace, depth_node)) as client,
    ):
        send = {b: lambda b=b: client.publish(textured(b), info_of(CAMERA), 100_000_000) for b in (40, 255)}
        client.subscribe(*METRIC)  # only, at first: nothing may come
        client.wait_for_warning("the scale of the depth is not known yet", send[40])
        assert not any(client.received.values())
        depth, cloud = client.results_of_sent(send[40], *UP_TO_SCALE)
        assert depth.encoding == "32FC1" and depth_from(depth)[40, 3] == pytest.approx(WALL / UNIT)
        assert points_of(cloud)[40, 3, 2] == pytest.approx(WALL / UNIT)
        depth, cloud = client.results_of_sent(send[255], *METRIC)
        floor = HEIGHT * CAMERA.fy / (60 - CAMERA.cy)
        for metres in (depth_from(depth), points_of(cloud)[..., 2]):
            assert metres[60, 3] == pytest.approx(floor, rel=0.03) and metres[10, 3] == pytest.approx(
                WALL, rel=0.03
            )
        assert points_of(cloud)[60, 3, 1] == pytest.approx(HEIGHT, rel=0.03)
        client.subscribe(*METRIC, *UP_TO_SCALE, *CONFIDENCE)
        client.wait_until(
            lambda: all(client.received[topic] for topic in (*METRIC, CONFIDENCE[0])), send[255]
        )
        confidence = depth_from(client.received[CONFIDENCE[0]][-1])
        assert np.nanmax(np.abs(confidence - 0.68)) < 0.01 and not client.received[CONFIDENCE[1]]
        assert not client.received[UP_TO_SCALE[0]] and not client.received[UP_TO_SCALE[1]]


def test_without_a_source_of_the_scale_nothing_is_published_under_metric_names(tmp_path):
    with (
        node_process(command(tmp_path / "log.txt")) as (_, namespace),
        closing(Client(namespace, depth_node)) as client,
    ):
        assert client.set_parameters(depth_encoding="16UC1")[0].successful
        client.subscribe(*METRIC, *UP_TO_SCALE)

        def send() -> int:
            return client.publish(textured(255), info_of(CAMERA), 100_000_000)

        status = client.wait_for_warning("points_up_to_scale, not in metres", send)
        client.wait_until(lambda: all(client.received[topic] for topic in UP_TO_SCALE), send)
        assert not client.received[METRIC[0]] and not client.received[METRIC[1]]
        assert client.received[UP_TO_SCALE[0]][0].encoding == "32FC1"
        assert values_of(status)["model"] == "up_to_scale"
