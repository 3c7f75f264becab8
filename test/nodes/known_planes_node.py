"""The real PlanesNode with an estimator of known results, which writes the stamps of its frames to a file."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from depth_ros.datatypes import Depth, Frame, Planes
from depth_ros.engine import EngineStatus
from depth_ros.nodes import life_cycle
from depth_ros.nodes.planes_node import PlanesNode


class KnownPlanes:
    """A wall 2 m ahead in the left half, a floor 1 m below in the lower right; the rest is no plane."""

    depth = SimpleNamespace(card=SimpleNamespace(scale="metric"))
    engine_status = EngineStatus("known", "made for tests")

    def __init__(self, *_: object) -> None:
        pass

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
    raise SystemExit(life_cycle.run("planes_node", lambda worker: [PlanesNode(KnownPlanes, worker)]))
