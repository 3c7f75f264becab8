"""The real StereoDepthNode with an estimator whose results are known; stamps that it works on go to a file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException

from depth_ros.datatypes import Disparity, StereoFrame
from depth_ros.nodes.stereo_depth_node import StereoDepthNode


class KnownDisparity:
    """10 px in the upper half, 20 in the lower; the standard deviation is 1 px on the left, 4 on the right;
    the first row is unknown."""

    engine_name, reason, building = "known", "made for tests", False
    disparity_range, step = 64, 0.25

    def __init__(self, *_: object, background: bool) -> None:
        assert background

    def estimate(self, pair: StereoFrame) -> Disparity:
        with Path(sys.argv[1]).open("a") as log:
            log.write(f"{pair.left.stamp}\n")
        height, width = pair.left.image.shape[:2]
        disparity = np.full((height, width), 10, np.float32)
        disparity[height // 2 :] = 20
        disparity[0] = np.nan
        std = np.ones((height, width), np.float32)
        std[:, width // 2 :] = 4
        left = pair.left
        return Disparity(
            left.stamp, left.frame_id, disparity, left.camera, left.image, pair.baseline, std=std
        )


if __name__ == "__main__":
    rclpy.init()
    node = StereoDepthNode(KnownDisparity)
    try:
        node.start()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
