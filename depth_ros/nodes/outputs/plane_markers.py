"""Planes as visualization_msgs/MarkerArray: outlines that RViz draws and programs read."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, Pose
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from depth_ros import messages
from depth_ros.datatypes import Depth, Planes
from depth_ros.geometry import quaternion_from_matrix
from depth_ros.plane_fitting import outlines, plane_colour

LINE, LETTER = 0.02, 0.08
"""m, width of outlines and height of letters."""


def plane_markers(depth: Depth, planes: Planes) -> MarkerArray:
    """One LINE_STRIP for each part of each plane and one text for each plane, after a DELETEALL.

    Namespace `plane_K` holds plane K, the value K + 1 of the label image. The pose of a LINE_STRIP is the plane's own
    frame: its origin lies on the plane, its z is the normal towards the camera, and its points have z = 0. The text
    is the equation: normal and offset, m, with n . X + d = 0 in the optical frame.
    """
    array = MarkerArray(markers=[_marker(depth, "", 0, Marker.ARROW)])
    array.markers[0].action = Marker.DELETEALL
    for k, (equation, polygons) in enumerate(
        zip(planes.equations, outlines(planes, depth.camera), strict=True)
    ):
        red, green, blue = (float(value) / 255 for value in plane_colour(k))
        for part, polygon in enumerate(polygons):
            marker = _marker(depth, f"plane_{k}", part, Marker.LINE_STRIP)
            centre, R = polygon.mean(axis=0), frame_of(equation[:3])
            marker.pose, marker.scale.x = _pose(centre, R), LINE
            marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
            local = (np.vstack([polygon, polygon[:1]]) - centre) @ R
            marker.points = [Point(x=float(x), y=float(y)) for x, y, _ in local]
            array.markers.append(marker)
        if polygons:
            text = _marker(depth, f"plane_{k}", len(polygons), Marker.TEXT_VIEW_FACING)
            text.pose, text.scale.z = (
                _pose(polygons[0].mean(axis=0) + LETTER * equation[:3], np.eye(3)),
                LETTER,
            )
            text.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
            text.text = "{:.4f} {:.4f} {:.4f} {:.4f}".format(*equation)
            array.markers.append(text)
    return array


def frame_of(normal: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) from a plane's frame, z along its normal (3,), x as far to the right as can be."""
    x = np.array([1.0, 0.0, 0.0]) - normal[0] * normal
    if np.linalg.norm(x) < 0.1:  # seen from the side
        x = np.array([0.0, 0.0, 1.0]) - normal[2] * normal
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(normal, x), normal])


def _marker(depth: Depth, namespace: str, number: int, kind: int) -> Marker:
    marker = Marker(ns=namespace, id=number, type=kind)
    messages.fill_header(marker.header, depth.stamp, depth.frame_id)
    return marker


def _pose(place: np.ndarray, R: np.ndarray) -> Pose:
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = (float(value) for value in place)
    q = pose.orientation
    q.x, q.y, q.z, q.w = (float(value) for value in quaternion_from_matrix(R))
    return pose
