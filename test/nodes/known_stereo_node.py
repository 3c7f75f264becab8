"""The real StereoDepthNode with an estimator of known results, which writes the stamps of its pairs to a file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from depth_ros.datatypes import Disparity, StereoFrame
from depth_ros.engine import EngineStatus
from depth_ros.nodes import life_cycle
from depth_ros.nodes.stereo_depth_node import StereoDepthNode


class KnownDisparity:
    """10 px in the upper half, 20 px in the lower; standard deviation 1 px on the left, 4 px on the right.

    The first row is invalid.
    """

    engine_status = EngineStatus("known", "made for tests")
    disparity_range, step = 64, 0.25

    def __init__(self, *_: object) -> None:
        pass

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
    raise SystemExit(
        life_cycle.run("stereo_depth_node", lambda worker: [StereoDepthNode(KnownDisparity, worker)])
    )
