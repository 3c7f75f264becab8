"""Temporal fusion in the node: gaps, unknown motion, and the motion since the last fused image."""

from __future__ import annotations

import numpy as np

from depth_ros.datatypes import Camera, Depth, Motion
from depth_ros.nodes.odometry_fusion import OdometryFusion

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
