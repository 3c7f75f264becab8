"""Depth images in, what moves out, and how fast: the ROS face of ObjectMotionEstimator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from depth_ros import messages
from depth_ros.config import setting
from depth_ros.datatypes import Depth, Odometry
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.estimators.object_motion.estimator import ObjectMotionSettings
from depth_ros.estimators.object_motion.pending_pairs import WaitingPairs
from depth_ros.nodes import life_cycle
from depth_ros.nodes.diagnostics import Diagnostics
from depth_ros.nodes.inputs.odometry import OdomInput
from depth_ros.nodes.inputs.rgbd import RgbdInput
from depth_ros.nodes.outputs.object_motion import MotionOutput
from depth_ros.nodes.parameters import Parameters


@dataclass(frozen=True)
class ObjectMotionNodeSettings:
    """Parameters of object_motion_node; those of ObjectMotionSettings and EngineSettings join them."""

    ego_motion: str = setting(
        "camera",
        "how the camera itself moves. camera: found in image and depth; odom: nav_msgs/Odometry on `odom`",
        choices=("camera", "odom"),
    )
    use_labels: bool = setting(
        False, "`labels` says which pixels are one object (0: none); else objects are found by how they move"
    )
    motion_model: str = setting(
        "", "with use_labels: a model of task object_motion that says how objects move, instead of their images and "
        "depths; labels are then the same in all images of one object",
    )  # fmt: skip
    image_transport: str = setting(
        "raw", "how images come: `image` or `image/compressed`", choices=("raw", "compressed")
    )
    rectified: bool = setting(
        False, "images and depth are rectified already: P of camera_info describes them, D is ignored"
    )
    sync_tolerance: float = setting(
        0.02, "stamps of depth, image and labels may differ by so much; the nearest are taken", "s", 0.0, 0.5
    )
    longest_pair: float = setting(
        0.35, "images that are farther apart in time are not compared", "s", 0.01, 5.0
    )
    point_stride: int = setting(1, "points of every n-th row and column", "px", 1, 16, dynamic=True)
    arrow_seconds: float = setting(
        1.0, "arrows lead to where an object will be after so long", "s", 0.05, 10.0, dynamic=True
    )
    autostart: bool = setting(True, "configure and activate at start, without a life-cycle manager")


class ObjectMotionNode(LifecycleNode):
    """Life-cycle node. In: `depth/image_rect`, `depth/camera_info`, `image`, `camera_info`, if asked `odom`, `labels`.

    Out: `moving` (MarkerArray), `moving/labels` (mono16, 0 = nothing moves), `moving/camera_info` (of the labels),
    `moving/points` and `moving/objects` (MOVING_POINT_FIELDS: every pixel that moves; every object once).
    Velocities are over ground, in the optical frame of the image, like all results: no odometry's drift is in them,
    and TF turns them into any other frame. One thread; nothing is computed that nobody subscribes to.
    estimator, odometry: ObjectMotionEstimator and OdometryEstimator, or what are called and behave like them.
    topics: False where a node of this process hands its depth and odometry to `take`. others: as of Parameters.
    """

    def __init__(
        self, estimator: Callable[..., Any], odometry: Callable[..., Any], name: str = "object_motion_node",
        topics: bool = True, others: Iterable[str] = (), **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(name, automatically_declare_parameters_from_overrides=True, **options)
        self._make_estimator, self._make_odometry, self._topics = estimator, odometry, topics
        self._outputs: dict[str, LifecyclePublisher] = {}
        self._rgbd: RgbdInput | None = None
        self._odom: OdomInput | None = None
        self._pairs: WaitingPairs | None = None
        self._rejected = self._objects = 0
        self.parameters = Parameters(
            self, ObjectMotionNodeSettings, ObjectMotionSettings, EngineSettings, others=others
        )
        self.diagnostics = Diagnostics(self, "object motion", self._values, self._silence)
        self.parameters.name_unknown(self.diagnostics.complain)

    def start(self) -> None:
        """Configure and activate, unless `autostart` leaves that to a life-cycle manager."""
        life_cycle.start(self, self.parameters.read(ObjectMotionNodeSettings).autostart)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return life_cycle.configured(self, self._configure, self.diagnostics)

    def _configure(self) -> None:
        self._settings = settings = self.parameters.read(ObjectMotionNodeSettings)
        if settings.ego_motion == "odom" and not self._topics:
            raise DepthRosError(
                "ego_motion is 'odom', but odometry of this process hands its motion on: leave it 'camera', or run "
                "object_motion_node by itself"
            )
        self._estimator = self._chosen(settings)
        own = self._topics and settings.ego_motion == "camera"
        self._odometry = self._make_odometry() if own else None
        self._outputs = {
            "markers": self._advertise(MarkerArray, "moving"),
            "labels": self._advertise(Image, "moving/labels"),
            "info": self._advertise(CameraInfo, "moving/camera_info"),
            "points": self._advertise(PointCloud2, "moving/points"),
            "objects": self._advertise(PointCloud2, "moving/objects"),
        }
        self._output = MotionOutput(self._outputs)
        self.parameters.locked = True

    def _chosen(self, settings: ObjectMotionNodeSettings) -> Any:
        """The network if one is named, else geometry."""
        motion = self.parameters.read(ObjectMotionSettings)
        if not settings.motion_model:
            return self._make_estimator(motion)
        if not settings.use_labels:
            raise DepthRosError(
                f"motion_model '{settings.motion_model}' needs to be told what is one object: set use_labels, and "
                "publish `labels`"
            )
        from depth_ros.estimators.object_motion.network import ObjectMotionNetwork

        return ObjectMotionNetwork(settings.motion_model, motion, self.parameters.read(EngineSettings))

    def _advertise(self, kind: type, topic: str) -> LifecyclePublisher:
        return life_cycle.advertise(self, kind, topic, self.diagnostics.complain)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        settings, complain = self._settings, self.diagnostics.complain
        odom = None
        if settings.ego_motion == "odom":
            odom = OdomInput(self, settings.longest_pair, self._work, complain)
        self._pairs = WaitingPairs(
            settings.longest_pair,
            settings.sync_tolerance,
            settings.use_labels,
            odom.motion if odom else None,
        )
        source = "depth and odometry of this process"
        if self._topics:
            self._rgbd = RgbdInput(
                self,
                settings.image_transport,
                settings.rectified,
                settings.sync_tolerance,
                self._on_pair,
                complain,
            )
            source = f"'{self._rgbd.depth_image.topic}' and '{self._rgbd.image.topic}'"
        if settings.use_labels:
            self._labels = self.create_subscription(
                Image, "labels", self._on_labels, QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )  # fmt: skip
        self._odom = odom
        self.diagnostics.awake()
        self.get_logger().info(f"{source} -> '{self._outputs['markers'].topic_name}'")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._close_input()
        return super().on_deactivate(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._close_input()
        return super().on_shutdown(state)

    def _close_input(self) -> None:
        if self._pairs and self._settings.use_labels:
            self.destroy_subscription(self._labels)
        for source in (self._rgbd, self._odom) if self._pairs else ():
            if source:
                source.destroy()
        self._pairs = self._rgbd = self._odom = None

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        for publisher in self._outputs.values():
            self.destroy_lifecycle_publisher(publisher)
        self._estimator = self._odometry = None
        self._outputs, self.parameters.locked = {}, False
        return TransitionCallbackReturn.SUCCESS

    def wanted(self) -> bool:
        """Whether a frame would be worked on now."""
        return self._pairs is not None and self._output.heard()

    def _on_pair(self, image: Any, depth: Any) -> None:
        self.diagnostics.awake()
        if not (self._rgbd and self.wanted()):
            return
        started = time.perf_counter()
        try:
            decoded = self._rgbd.depth(image, depth)
        except DepthRosError as error:
            self._reject(error)
            return
        self.take(decoded, self._odometry.estimate(decoded) if self._odometry else None, started)

    def take(self, depth: Depth, odometry: Odometry | None = None, started: float | None = None) -> None:
        """One frame, and what odometry says of it. started: time.perf_counter() when it was received."""
        self.diagnostics.awake()
        if not (self._pairs and self.wanted()):
            return
        if odometry and odometry.state == "lost":
            self.diagnostics.complain(
                "how the camera moves is not known (odometry is lost): nothing is published"
            )
        self._pairs.add(depth, odometry.motion if odometry else None, started or time.perf_counter())
        self._work()

    def _on_labels(self, message: Any) -> None:
        if self._pairs and self.wanted():
            self._pairs.add_labels(message)
            self._work()

    def _work(self) -> None:
        """Find and publish what moves in the newest frame of which all is known, if there is one."""
        complete = self._pairs.newest() if self._pairs else None
        if complete is None:
            return
        pair, motion, labels = complete
        try:
            ids = None if labels is None else messages.labels_at(labels, pair.newer.camera)
            objects = self._estimator.estimate(pair.older, pair.newer, motion, ids)
        except DepthRosError as error:
            self._reject(error)
            return
        estimated, now = time.perf_counter(), self.parameters.read(ObjectMotionNodeSettings)
        self._objects = len(objects)
        self._output.publish(pair.newer, objects, now.point_stride, now.arrow_seconds)
        self.diagnostics.published(pair.newer.stamp, pair.received, estimated)

    def _reject(self, error: DepthRosError) -> None:
        self._rejected += 1
        self.diagnostics.complain(str(error))

    def _silence(self) -> str:
        return self._rgbd.silence() if self._rgbd else ""

    def _values(self) -> dict[str, object]:
        """What the status says beside the figures. Called once a second."""
        values: dict[str, object] = {"moving objects in the last image": self._objects}
        values["rejected frames"] = self._rejected + (self._pairs.late if self._pairs else 0)
        if self._rgbd:
            values |= {"dropped frames": self._rgbd.dropped, "depth without an image": self._rgbd.unpaired}
        return values


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop. 1 if a parameter given at start is not allowed."""
    from depth_ros.estimators.object_motion.estimator import ObjectMotionEstimator
    from depth_ros.estimators.odometry.estimator import OdometryEstimator

    return life_cycle.run(
        "object_motion_node", lambda: [ObjectMotionNode(ObjectMotionEstimator, OdometryEstimator)], args
    )


if __name__ == "__main__":
    raise SystemExit(main())
