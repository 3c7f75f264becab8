"""The real PlanesNode with an estimator whose results are known; stamps that it works on go to a file."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException

from depth_ros.datatypes import Depth, Frame, Planes
from depth_ros.nodes.planes_node import PlanesNode


class KnownPlanes:
    """A wall 2 m ahead in the left half, a floor 1 m below in the lower right; the rest is no plane."""

    depth = SimpleNamespace(
        card=SimpleNamespace(scale="metric"), engine_name="known", reason="made for tests", building=False
    )

    def __init__(self, *_: object, background: bool) -> None:
        assert background

    def estimate(self, frame: Frame) -> tuple[Depth, Planes]:
        with Path(sys.argv[1]).open("a") as log:
            log.write(f"{frame.stamp}\n")
        height, width = frame.image.shape[:2]
        labels = np.full((height, width), -1, np.int32)
        labels[:, : width // 2], labels[-height // 4 :, width // 2 :] = 0, 1
        planes = Planes(labels, np.array([[0.0, 0, -1, 2], [0, -1, 0, 1]]))
        depth = np.full((height, width), 2.0, np.float32)
        return Depth(frame.stamp, frame.frame_id, depth, frame.camera, frame.image), planes


if __name__ == "__main__":
    rclpy.init()
    node = PlanesNode(KnownPlanes)
    try:
        node.start()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
