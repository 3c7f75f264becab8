"""Every input subscribes when it is activated, and only then."""

from __future__ import annotations

import pytest
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from depth_ros.estimators.odometry.scale import ScaleSettings
from depth_ros.nodes.inputs.camera import CameraInput, CameraSettings
from depth_ros.nodes.inputs.imu import ImuInput
from depth_ros.nodes.inputs.labels import LabelInput
from depth_ros.nodes.inputs.odometry import OdometryInput
from depth_ros.nodes.inputs.rgbd import RgbdInput
from depth_ros.nodes.inputs.scale import ScaleInput
from depth_ros.nodes.inputs.set_pose import SetPose
from depth_ros.nodes.inputs.static_transforms import StaticTransforms
from depth_ros.nodes.inputs.stereo import StereoInput
from depth_ros.nodes.inputs.transforms import Transforms
from depth_ros.nodes.odometry_settings import OdometryNodeSettings

STATE = LifecycleState("", 0)
CAMERA = CameraSettings()
WHEELS = OdometryNodeSettings(depth_scale="up_to_scale", use_wheel_odometry=True)

INPUTS = {
    CameraInput: (lambda node, warn: CameraInput(node, CAMERA, print, warn), {"image", "camera_info"}),
    StereoInput: (
        lambda node, warn: StereoInput(node, CAMERA, 0.0, print, warn),
        {"left/image", "left/camera_info", "right/image", "right/camera_info"},
    ),
    RgbdInput: (
        lambda node, warn: RgbdInput(node, CAMERA, 0.0, print, warn),
        {"image", "camera_info", "depth/image_rect", "depth/camera_info"},
    ),
    ImuInput: (lambda node, warn: ImuInput(node, warn), {"imu"}),
    OdometryInput: (lambda node, warn: OdometryInput(node, 0.1, print, warn), {"odom", "tf_static"}),
    ScaleInput: (
        lambda node, warn: ScaleInput(node, WHEELS, ScaleSettings(), None, Transforms(node), warn),
        {"wheel_odom", "tf_static"},
    ),
    LabelInput: (lambda node, warn: LabelInput(node, print, warn), {"labels"}),
    SetPose: (lambda node, warn: SetPose(node, "odom", print, warn), {"set_pose"}),
    StaticTransforms: (lambda node, warn: StaticTransforms(node), {"tf_static"}),
    Transforms: (lambda node, warn: Transforms(node), {"tf_static"}),
}


def open_topics(node) -> set[str]:
    """Topics that the node subscribes to, without those of rclpy itself."""
    return {s.topic_name.lstrip("/") for s in node.subscriptions} - {"parameter_events"}


@pytest.mark.parametrize("input_type", INPUTS, ids=lambda each: each.__name__)
def test_input_has_subscriptions_and_timers_only_while_it_is_active(host, input_type):
    make, topics = INPUTS[input_type]
    timers = len(list(host.node.timers))
    part = make(host.node, host.warnings.append)
    assert open_topics(host.node) == set()
    for _ in range(2):
        assert part.on_activate(STATE) == TransitionCallbackReturn.SUCCESS
        assert open_topics(host.node) == topics
        assert part.on_deactivate(STATE) == TransitionCallbackReturn.SUCCESS
        assert open_topics(host.node) == set() and len(list(host.node.timers)) == timers
