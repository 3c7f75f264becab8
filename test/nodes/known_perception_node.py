"""The DepthNode of known_depth_node.py, with an OdometryNode downstream, in one process.

Model "up_to_scale" has a unit of `UNIT` and sees a wall, in front of which there is a floor if the images are bright;
"flickering" sees the same in metres, `FLICKER` times as far in every other tenth of a second.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from known_depth_node import KnownDepth

from depth_ros.datatypes import Depth, Frame
from depth_ros.estimators.odometry.estimator import OdometryEstimator
from depth_ros.estimators.odometry.scale import Scale, in_metres
from depth_ros.nodes import depth_node, life_cycle, odometry_node
from depth_ros.nodes.depth_node import DepthNode
from depth_ros.nodes.downstream import DepthSource
from depth_ros.nodes.odometry_node import OdometryNode
from depth_ros.nodes.parameters import names_of
from depth_ros.nodes.perception_node import connect
from depth_ros.nodes.worker import Worker

UNIT, HEIGHT, WALL = 0.4, 1.2, 6.0
"""m, of the depth; height of the camera, and distance of the wall."""
FLICKER, TENTH = 1.2, 100_000_000


class UpToScaleDepth(KnownDepth):
    card = SimpleNamespace(scale="up_to_scale", extra_inputs=())

    def estimate(self, frame: Frame) -> Depth:
        camera = frame.camera
        slope = np.maximum((np.arange(camera.height, dtype=np.float32) - camera.cy) / camera.fy, 1e-3)
        rows = np.minimum(HEIGHT / slope, WALL) if frame.image.mean() > 50 else np.full_like(slope, WALL)
        depth = np.tile(rows[:, None] / UNIT, (1, camera.width)).astype(np.float32)
        std = 0.1 * depth
        return Depth(frame.stamp, frame.frame_id, depth, camera, frame.image, std)


class FlickeringDepth(UpToScaleDepth):
    card = KnownDepth.card

    def estimate(self, frame: Frame) -> Depth:
        scale = Scale(UNIT * (FLICKER if frame.stamp // TENTH % 2 else 1.0), 0.0, "known")
        return in_metres(super().estimate(frame), scale)


ESTIMATORS = {"up_to_scale": UpToScaleDepth, "flickering": FlickeringDepth}


def make_estimator(model: str, *others: object) -> KnownDepth:
    return ESTIMATORS.get(model, KnownDepth)(model, *others)


def make(worker: Worker) -> list[DepthNode | OdometryNode]:
    depth = DepthNode(make_estimator, worker, other_parameters=names_of(*odometry_node.SETTINGS))
    odometry = OdometryNode(
        OdometryEstimator, worker, source=DepthSource.UPSTREAM_NODE, other_parameters=names_of(*depth_node.SETTINGS)
    )  # fmt: skip
    connect(depth, odometry)
    return [depth, odometry]


if __name__ == "__main__":
    raise SystemExit(life_cycle.run("perception_node", make))
