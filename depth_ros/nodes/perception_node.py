"""Depth, odometry and object motion of one camera or pair in one process: `perception_node MODEL --ros-args ...`.

The nodes are those that also run alone, with their names, topics, parameters and life cycles. Here they hand each
other their results instead of messages: an image is received and decoded once, and whatever comes of it is shared.
A parameter that is given (`-p NAME:=VALUE`) goes to every node that has it.
"""

from __future__ import annotations

import sys

from rclpy.parameter import Parameter
from rclpy.utilities import remove_ros_args

from depth_ros.card import find_card
from depth_ros.errors import DepthRosError
from depth_ros.estimators.object_motion import ObjectMotionSettings
from depth_ros.estimators.odometry import OdometrySettings
from depth_ros.estimators.scale import ScaleSettings
from depth_ros.estimators.stereo import SEMI_GLOBAL, is_stereo
from depth_ros.nodes import life_cycle
from depth_ros.nodes.depth_node import DepthNode
from depth_ros.nodes.object_motion_node import ObjectMotionNode, ObjectMotionNodeSettings
from depth_ros.nodes.odometry_node import OdometryNode
from depth_ros.nodes.odometry_settings import OdometryNodeSettings
from depth_ros.nodes.parameters import names_of
from depth_ros.nodes.stereo_depth_node import StereoDepthNode

Nodes = list[DepthNode | StereoDepthNode | OdometryNode | ObjectMotionNode]


def nodes(model: str) -> Nodes:
    """The nodes of one process, each behind the one whose results it takes. model: of depth, from one image or a pair.

    Raises DepthRosError where there is no such model or a parameter's start value is not allowed.
    """
    from depth_ros.estimators.depth import DepthEstimator
    from depth_ros.estimators.object_motion import ObjectMotionEstimator
    from depth_ros.estimators.odometry import OdometryEstimator
    from depth_ros.estimators.stereo import StereoEstimator

    chosen = [Parameter("model", value=model)]
    of_odometry = names_of(OdometryNodeSettings, OdometrySettings, ScaleSettings)
    of_objects = names_of(ObjectMotionNodeSettings, ObjectMotionSettings)
    ours = of_odometry | of_objects
    depth: DepthNode | StereoDepthNode
    if is_stereo(model):
        depth = StereoDepthNode(StereoEstimator, others=ours, parameter_overrides=chosen)
    else:
        depth = DepthNode(DepthEstimator, others=ours, parameter_overrides=chosen)
    scaled = model == SEMI_GLOBAL or find_card(model).scale != "up_to_scale"
    scale = [] if scaled else [Parameter("depth_scale", value="up_to_scale")]
    others = set(depth.parameters.names) - {"model"}  # which is an argument here
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
    model, *unknown = remove_ros_args(sys.argv if args is None else args)[1:] or ["stereo"]

    def chosen() -> Nodes:
        if unknown:
            raise DepthRosError(
                f"unknown arguments {' '.join(unknown)}; given is a model (depth_ros models), then --ros-args"
            )
        return nodes(model)

    return life_cycle.run("perception_node", chosen, args)


if __name__ == "__main__":
    raise SystemExit(main())
