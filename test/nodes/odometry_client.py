"""What drives odometry_node from outside: a robot that rolls through a rendered room, and who wants its odometry."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from node_client import Client, info_of
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from depth_ros import messages
from depth_ros.geometry import T_BODY_OPTICAL, exponential, inverse, pose_from
from depth_ros.world import World, WorldSettings
from depth_ros.world.render import look, paint

KINDS = {
    "odom": Odometry, "odom_up_to_scale": Odometry, "path": PathMessage, "odometry/status": DiagnosticStatus,
    "/tf": TFMessage,
}  # fmt: skip
ARM = exponential(np.array([0.3, -0.1, 0.2, 0.0, 0.1, -0.3])) @ T_BODY_OPTICAL
"""T_base_link_camera: in front, to the right and above, looking down and to the right."""
STEP = np.array([0.04, 0.0, 0.0, 0.0, 0.0, 0.02])
"""m and rad from frame to frame: forward, and turning left."""
PERIOD = 100_000_000
"""ns between frames."""
NEAR = 0.02
"""m, error allowed in a room of 160x120 px."""
ROOM = World(WorldSettings(kind="room", width=160, height=120, moving=0))


def started(*parameters: str) -> list[str]:
    """The command of the node with parameters, for `node_process`."""
    return ["-m", "depth_ros.nodes.odometry_node", "--ros-args", *(w for p in parameters for w in ("-p", p))]


@functools.lru_cache
def view(place: float, step: tuple[float, ...] = tuple(STEP)) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8 and depth (H, W) m after `place` steps."""
    T_world_start = ROOM.pose(0) @ inverse(ARM)
    T = T_world_start @ exponential(place * np.array(step)) @ ARM
    seen = look(ROOM.scene, ROOM.cameras["left"], T, 0.0)
    return np.clip(255 * paint(ROOM.scene, seen, 0.0), 0, 255).astype(np.uint8), seen.depth


class OdometryClient(Client):
    """A Client with a depth camera whose place on the robot is known to TF.

    unit: m, of its depth. bias: 1/m, by which its inverse depth is wrong. baseline: m, as its camera_info says.
    """

    def __init__(self, namespace: str, frame: str = "camera_optical") -> None:
        super().__init__(namespace, Path("/dev/null"), "odometry_node")
        create = self.node.create_publisher
        self.frame, self.odom, self.unit = frame, "odom", 1.0
        self.bias = self.baseline = 0.0
        self.depths = create(Image, "depth/image_rect", 1)
        self.depth_infos = create(CameraInfo, "depth/camera_info", 1)
        self.poses = create(PoseWithCovarianceStamped, "set_pose", 1)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.static = create(TFMessage, "/tf_static", latched)

    def mount(self, parent: str = "base_link") -> None:
        """Say where the camera is."""
        self.static.publish(transform_message(parent, self.frame, ARM))

    def listen(self, *topics: str) -> None:
        for subscription in self._subscriptions:
            self.node.destroy_subscription(subscription)
        self.got = {topic: [] for topic in topics}
        self._subscriptions = [
            self.node.create_subscription(KINDS[t], t, self.got[t].append, QoSProfile(depth=50))
            for t in topics
        ]

    def show(self, place: float | None, step: int = PERIOD, way: np.ndarray = STEP) -> int:
        """Publish what is seen after `place` steps of `way`, `step` ns after the last; None: the light is off."""
        self.stamp += step
        image, depth = view(place or 0, tuple(way))
        if place is None:
            image = np.zeros_like(image)
        colour, range_ = Image(), Image()
        messages.fill_image(colour, image, "rgb8")
        messages.fill_depth(range_, 1 / (1 / depth + np.float32(self.bias)) / np.float32(self.unit))
        infos = [info_of(ROOM.cameras["left"]) for _ in range(2)]
        infos[1].p[3] = -infos[1].p[0] * self.baseline
        for message in (colour, range_, *infos):
            messages.fill_header(message.header, self.stamp, self.frame)
        self.infos.publish(infos[0])
        self.depth_infos.publish(infos[1])
        self.images.publish(colour)
        self.depths.publish(range_)
        return self.stamp

    def arrive(self, place: int = 0) -> Odometry:
        """Stand at `place` until odometry says that it tracks."""
        return self.until(
            lambda: next((m for m in reversed(self.got[self.odom]) if m.twist.covariance[0] < 9000), None),
            lambda: self.show(place),
        )

    def go(self, *places: int | None) -> list[Odometry | None]:
        """Show the places one after the other; the odometry of each, None where none came."""
        stamps = []
        for place in places:
            stamp = self.show(place)
            stamps.append(stamp)
            self.wait(stamp)
        self.spin(0.1)  # the status may overtake the odometry
        found = {messages.stamp_ns(m.header): m for m in self.got[self.odom]}
        return [found.get(stamp) for stamp in stamps]

    def wait(self, stamp: int) -> Any:
        """The status of the frame of `stamp`."""

        def answered() -> DiagnosticStatus | None:
            named = [(s, {p.key: p.value for p in s.values}) for s in self.got["odometry/status"]]
            return next((s for s, values in named if values["stamp (ns)"] == str(stamp)), None)

        return self.until(answered)


def transform_message(parent: str, child: str, T: np.ndarray, stamp: int = 0) -> TFMessage:
    transform = TransformStamped(child_frame_id=child)
    messages.fill_header(transform.header, stamp, parent)
    messages.fill_transform(transform.transform, T)
    return TFMessage(transforms=[transform])


def matrix(message: Odometry) -> np.ndarray:
    """(4, 4) T_odom_base."""
    p, q = message.pose.pose.position, message.pose.pose.orientation
    return pose_from(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))


def twist(message: Odometry) -> np.ndarray:
    """(6,) m/s and rad/s."""
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    return np.array([linear.x, linear.y, linear.z, angular.x, angular.y, angular.z])


def truth(place: float) -> np.ndarray:
    """(4, 4) the base after `place` steps, in the base at place 0."""
    return exponential(place * STEP)
