"""Multi-camera node: depth of several cameras in one process, and their points in one cloud.

Each camera has its depth_node, with topics, parameters, life cycle and diagnostics in the namespace of the camera. They
share the engine of their model and one thread that estimates the newest frame of each camera in turn.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from rclpy.lifecycle import LifecycleNode, ManagedEntity
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from tf2_msgs.msg import TFMessage

from depth_ros.config import setting
from depth_ros.datatypes import Depth, Points
from depth_ros.errors import DepthRosError
from depth_ros.estimators.clouds import CloudSettings, RateLimit, filtered_points
from depth_ros.estimators.filters import FilterSettings, filtered
from depth_ros.estimators.odometry.scale import in_metres
from depth_ros.messages.fill import FILTERED_POINT_FIELDS, fill_filtered_points, fill_header
from depth_ros.nodes import depth_node, life_cycle
from depth_ros.nodes.depth_node import DepthNode, MakeDepthEstimator
from depth_ros.nodes.diagnostics import Diagnostics, Timing
from depth_ros.nodes.inputs.transforms import Transforms
from depth_ros.nodes.life_cycle import LifeCycle, LifeCycleSettings
from depth_ros.nodes.outputs.publishers import Publishers, point_cloud
from depth_ros.nodes.parameters import Parameters, names_of
from depth_ros.nodes.topics import Topic
from depth_ros.nodes.worker import FrameProcessor, Worker

TOPICS = (
    Topic("/tf_static", TFMessage, "in", "Mounting poses of the cameras."),
    Topic("/tf", TFMessage, "in", "The same for moving joints."),
    Topic("points_filtered", PointCloud2, "out", "The points_filtered of all cameras, once a cycle, in base_frame."),
)  # fmt: skip


@dataclass(frozen=True)
class MultiCameraSettings:
    """Parameters of multi_camera_node beside those of the depth_node of each camera."""

    cameras: str = setting(
        "",
        "Namespaces of the cameras, separated by commas, e.g. 'front,left,right'. Those that do not start with a slash "
        "are relative to the namespace that the node and its topic `image` have in common. Read at the start.",
    )
    base_frame: str = setting(
        "", "Frame of points_filtered, located by TF; required to publish it.", dynamic=True
    )


SETTINGS = (MultiCameraSettings, LifeCycleSettings)
"""The parameters of multi_camera_node are the fields of these."""


class MultiCameraNode(LifecycleNode):
    """Life-cycle node with the topics `TOPICS`: the merged cloud of the nodes that `connect` is given.

    A cloud has the newest points of every camera since the last one, and the newest of their stamps.
    Raises DepthRosError if a parameter is started with an invalid value.
    """

    def __init__(self, worker: Worker, name: str = "multi_camera_node") -> None:
        super().__init__(name, automatically_declare_parameters_from_overrides=True)
        self.parameters = Parameters(self, *SETTINGS, other_parameters=names_of(*depth_node.SETTINGS))
        self.diagnostics = Diagnostics(self, "merged points", dict, str)
        self.parameters.warn_about_unknown(self.diagnostics.warn)
        self.transforms = Transforms(self)
        self._outputs = Publishers(self, TOPICS, self.diagnostics.warn)
        self._processor = FrameProcessor(worker, self.diagnostics, self._publish)
        self._message = point_cloud(FILTERED_POINT_FIELDS)
        self._cameras = 0
        self._collected: dict[str, tuple[int, Points]] = {}
        self.life_cycle = LifeCycle(self, self.parameters, self.diagnostics, self._configure)

    def _configure(self) -> list[ManagedEntity]:
        return [self._outputs, self.transforms, self._processor]

    def connect(self, camera: DepthNode) -> None:
        """Merge the points of a camera, too."""
        self._cameras += 1
        camera.downstream.append(CameraPoints(camera, self))

    def is_needed(self) -> bool:
        """Whether the cloud would be published now."""
        return self.life_cycle.is_active and self._outputs.has_subscribers("points_filtered")

    def run(self, camera: str, stamp: int, points: Callable[[], Points | None]) -> None:
        """Compute and add the points of one frame in base_frame, in the worker thread."""
        self._processor.run(partial(self._add, camera, stamp, points))

    def _add(
        self, camera: str, stamp: int, points: Callable[[], Points | None]
    ) -> list[tuple[int, Points]] | None:
        """The points of all cameras once a cycle is complete, or a camera comes again; otherwise None."""
        found = points()
        if found is None:
            return None
        complete = list(self._collected.values()) if camera in self._collected else []
        if complete:
            self._collected.clear()
        self._collected[camera] = stamp, found
        if len(self._collected) == self._cameras:
            complete = list(self._collected.values())
            self._collected.clear()
        return complete or None

    def _publish(self, clouds: list[tuple[int, Points]], timing: Timing) -> None:
        stamp = max(stamp for stamp, _ in clouds)
        if self.life_cycle.is_too_old(stamp):
            return
        fill_header(self._message.header, stamp, self.parameters.read(MultiCameraSettings).base_frame)
        fill_filtered_points(self._message, concatenated(points for _, points in clouds))
        self._outputs.publish("points_filtered", self._message)
        self.diagnostics.published(stamp, timing)


class CameraPoints:
    """Downstream of the node of one camera: its depth, with its filters, to points of the merged cloud."""

    def __init__(self, camera: DepthNode, merged: MultiCameraNode) -> None:
        self._camera, self._merged, self._limit = camera, merged, RateLimit()

    def is_needed(self) -> bool:
        return self._merged.is_needed()

    def restart(self) -> None:
        """Nothing is kept."""

    def take(self, result: Depth) -> None:
        """Add the points of a frame, at most at the camera's `cloud_rate`."""
        if self._limit.is_due(result.stamp, self._camera.parameters.read(CloudSettings).cloud_rate):
            self._merged.run(
                self._camera.get_fully_qualified_name(), result.stamp, partial(self._points, result)
            )

    def _points(self, result: Depth) -> Points | None:
        """The filtered points in base_frame; None while scale or transform are unknown."""
        base_frame, warn = (
            self._merged.parameters.read(MultiCameraSettings).base_frame,
            self._merged.diagnostics.warn,
        )
        if not base_frame:
            warn("points_filtered is not published: set base_frame")
            return None
        T = self._merged.transforms.between(base_frame, result.frame_id, result.stamp)
        if T is None:
            warn(self._merged.transforms.missing_transform_text(base_frame, result.frame_id))
            return None
        scale = self._camera.scale
        if scale is None:
            warn(f"the scale of the depth of '{result.frame_id}' is unknown: points_filtered is without it")
            return None
        filters = replace(self._camera.parameters.read(FilterSettings), base_frame=base_frame)
        kept = filtered(in_metres(result, scale), filters)
        points = filtered_points(kept, self._camera.parameters.read(CloudSettings).voxel_size, T, filters)
        R, t = T[:3, :3].astype(np.float32), T[:3, 3].astype(np.float32)
        return replace(points, xyz=points.xyz @ R.T + t)


def concatenated(clouds: Iterable[Points]) -> Points:
    """All points of several clouds; NaN is the standard deviation of those that have none."""
    clouds = list(clouds)
    stds = [np.full(len(c.xyz), np.nan, np.float32) if c.std is None else c.std for c in clouds]
    return Points(
        np.concatenate([cloud.xyz for cloud in clouds]),
        np.concatenate([cloud.rgb for cloud in clouds]),
        np.concatenate(stds),
    )


def camera_names(text: str) -> list[str]:
    """The namespaces of the parameter `cameras`. Raises DepthRosError if there is none, or one twice."""
    names = [name.strip().rstrip("/") for name in text.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise DepthRosError(
            f"parameter 'cameras' is '{text}': give the namespaces of the cameras, each once, separated by commas, "
            "e.g. 'front,left,right'"
        )
    return names


def camera_arguments(camera: str, node: Node) -> list[str]:
    """Arguments that give the node of a camera its namespace and topics.

    They are those of `node`, but below the namespace of the camera instead of that which they have in common.
    """
    namespace = node.get_namespace()
    topics = {topic: node.resolve_topic_name(topic) for topic in ("image", "camera_info")}
    common = posixpath.commonpath([namespace, *map(posixpath.dirname, topics.values())])
    own = posixpath.join(common, camera)
    rules = {"__ns": namespace} | topics
    moved = {
        name: posixpath.normpath(posixpath.join(own, posixpath.relpath(path, common)))
        for name, path in rules.items()
    }
    return ["--ros-args", *(word for name, path in moved.items() for word in ("-r", f"{name}:={path}"))]


def make_nodes(make_estimator: MakeDepthEstimator, worker: Worker) -> list[DepthNode | MultiCameraNode]:
    """A node for each camera, and that of the merged cloud. Raises DepthRosError if a parameter is started with an
    invalid value."""
    merged = MultiCameraNode(worker)
    cameras = []
    for name in camera_names(merged.parameters.read(MultiCameraSettings).cameras):
        camera = DepthNode(
            make_estimator,
            worker,
            other_parameters=names_of(*SETTINGS),
            arguments=camera_arguments(name, merged),
        )
        merged.connect(camera)
        cameras.append(camera)
    return [*cameras, merged]


def main(args: list[str] | None = None) -> int:
    """Run the nodes. Returns 1 if a parameter is started with an invalid value."""

    def make(worker: Worker) -> list[DepthNode | MultiCameraNode]:
        from depth_ros.estimators.depth import DepthEstimator

        return make_nodes(DepthEstimator, worker)

    return life_cycle.run("multi_camera_node", make, args)


if __name__ == "__main__":
    raise SystemExit(main())
