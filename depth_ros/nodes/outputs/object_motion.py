"""What object_motion_node publishes: markers, label image, and clouds of what moves."""

from __future__ import annotations

from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

from depth_ros import messages
from depth_ros.datatypes import Depth, ObjectMotion
from depth_ros.geometry import back_project
from depth_ros.nodes.outputs.motion_markers import motion_markers


class MotionOutput:
    """Fills and publishes what somebody subscribes to, by the publishers `outputs`: markers, labels, info, points and
    objects. The messages are kept: publishing copies them."""

    def __init__(self, outputs: dict[str, Any]) -> None:
        self._outputs = outputs
        self._labels, self._info, self._cloud = Image(), CameraInfo(), PointCloud2()
        kinds = {"id": PointField.UINT32}
        self._cloud.fields = [
            PointField(name=n, offset=o, datatype=kinds.get(n, PointField.FLOAT32), count=1)
            for n, o in messages.MOVING_POINT_FIELDS
        ]

    def heard(self, name: str = "") -> bool:
        """Whether somebody subscribes to the output; to one of them, if none is named."""
        return any(
            self._outputs[each].get_subscription_count() for each in ([name] if name else self._outputs)
        )

    def publish(self, depth: Depth, objects: list[ObjectMotion], stride: int, arrow_seconds: float) -> None:
        """The objects that move in the frame of `depth`. stride: of the points, px."""
        for message in (self._labels, self._info, self._cloud):
            messages.fill_header(message.header, depth.stamp, depth.frame_id)
        if self.heard("markers"):
            self._outputs["markers"].publish(motion_markers(depth, objects, arrow_seconds))
        if self.heard("labels"):
            messages.fill_image(self._labels, label_image(depth, objects), "mono16")
            self._outputs["labels"].publish(self._labels)
        if self.heard("info"):
            messages.fill_camera_info(self._info, depth.camera)
            self._outputs["info"].publish(self._info)
        if self.heard("points"):
            step = np.s_[::stride, ::stride]
            cloud = back_project(depth.depth, depth.camera)[step]
            seen = np.isfinite(cloud[..., 2])
            self._publish("points", [cloud[each.mask[step] & seen] for each in objects], objects)
        if self.heard("objects"):
            self._publish("objects", [each.centre[None] for each in objects], objects)

    def _publish(self, name: str, points: list[np.ndarray], objects: list[ObjectMotion]) -> None:
        messages.fill_moving_points(self._cloud, points, objects)
        self._outputs[name].publish(self._cloud)


def label_image(depth: Depth, objects: list[ObjectMotion]) -> np.ndarray:
    """(H, W) uint16 ids, 0 = nothing moves."""
    labels = np.zeros(depth.depth.shape, np.uint16)
    for each in objects:
        labels[each.mask] = each.label % (1 << 16)
    return labels
