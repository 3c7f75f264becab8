"""Depth, odometry and object motion of one camera or pair in one process, by the model that `-p model:=` names.

The nodes are those that also run alone, with their names, topics, parameters and life cycles. Here they hand each
other their results instead of messages: an image is received and decoded once, and whatever comes of it is shared.
A parameter that is given (`-p NAME:=VALUE`) goes to every node that has it.
"""

from __future__ import annotations

import rclpy
from rclpy.parameter import Parameter

from depth_ros.card import find_card
from depth_ros.estimators.object_motion.estimator import ObjectMotionSettings
from depth_ros.estimators.odometry.scale import ScaleSettings
from depth_ros.estimators.odometry.settings import OdometrySettings
from depth_ros.estimators.stereo.estimator import SEMI_GLOBAL, is_stereo
from depth_ros.nodes import life_cycle
from depth_ros.nodes.depth_node import DepthNode
from depth_ros.nodes.object_motion_node import ObjectMotionNode, ObjectMotionNodeSettings
from depth_ros.nodes.odometry_node import OdometryNode
from depth_ros.nodes.odometry_settings import OdometryNodeSettings
from depth_ros.nodes.parameters import names_of
from depth_ros.nodes.stereo_depth_node import StereoDepthNode, StereoDepthNodeSettings

Nodes = list[DepthNode | StereoDepthNode | OdometryNode | ObjectMotionNode]


def chosen_model() -> str:
    """The parameter `model`, which decides what nodes there are; if it is not given, that of stereo_depth_node."""
    asked = rclpy.create_node("perception_node", automatically_declare_parameters_from_overrides=True)
    given = asked.get_parameter_or("model", Parameter("model", value=StereoDepthNodeSettings.model))
    asked.destroy_node()
    return str(given.value)


def nodes() -> Nodes:
    """The nodes of one process, each behind the one whose results it takes.

    Raises DepthRosError where there is no such model or a parameter's start value is not allowed.
    """
    from depth_ros.estimators.depth import DepthEstimator
    from depth_ros.estimators.object_motion.estimator import ObjectMotionEstimator
    from depth_ros.estimators.odometry.estimator import OdometryEstimator
    from depth_ros.estimators.stereo.estimator import StereoEstimator

    model = chosen_model()
    of_odometry = names_of(OdometryNodeSettings, OdometrySettings, ScaleSettings)
    of_objects = names_of(ObjectMotionNodeSettings, ObjectMotionSettings)
    ours = of_odometry | of_objects
    depth: DepthNode | StereoDepthNode
    if is_stereo(model):
        depth = StereoDepthNode(StereoEstimator, others=ours)
    else:
        depth = DepthNode(DepthEstimator, others=ours)
    scaled = model == SEMI_GLOBAL or find_card(model).scale != "up_to_scale"
    scale = [] if scaled else [Parameter("depth_scale", value="up_to_scale")]
    others = set(depth.parameters.names)
    odometry = OdometryNode(
        OdometryEstimator, topics=False, others=others | of_objects, parameter_overrides=scale
    )
    depth.followers.append(odometry)
    if not odometry.parameters.read(OdometryNodeSettings).scaled:  # no metres, and so no metres per second
        return [depth, odometry]
    objects = ObjectMotionNode(
        ObjectMotionEstimator, OdometryEstimator, topics=False, others=others | of_odometry
    )
    odometry.followers.append(objects)
    return [depth, odometry, objects]


def main(args: list[str] | None = None) -> int:
    """Run the nodes until they are told to stop. 1 if a model or a parameter given at start is not allowed."""
    return life_cycle.run("perception_node", nodes, args)


if __name__ == "__main__":
    raise SystemExit(main())
