"""Perception node: depth, odometry and object motion of one camera or stereo pair in one process.

The nodes are the same as in processes of their own, with their names, topics, parameters and life cycles, but they
forward their results without messages: an image is received and decoded once. The parameter `model` selects the depth
node. A parameter override (`-p NAME:=VALUE`) goes to every node that has the parameter.
"""

from __future__ import annotations

import rclpy
from rclpy.parameter import Parameter

from depth_ros.card import find_card
from depth_ros.errors import DepthRosError
from depth_ros.estimators.stereo.estimator import SEMI_GLOBAL, is_stereo
from depth_ros.nodes import depth_node, life_cycle, object_motion_node, odometry_node, stereo_depth_node
from depth_ros.nodes.depth_node import DepthNode
from depth_ros.nodes.downstream import DepthSource
from depth_ros.nodes.object_motion_node import Estimators, ObjectMotionNode
from depth_ros.nodes.odometry_node import OdometryNode
from depth_ros.nodes.odometry_settings import OdometryNodeSettings
from depth_ros.nodes.parameters import names_of
from depth_ros.nodes.stereo_depth_node import StereoDepthNode, StereoDepthNodeSettings
from depth_ros.nodes.worker import Worker

Nodes = list[DepthNode | StereoDepthNode | OdometryNode | ObjectMotionNode]


def selected_model() -> str:
    """The parameter `model`, which decides which nodes there are; by default that of stereo_depth_node."""
    node = rclpy.create_node("perception_node", automatically_declare_parameters_from_overrides=True)
    default = Parameter("model", value=StereoDepthNodeSettings.model)
    model = str(node.get_parameter_or("model", default).value)
    node.destroy_node()
    return model


def make_nodes(worker: Worker) -> Nodes:
    """The nodes of the process, upstream first.

    If the model does not exist, depth_node stays unconfigured and reports it. Raises DepthRosError if a parameter is
    started with an invalid value.
    """
    from depth_ros.estimators.depth import DepthEstimator
    from depth_ros.estimators.object_motion.estimator import ObjectMotionEstimator
    from depth_ros.estimators.odometry.estimator import OdometryEstimator
    from depth_ros.estimators.stereo.estimator import StereoEstimator

    model = selected_model()
    try:
        takes_pairs = is_stereo(model)
        has_scale = model == SEMI_GLOBAL or find_card(model).scale != "up_to_scale"
    except DepthRosError:
        takes_pairs, has_scale = False, True
    modules = (stereo_depth_node if takes_pairs else depth_node, odometry_node, object_motion_node)
    parameters = names_of(*(kind for module in modules for kind in module.SETTINGS))
    depth: DepthNode | StereoDepthNode
    if takes_pairs:
        depth = StereoDepthNode(StereoEstimator, worker, other_parameters=parameters)
    else:
        depth = DepthNode(DepthEstimator, worker, other_parameters=parameters)
    odometry = OdometryNode(
        OdometryEstimator,
        worker,
        source=DepthSource.UPSTREAM_NODE,
        other_parameters=parameters,
        parameter_overrides=None if has_scale else [Parameter("depth_scale", value="up_to_scale")],
    )
    connect(depth, odometry)
    if not odometry.parameters.read(OdometryNodeSettings).has_metric_scale:  # velocities need metres
        return [depth, odometry]
    objects = ObjectMotionNode(
        Estimators(ObjectMotionEstimator, OdometryEstimator),
        worker,
        source=DepthSource.UPSTREAM_NODE,
        other_parameters=parameters,
    )
    odometry.downstream.append(objects)
    return [depth, odometry, objects]


def connect(depth: DepthNode | StereoDepthNode, odometry: OdometryNode) -> None:
    """Forward depth to odometry, and its motion, for temporal fusion, and scale to the depth node of one camera."""
    depth.downstream.append(odometry)
    if isinstance(depth, DepthNode):
        depth.scale_source = depth.motion_source = odometry
        odometry.is_needed_upstream = depth.is_odometry_needed


def main(args: list[str] | None = None) -> int:
    """Run the nodes. Returns 1 if a parameter is started with an invalid value."""
    return life_cycle.run("perception_node", make_nodes, args)


if __name__ == "__main__":
    raise SystemExit(main())
