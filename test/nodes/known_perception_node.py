"""The DepthNode of known_depth_node.py, with an OdometryNode downstream, in one process."""

from __future__ import annotations

from known_depth_node import KnownDepth

from depth_ros.estimators.odometry.estimator import OdometryEstimator
from depth_ros.nodes import life_cycle
from depth_ros.nodes.depth_node import DepthNode
from depth_ros.nodes.downstream import DepthSource
from depth_ros.nodes.odometry_node import OdometryNode
from depth_ros.nodes.worker import Worker


def make(worker: Worker) -> list[DepthNode | OdometryNode]:
    depth = DepthNode(KnownDepth, worker, other_parameters=["base_frame"])
    odometry = OdometryNode(OdometryEstimator, worker, source=DepthSource.UPSTREAM_NODE)
    depth.downstream.append(odometry)
    return [depth, odometry]


if __name__ == "__main__":
    raise SystemExit(life_cycle.run("perception_node", make))
