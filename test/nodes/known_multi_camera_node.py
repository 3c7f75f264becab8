"""The real multi_camera_node with the estimator of known_depth_node.py."""

from __future__ import annotations

from functools import partial

from known_depth_node import KnownDepth

from depth_ros.nodes import life_cycle
from depth_ros.nodes.multi_camera_node import make_nodes

if __name__ == "__main__":
    raise SystemExit(life_cycle.run("multi_camera_node", partial(make_nodes, KnownDepth)))
