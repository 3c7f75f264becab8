"""A camera in, the planes that it sees out: the ROS face of PlanesEstimator."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from visualization_msgs.msg import MarkerArray

from depth_ros import messages
from depth_ros.config import setting
from depth_ros.datatypes import Depth, Planes
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.nodes import life_cycle
from depth_ros.nodes.diagnostics import Diagnostics
from depth_ros.nodes.inputs.camera import CameraInput
from depth_ros.nodes.outputs.plane_markers import plane_markers
from depth_ros.nodes.parameters import Parameters
from depth_ros.plane_fitting import PlaneFitSettings, fit_planes


@dataclass(frozen=True)
class PlanesNodeSettings:
    """Parameters of planes_node; those of PlaneFitSettings and EngineSettings join them."""

    model: str = setting(
        "mono_indoor", "a planes model, or a depth model to whose depth planes are fitted (depth_ros models)"
    )
    source: str = setting(
        "image",
        "what comes on `image`: a camera's image, from which the model computes depth; or depth, "
        "metres (32FC1) or millimetres (16UC1), to which planes are fitted without any model",
        choices=("image", "depth"),
    )
    image_transport: str = setting(
        "raw", "how images come: `image` or `image/compressed`", choices=("raw", "compressed")
    )
    rectified: bool = setting(
        False, "images are rectified already: P of camera_info describes them, D is ignored"
    )
    point_stride: int = setting(1, "points of every n-th row and column", "px", 1, 16, dynamic=True)
    autostart: bool = setting(True, "configure and activate at start, without a life-cycle manager")


class PlanesNode(LifecycleNode):
    """Life-cycle node. In: `image`, `camera_info`. Out: `planes` (MarkerArray), `planes/labels` (mono8, 0 = no plane,
    K + 1 = plane K), `planes/camera_info` (of the labels), `planes/points` (with normals).

    Results have stamp and frame id of their image. One thread; nothing is computed that nobody subscribes to.
    estimator: PlanesEstimator or what is called and behaves like it.
    """

    def __init__(self, estimator: Callable[..., Any], name: str = "planes_node", **options: Any) -> None:
        super().__init__(name, automatically_declare_parameters_from_overrides=True, **options)
        self._make_estimator = estimator
        self._estimator: Any = None
        self._outputs: tuple[LifecyclePublisher, ...] = ()
        self._input: CameraInput | None = None
        self._rejected = self._planes = 0
        self.parameters = Parameters(self, PlanesNodeSettings, PlaneFitSettings, EngineSettings)
        self.diagnostics = Diagnostics(self, "planes", self._values, self._silence)
        self.parameters.name_unknown(self.diagnostics.complain)

    def start(self) -> None:
        """Configure and activate, unless `autostart` leaves that to a life-cycle manager."""
        life_cycle.start(self, self.parameters.read(PlanesNodeSettings).autostart)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return life_cycle.configured(self, self._configure, self.diagnostics)

    def _configure(self) -> None:
        settings = self.parameters.read(PlanesNodeSettings)
        if settings.source == "depth" and settings.image_transport != "raw":
            raise DepthRosError("source is 'depth', which comes raw only: set image_transport to 'raw'")
        if settings.source == "image":
            engine = self.parameters.read(EngineSettings)
            self._estimator = self._make_estimator(settings.model, engine, background=True)
            if self._estimator.depth.card.scale == "affine_inverse":
                raise DepthRosError(
                    f"model '{settings.model}' gives relative inverse depth (scale affine_inverse), in which planes "
                    "are bent; choose a model of scale metric (depth_ros models)"
                )
        self._markers = self._advertise(MarkerArray, "planes")
        self._labels = self._advertise(Image, "planes/labels")
        self._info = self._advertise(CameraInfo, "planes/camera_info")
        self._points = self._advertise(PointCloud2, "planes/points")
        self._outputs = (self._markers, self._labels, self._info, self._points)
        self._labels_message, self._info_message = Image(), CameraInfo()
        self._points_message = PointCloud2(
            fields=[
                PointField(name=n, offset=o, datatype=PointField.FLOAT32, count=1)
                for n, o in messages.PLANE_POINT_FIELDS
            ]
        )
        self.parameters.locked = True

    def _advertise(self, kind: type, topic: str) -> LifecyclePublisher:
        return life_cycle.advertise(self, kind, topic, self.diagnostics.complain)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        settings = self.parameters.read(PlanesNodeSettings)
        self._input = CameraInput(
            self, settings.image_transport, settings.rectified, self._on_image, self.diagnostics.complain
        )
        self.diagnostics.awake()
        what = f"model {settings.model}" if settings.source == "image" else "fitted to depth"
        self.get_logger().info(f"'{self._input.topic}' -> '{self._markers.topic_name}', {what}")
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
        if not (self._input and any(publisher.get_subscription_count() for publisher in self._outputs)):
            return
        started = time.perf_counter()
        try:
            depth, planes = self._planes_of(message, self._input)
        except DepthRosError as error:
            self._rejected += 1
            self.diagnostics.complain(str(error))
            return
        estimated = time.perf_counter()
        self._publish(depth, planes)
        self.diagnostics.published(depth.stamp, started, estimated)

    def _planes_of(self, message: Any, source: CameraInput) -> tuple[Depth, Planes]:
        fit = self.parameters.read(PlaneFitSettings)
        if self._estimator:
            self._estimator.fit = fit
            return self._estimator.estimate(source.frame(message))
        depth = source.depth(message)
        return depth, fit_planes(depth.depth, depth.camera, fit)

    def _publish(self, depth: Depth, planes: Planes) -> None:
        """Fill and publish what somebody subscribes to. The messages are kept: publishing copies them."""
        self._planes = len(planes.equations)
        for message in (self._labels_message, self._info_message, self._points_message):
            messages.fill_header(message.header, depth.stamp, depth.frame_id)
        if self._markers.get_subscription_count():
            self._markers.publish(plane_markers(depth, planes))
        if self._labels.get_subscription_count():
            messages.fill_image(self._labels_message, (planes.labels + 1).astype(np.uint8), "mono8")
            self._labels.publish(self._labels_message)
        if self._info.get_subscription_count():
            messages.fill_camera_info(self._info_message, depth.camera)
            self._info.publish(self._info_message)
        if self._points.get_subscription_count():
            stride = self.parameters.read(PlanesNodeSettings).point_stride
            messages.fill_plane_points(self._points_message, depth, planes, stride)
            self._points.publish(self._points_message)

    def _silence(self) -> str:
        return self._input.silence() if self._input else ""

    def _values(self) -> dict[str, object]:
        """What the status says beside the figures. Called once a second."""
        settings = self.parameters.read(PlanesNodeSettings)
        values: dict[str, object] = {"source": settings.source, "planes in the last image": self._planes}
        if self._estimator:
            depth = self._estimator.depth
            values |= {"model": settings.model, "engine": depth.engine_name, "why this engine": depth.reason}
            values["engine is being built"] = depth.building
        return values | {"rejected frames": self._rejected}


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop. 1 if a parameter given at start is not allowed."""
    from depth_ros.estimators.planes import PlanesEstimator

    return life_cycle.run("planes_node", lambda: [PlanesNode(PlanesEstimator)], args)


if __name__ == "__main__":
    raise SystemExit(main())
