"""A camera in, metric depth and points out: the ROS face of DepthEstimator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

from depth_ros import messages
from depth_ros.card import cards
from depth_ros.config import setting
from depth_ros.datatypes import Depth
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.nodes import life_cycle
from depth_ros.nodes.diagnostics import Diagnostics
from depth_ros.nodes.downstream import Follower, hand_on, wanted
from depth_ros.nodes.inputs.camera import CameraInput
from depth_ros.nodes.parameters import Parameters


@dataclass(frozen=True)
class DepthNodeSettings:
    """Parameters of depth_node; those of EngineSettings join them."""

    model: str = setting(
        "mono_driving", "name of a model (depth_ros models), or path of a folder with card.yaml"
    )
    image_transport: str = setting(
        "raw", "how images come: `image` or `image/compressed`", choices=("raw", "compressed")
    )
    rectified: bool = setting(
        False, "images are rectified already: P of camera_info describes them, D is ignored"
    )
    depth_encoding: str = setting(
        "32FC1",
        "32FC1: metres, unknown is NaN; 16UC1: millimetres, unknown is 0",
        choices=("32FC1", "16UC1"),
        dynamic=True,
    )
    max_depth: float = setting(1000.0, "what is farther becomes unknown", "m", 0.1, 10000.0, dynamic=True)
    point_stride: int = setting(1, "points of every n-th row and column", "px", 1, 16, dynamic=True)
    autostart: bool = setting(True, "configure and activate at start, without a life-cycle manager")


class DepthNode(LifecycleNode):
    """Life-cycle node. In: `image`, `camera_info`. Out: `depth/image_rect`, `depth/camera_info`, `points`.

    Results have stamp and frame id of their image and the size at which the model works. One thread; nothing
    is computed that nobody subscribes to or follows. estimator: DepthEstimator or what is called and behaves like
    it. `followers` are handed every Depth. others: as of Parameters. Raises DepthRosError where a parameter's start
    value is not allowed.
    """

    def __init__(
        self,
        estimator: Callable[..., Any],
        name: str = "depth_node",
        others: Iterable[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(name, automatically_declare_parameters_from_overrides=True, **options)
        self._make_estimator = estimator
        self._estimator: Any = None
        self._outputs: tuple[LifecyclePublisher, ...] = ()
        self._input: CameraInput | None = None
        self._received = (0, 0.0)
        self._rejected = 0
        self._engine_name = ""
        self.followers: list[Follower] = []
        self.parameters = Parameters(self, DepthNodeSettings, EngineSettings, others=others)
        self.diagnostics = Diagnostics(self, "depth", self._values, self._silence)
        self.parameters.name_unknown(self.diagnostics.complain)

    def start(self) -> None:
        """Configure and activate, unless `autostart` leaves that to a life-cycle manager."""
        life_cycle.start(self, self.parameters.read(DepthNodeSettings).autostart)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return life_cycle.configured(self, self._configure, self.diagnostics)

    def _configure(self) -> None:
        settings = self.parameters.read(DepthNodeSettings)
        estimator = self._make_estimator(
            settings.model, self.parameters.read(EngineSettings), background=True
        )
        if estimator.card.scale == "affine_inverse":
            metric = [card.name for card in cards() if card.task == "depth" and card.scale == "metric"]
            raise DepthRosError(
                f"model '{settings.model}' gives relative inverse depth (scale affine_inverse), which has no "
                f"metres; choose a metric one: {', '.join(metric)}"
            )
        if estimator.card.scale == "up_to_scale":
            self.get_logger().warning(
                f"model '{settings.model}' has no absolute scale: its depth is not in metres"
            )
        self._estimator = estimator
        self._depth_publisher = self._advertise(Image, "depth/image_rect")
        self._info_publisher = self._advertise(CameraInfo, "depth/camera_info")
        self._points_publisher = self._advertise(PointCloud2, "points")
        self._outputs = (self._depth_publisher, self._info_publisher, self._points_publisher)
        self._depth_message, self._info_message = Image(), CameraInfo()
        fields = [
            PointField(name=n, offset=o, datatype=PointField.FLOAT32, count=1)
            for n, o in messages.POINT_FIELDS
        ]
        self._points_message = PointCloud2(fields=fields)
        self.parameters.locked = True

    def _advertise(self, kind: type, topic: str) -> LifecyclePublisher:
        return life_cycle.advertise(self, kind, topic, self.diagnostics.complain)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        settings = self.parameters.read(DepthNodeSettings)
        self._input = CameraInput(
            self, settings.image_transport, settings.rectified, self._on_image, self.diagnostics.complain
        )
        self.diagnostics.awake()
        self.get_logger().info(
            f"'{self._input.topic}' -> '{self._depth_publisher.topic_name}', model {settings.model}"
        )
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._close_input()
        return super().on_deactivate(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._close_input()
        return super().on_shutdown(state)

    def _close_input(self) -> None:
        if self._input:
            self._input.destroy()
        self._input = None

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        for publisher in self._outputs:
            self.destroy_lifecycle_publisher(publisher)
        self._estimator, self._outputs, self.parameters.locked = None, (), False
        return TransitionCallbackReturn.SUCCESS

    def _on_image(self, message: Any) -> None:
        self.diagnostics.awake()
        if not self._input:
            return
        if not any(publisher.get_subscription_count() for publisher in self._outputs) and not wanted(
            self.followers
        ):
            return
        started = time.perf_counter()
        try:
            depth = self._estimator.estimate(self._input.frame(message))
        except DepthRosError as error:
            self._rejected += 1
            self.diagnostics.complain(str(error))
            return
        estimated = time.perf_counter()
        self._publish(depth, self.parameters.read(DepthNodeSettings))
        self.diagnostics.published(depth.stamp, started, estimated)
        hand_on(self.followers, depth)

    def _publish(self, depth: Depth, settings: DepthNodeSettings) -> None:
        """Fill and publish what somebody subscribes to. The messages are kept: publishing copies them."""
        near = np.where(depth.depth <= settings.max_depth, depth.depth, np.float32(np.nan))
        for message in (self._depth_message, self._info_message, self._points_message):
            messages.fill_header(message.header, depth.stamp, depth.frame_id)
        if self._depth_publisher.get_subscription_count():
            messages.fill_depth(self._depth_message, near, settings.depth_encoding)
            self._depth_publisher.publish(self._depth_message)
        if self._info_publisher.get_subscription_count():
            messages.fill_camera_info(self._info_message, depth.camera)
            self._info_publisher.publish(self._info_message)
        if self._points_publisher.get_subscription_count():
            messages.fill_points(self._points_message, replace(depth, depth=near), settings.point_stride)
            self._points_publisher.publish(self._points_message)

    def _silence(self) -> str:
        return self._input.silence() if self._input else ""

    def _values(self) -> dict[str, object]:
        """What the status says beside the figures. Called once a second."""
        values: dict[str, object] = {"model": self.parameters.read(DepthNodeSettings).model}
        if self._estimator:
            engine = self._estimator.engine_name
            if engine != self._engine_name:
                self.get_logger().info(f"engine: {engine} ({self._estimator.reason})")
            self._engine_name = engine
            values |= {"engine": engine, "why this engine": self._estimator.reason}
            values["engine is being built"] = self._estimator.building
        if self._input:
            arrived, now = self._input.received + self._input.dropped, time.monotonic()
            rate = max(arrived - self._received[0], 0) / (now - self._received[1])
            self._received = (arrived, now)
            values |= {"input rate (Hz)": f"{rate:.1f}", "dropped frames": self._input.dropped}
        return values | {"rejected frames": self._rejected}


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop. 1 if a parameter given at start is not allowed."""
    from depth_ros.estimators.depth import DepthEstimator

    return life_cycle.run("depth_node", lambda: [DepthNode(DepthEstimator)], args)


if __name__ == "__main__":
    raise SystemExit(main())
