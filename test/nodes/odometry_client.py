"""The other side of odometry_node: a robot that drives through a rendered room, and subscribers of its odometry."""

from __future__ import annotations

import functools
from types import ModuleType

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from nav_msgs.msg import Odometry
from node_client import Client, info_of, values_of
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from depth_ros.geometry import T_BODY_OPTICAL, inverse, pose_from, se3_exp
from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.fill import fill_depth, fill_header, fill_image, fill_transform
from depth_ros.nodes import odometry_node
from depth_ros.world import World, WorldSettings
from depth_ros.world.render import render_geometry, shade

T_BASE_CAMERA = se3_exp(np.array([0.3, -0.1, 0.2, 0.0, 0.1, -0.3])) @ T_BODY_OPTICAL
"""In front, to the right and above, looking down and to the right."""
STEP = np.array([0.04, 0.0, 0.0, 0.0, 0.0, 0.02])
"""Motion of the base from frame to frame, m and rad: forward, turning left."""
PERIOD = 100_000_000
"""ns between frames."""
TOLERANCE = 0.02
"""m, allowed error in a room of 160x120 px."""
ROOM = World(WorldSettings(kind="room", width=160, height=120, moving_count=0))


def command(*parameters: str) -> list[str]:
    """Arguments for `node_process` that start odometry_node with these parameters."""
    return ["-m", "depth_ros.nodes.odometry_node", "--ros-args", *(w for p in parameters for w in ("-p", p))]


@functools.lru_cache
def view(count: float, step: tuple[float, ...] = tuple(STEP)) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8 and depth (H, W) m after `count` steps."""
    T_world_start = ROOM.pose(0) @ inverse(T_BASE_CAMERA)
    T = T_world_start @ se3_exp(count * np.array(step)) @ T_BASE_CAMERA
    geometry = render_geometry(ROOM.scene, ROOM.cameras["left"], T, 0.0)
    return np.clip(255 * shade(ROOM.scene, geometry, 0.0), 0, 255).astype(np.uint8), geometry.depth


class OdometryClient(Client):
    """A Client with a depth camera whose mounting pose is on /tf_static.

    unit: m, of its depth images. inverse_depth_bias: 1/m. baseline: m, in its camera_info. odom_topic: the topic on
    which odometry is expected.
    """

    def __init__(
        self, namespace: str, module: ModuleType = odometry_node, *others: ModuleType, frame: str = "camera_optical"
    ) -> None:  # fmt: skip
        super().__init__(namespace, module, *others)
        create = self.node.create_publisher
        self.frame, self.odom_topic, self.unit = frame, "odom", 1.0
        self.inverse_depth_bias = self.baseline = 0.0
        self.depth_images = create(Image, "depth/image_rect", 1)
        self.depth_infos = create(CameraInfo, "depth/camera_info", 1)
        self.poses = create(PoseWithCovarianceStamped, "set_pose", 1)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.static_transforms = create(TFMessage, "/tf_static", latched)

    def publish_mounting_pose(self, parent: str = "base_link") -> None:
        self.static_transforms.publish(transform_message(parent, self.frame, T_BASE_CAMERA))

    def publish_view(self, count: float | None, interval: int = PERIOD, step: np.ndarray = STEP) -> int:
        """Publish the view after `count` steps, `interval` ns after the last one; None: a dark image."""
        self.stamp += interval
        pixels, depth = view(count or 0, tuple(step))
        if count is None:
            pixels = np.zeros_like(pixels)
        image, depth_image = Image(), Image()
        fill_image(image, pixels, "rgb8")
        inverse_depth = 1 / depth + np.float32(self.inverse_depth_bias)
        fill_depth(depth_image, 1 / inverse_depth / np.float32(self.unit))
        infos = [info_of(ROOM.cameras["left"]) for _ in range(2)]
        infos[1].p[3] = -infos[1].p[0] * self.baseline
        for message in (image, depth_image, *infos):
            fill_header(message.header, self.stamp, self.frame)
        self.infos.publish(infos[0])
        self.depth_infos.publish(infos[1])
        self.images.publish(image)
        self.depth_images.publish(depth_image)
        return self.stamp

    def wait_until_tracking(self, count: float = 0) -> Odometry:
        """Stay after `count` steps until odometry is tracking."""
        return self.wait_until(
            lambda: next(
                (m for m in reversed(self.received[self.odom_topic]) if m.twist.covariance[0] < 9000), None
            ),
            lambda: self.publish_view(count),
        )

    def drive(self, *counts: float | None) -> list[Odometry | None]:
        """Publish the views one after the other. Returns the odometry of each, None if there is none."""
        stamps = []
        for count in counts:
            stamps.append(self.publish_view(count))
            self.wait_for_frame(stamps[-1])
        self.spin(0.1)  # the status may overtake the odometry
        by_stamp = {stamp_ns(m.header): m for m in self.received[self.odom_topic]}
        return [by_stamp.get(stamp) for stamp in stamps]

    def wait_for_frame(self, stamp: int) -> DiagnosticStatus:
        """The message on odometry/status for a frame."""

        def status() -> DiagnosticStatus | None:
            statuses = self.received["odometry/status"]
            return next((s for s in statuses if values_of(s)["stamp (ns)"] == str(stamp)), None)

        return self.wait_until(status)


def transform_message(parent: str, child: str, T: np.ndarray, stamp: int = 0) -> TFMessage:
    transform = TransformStamped(child_frame_id=child)
    fill_header(transform.header, stamp, parent)
    fill_transform(transform.transform, T)
    return TFMessage(transforms=[transform])


def matrix(message: Odometry) -> np.ndarray:
    """(4, 4) T_odom_base."""
    p, q = message.pose.pose.position, message.pose.pose.orientation
    return pose_from(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))


def twist(message: Odometry) -> np.ndarray:
    """(6,) m/s and rad/s."""
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    return np.array([linear.x, linear.y, linear.z, angular.x, angular.y, angular.z])


def ground_truth(count: float) -> np.ndarray:
    """(4, 4) pose of the base after `count` steps, in the base at the start."""
    return se3_exp(count * STEP)
