"""The tree of static transforms, from messages of /tf_static."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from depth_ros.geometry import inverse
from depth_ros.messages.poses import Quaternion, Vector, finite_pose

TF_STATIC = "/tf_static"
MAX_CHAIN = 64
"""Maximum number of frames in a chain of transforms; a longer one is a loop."""


class Header(Protocol):
    """std_msgs/Header."""

    frame_id: str


class Transform(Protocol):
    """geometry_msgs/Transform."""

    translation: Vector
    rotation: Quaternion


class TransformStamped(Protocol):
    """geometry_msgs/TransformStamped."""

    header: Header
    child_frame_id: str
    transform: Transform


class TransformTree:
    """Transforms between frames that do not move. Frames are named without a leading slash."""

    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, np.ndarray]] = {}  # child -> parent, T_parent_child

    def add(self, transforms: Iterable[TransformStamped]) -> list[str]:
        """Add transforms. Returns those that are ignored, as by tf2, because they are not finite or the norm of their
        quaternion is not 1: "'parent' -> 'child'"."""
        ignored = []
        for each in transforms:
            T = finite_pose(each.transform.translation, each.transform.rotation)
            if T is None:
                ignored.append(f"'{each.header.frame_id}' -> '{each.child_frame_id}'")
            else:
                self._parents[each.child_frame_id.lstrip("/")] = (each.header.frame_id.lstrip("/"), T)
        return ignored

    def parent(self, frame: str) -> str:
        """Parent of a frame; empty if it has none."""
        return self._parents.get(frame.lstrip("/"), ("", None))[0]

    def ancestors(self, frame: str) -> list[str]:
        """A frame and those above it, nearest first."""
        return list(self._ancestors(frame.lstrip("/")))

    def between(self, a: str, b: str) -> np.ndarray | None:
        """(4, 4) T_a_b, or None if no chain of transforms connects the frames."""
        above_a, above_b = self._ancestors(a.lstrip("/")), self._ancestors(b.lstrip("/"))
        root = next((frame for frame in above_a if frame in above_b), None)
        return None if root is None else inverse(above_a[root]) @ above_b[root]

    def _ancestors(self, frame: str) -> dict[str, np.ndarray]:
        """{ancestor: T_ancestor_frame}, nearest first, starting with the frame itself. A loop is followed once."""
        found, T = {frame: np.eye(4)}, np.eye(4)
        while frame in self._parents and len(found) < MAX_CHAIN:
            frame, T_parent = self._parents[frame]
            if frame in found:
                break
            T = T_parent @ T
            found[frame] = T
        return found
