"""Temporal fusion in the node: gaps, unknown motion, and the motion since the last fused image."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from known_perception_node import FLICKER, TENTH
from node_client import Client, camera, image_of, info_of

from depth_ros.datatypes import Camera, Depth, Motion
from depth_ros.messages.decode import depth_from, stamp_ns
from depth_ros.nodes import depth_node
from depth_ros.nodes.odometry_fusion import OdometryFusion
from depth_ros.playback.play import node_process

CAMERA = Camera.pinhole(32, 24, 20.0, 20.0, 15.5, 11.5)
SECOND = 1_000_000_000


class KnownMotion:
    """A camera that stands still, of which nothing is known at `unknown` stamps. asked: intervals of the questions."""

    def __init__(self, unknown: set[int]) -> None:
        self.unknown, self.asked = unknown, []

    def motion(self, camera_frame: str, old: int, new: int) -> Motion | None:
        self.asked.append((camera_frame, old, new))
        return None if new in self.unknown else Motion(old, new, np.eye(4))


def depth_of(metres: float, stamp: int) -> Depth:
    z = np.full((24, 32), metres, np.float32) * np.exp(0.01 * np.arange(32, dtype=np.float32))
    return Depth(stamp, "optical", z, CAMERA, np.zeros((24, 32, 3), np.uint8))


def test_images_are_fused_with_the_last_one_whose_motion_is_known():
    source, warnings = KnownMotion({2 * SECOND // 10}), []
    fusion = OdometryFusion(source, warnings.append)
    first, second, third, late = (
        fusion.fused(depth_of(metres, stamp))
        for metres, stamp in (
            (4.0, SECOND // 10),
            (5.0, SECOND // 5),
            (4.4, 3 * SECOND // 10),
            (9.0, 3 * SECOND),
        )
    )
    assert first.depth[0, 0] == 4.0
    assert second.depth[0, 0] == 5.0 and "odometry has no pose" in warnings[0]  # published as it is
    assert 4.0 < third.depth[12, 16] / np.exp(0.16) < 4.4  # between the first and itself
    assert late.depth[0, 0] == 9.0 and len(warnings) == 1  # after a gap it starts anew
    assert source.asked == [
        ("optical", SECOND // 10, SECOND // 5),
        ("optical", SECOND // 10, 3 * SECOND // 10),
    ]


def test_after_a_reset_it_starts_anew():
    fusion = OdometryFusion(KnownMotion(set()), print)
    fusion.fused(depth_of(4.0, SECOND))
    fusion.reset()
    assert fusion.fused(depth_of(5.0, 11 * SECOND // 10)).depth[0, 0] == 5.0


@pytest.mark.parametrize("temporal_fusion", [False, True])
def test_depth_is_fused_by_the_odometry_of_the_same_process(tmp_path: Path, temporal_fusion: bool):
    """A camera that stands still, and a model whose scale changes with every image. Nobody subscribes to odometry."""
    script, size = str(Path(__file__).with_name("known_perception_node.py")), camera(64, 64)
    parameters = "model:=flickering", "base_frame:=''", f"temporal_fusion:={str(temporal_fusion).lower()}"
    words = [word for parameter in parameters for word in ("-p", parameter)]
    message = image_of(size)
    message.data = np.random.default_rng(0).integers(0, 255, 64 * 64 * 3, np.uint8).tobytes()
    with (
        node_process([script, str(tmp_path / "log"), "--ros-args", *words]) as (_, namespace),
        closing(Client(namespace, depth_node)) as client,
    ):
        client.subscribe("depth/image_rect")

        def wall() -> dict[int, list[float]]:
            found: dict[int, list[float]] = {0: [], 1: []}
            for each in client.received["depth/image_rect"][4:]:
                found[stamp_ns(each.header) // TENTH % 2].append(float(depth_from(each)[10, 3]))
            return found

        def send() -> int:
            return client.publish(message, info_of(size), TENTH)

        found = client.wait_until(lambda: min(map(len, (each := wall()).values())) >= 6 and each, send)
    flicker = np.log(np.median(found[1]) / np.median(found[0])) / np.log(FLICKER)
    assert 0 < flicker < 0.5 if temporal_fusion else flicker == pytest.approx(1, abs=1e-3)
