"""Markers of moving objects: an arrow for each, with its id and speed."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from depth_ros.datatypes import Depth, ObjectMotion
from depth_ros.messages.fill import fill_header
from depth_ros.plane_fitting import plane_colour

SHAFT_DIAMETER, HEAD_DIAMETER = 0.1, 0.25
"""m, of an arrow."""
TEXT_HEIGHT = 0.4
"""m, of a capital letter."""
LIFETIME = Duration(sec=1)
"""RViz removes a marker that is not updated for this time."""


def motion_markers(depth: Depth, objects: list[ObjectMotion], seconds: float) -> MarkerArray:
    """One ARROW and one TEXT_VIEW_FACING for each object, after a DELETEALL; both have the object's id.

    The arrow points from the object's position to that after `seconds`.
    """
    array = MarkerArray(markers=[_marker(depth, "", 0, Marker.ARROW)])
    array.markers[0].action = Marker.DELETEALL
    for each in objects:
        arrow = _marker(depth, "velocity", each.label, Marker.ARROW)
        arrow.points = [_point(each.centre), _point(each.centre + seconds * each.velocity)]
        arrow.scale.x, arrow.scale.y = SHAFT_DIAMETER, HEAD_DIAMETER
        red, green, blue = (float(value) / 255 for value in plane_colour(each.label))
        arrow.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
        text = _marker(depth, "id", each.label, Marker.TEXT_VIEW_FACING)
        text.pose.position = _point(each.centre - [0.0, 2 * TEXT_HEIGHT, 0.0])  # above the object
        text.scale.z, text.color = TEXT_HEIGHT, ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
        text.text = f"{each.label}: {np.linalg.norm(each.velocity):.1f} m/s"
        array.markers += [arrow, text]
    return array


def _marker(depth: Depth, namespace: str, number: int, kind: int) -> Marker:
    marker = Marker(ns=namespace, id=number, type=kind, lifetime=LIFETIME)
    marker.pose.orientation.w = 1.0
    fill_header(marker.header, depth.stamp, depth.frame_id)
    return marker


def _point(position: np.ndarray) -> Point:
    return Point(x=float(position[0]), y=float(position[1]), z=float(position[2]))
