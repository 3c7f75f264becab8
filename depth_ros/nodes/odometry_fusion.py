"""Temporal fusion of depth with the motion of the camera, from `odom` or from the odometry of the same process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from depth_ros.datatypes import Depth, Motion
from depth_ros.estimators.temporal_fusion import TemporalFusion

MAX_GAP = 1.0
"""s between two fused images, above which the fusion starts anew."""


class MotionSource(Protocol):
    """`inputs.odometry.OdometryInput`, or `OdometryNode`."""

    def motion(self, camera_frame: str, old: int, new: int) -> Motion | None:
        """Motion between two stamps, ns; None if it is not known (yet)."""
        ...


class OdometryFusion:
    """Fuses each depth image with those before it.

    An image whose motion is not known is published as it is, with a warning; the next one is fused with the last one
    whose motion was known.
    """

    def __init__(self, odometry: MotionSource, warn: Callable[[str], None]) -> None:
        self._odometry, self._warn = odometry, warn
        self._fusion = TemporalFusion()
        self._stamp: int | None = None  # of the last fused image

    def reset(self) -> None:
        """Forget earlier images."""
        self._stamp = None

    def fused(self, depth: Depth) -> Depth:
        """The depth, fused if the motion since the last fused image is known."""
        if self._stamp is None or not 0 < depth.stamp - self._stamp <= 1e9 * MAX_GAP:
            self._stamp = depth.stamp
            return self._fusion.fuse(depth, None)
        motion = self._odometry.motion(depth.frame_id, self._stamp, depth.stamp)
        if motion is None:
            self._warn("depth is not fused: odometry has no pose at the stamp of the image (yet), or is lost")
            return depth
        self._stamp = depth.stamp
        return self._fusion.fuse(depth, motion.T_old_new)
