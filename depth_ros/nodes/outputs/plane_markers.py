"""Markers of planes: outlines and equations."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, Pose
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from depth_ros.datatypes import Depth, Planes
from depth_ros.geometry import quaternion_from_matrix
from depth_ros.messages.fill import fill_header
from depth_ros.plane_fitting import plane_colour, plane_outlines

LINE_WIDTH, TEXT_HEIGHT = 0.02, 0.08
"""m, of the outlines and of a capital letter."""


def plane_markers(depth: Depth, planes: Planes) -> MarkerArray:
    """One LINE_STRIP for each part of each plane and one text for each plane, after a DELETEALL.

    Namespace `plane_K` holds plane K, whose value in the label image is K + 1. The pose of a LINE_STRIP is a frame on
    the plane with z along the normal towards the camera, so its points have z = 0. The text is the equation: unit
    normal n and offset d, m, with n . X + d = 0 in the optical frame.
    """
    array = MarkerArray(markers=[_marker(depth, "", 0, Marker.ARROW)])
    array.markers[0].action = Marker.DELETEALL
    for k, (equation, polygons) in enumerate(
        zip(planes.equations, plane_outlines(planes, depth.camera), strict=True)
    ):
        red, green, blue = (float(value) / 255 for value in plane_colour(k))
        for part, polygon in enumerate(polygons):
            marker = _marker(depth, f"plane_{k}", part, Marker.LINE_STRIP)
            centre, R = polygon.mean(axis=0), frame_of(equation[:3])
            marker.pose, marker.scale.x = _pose(centre, R), LINE_WIDTH
            marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
            local = (np.vstack([polygon, polygon[:1]]) - centre) @ R
            marker.points = [Point(x=float(x), y=float(y)) for x, y, _ in local]
            array.markers.append(marker)
        if polygons:
            text = _marker(depth, f"plane_{k}", len(polygons), Marker.TEXT_VIEW_FACING)
            text.pose, text.scale.z = (
                _pose(polygons[0].mean(axis=0) + TEXT_HEIGHT * equation[:3], np.eye(3)),
                TEXT_HEIGHT,
            )
            text.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
            text.text = "{:.4f} {:.4f} {:.4f} {:.4f}".format(*equation)
            array.markers.append(text)
    return array


def frame_of(normal: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) from a frame on a plane: z is its unit normal (3,), x as close to the right as possible."""
    x = np.array([1.0, 0.0, 0.0]) - normal[0] * normal
    if np.linalg.norm(x) < 0.1:  # the normal points to the right
        x = np.array([0.0, 0.0, 1.0]) - normal[2] * normal
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(normal, x), normal])


def _marker(depth: Depth, namespace: str, number: int, kind: int) -> Marker:
    marker = Marker(ns=namespace, id=number, type=kind)
    fill_header(marker.header, depth.stamp, depth.frame_id)
    return marker


def _pose(position: np.ndarray, R: np.ndarray) -> Pose:
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = (float(value) for value in position)
    q = pose.orientation
    q.x, q.y, q.z, q.w = (float(value) for value in quaternion_from_matrix(R))
    return pose
