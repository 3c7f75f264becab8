"""The static transforms of a bag."""

from __future__ import annotations

from typing import Any

import numpy as np

from depth_ros.geometry import inverse, pose_from
from depth_ros.recordings.bags.parts import Bag
from depth_ros.recordings.bags.tracks import Deserialize

TF_STATIC = "/tf_static"
MAX_CHAIN = 64
"""Maximum number of frames in a chain of transforms; a longer one is a loop."""


class StaticTransforms:
    """Transforms between frames that do not move, from messages of /tf_static."""

    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, np.ndarray]] = {}  # child -> parent, T_parent_child

    def add(self, message: Any) -> None:
        """Add the transforms of a tf2_msgs/TFMessage."""
        for each in message.transforms:
            t, q = each.transform.translation, each.transform.rotation
            T = pose_from(np.array([t.x, t.y, t.z]), np.array([q.x, q.y, q.z, q.w]))
            self._parents[each.child_frame_id.lstrip("/")] = (each.header.frame_id.lstrip("/"), T)

    def between(self, a: str, b: str) -> np.ndarray | None:
        """(4, 4) T_a_b, or None if no chain of transforms connects the frames."""
        above_a, above_b = self._ancestors(a.lstrip("/")), self._ancestors(b.lstrip("/"))
        root = next((frame for frame in above_a if frame in above_b), None)
        return None if root is None else inverse(above_a[root]) @ above_b[root]

    def _ancestors(self, frame: str) -> dict[str, np.ndarray]:
        """{ancestor: T_ancestor_frame}, nearest first, starting with the frame itself."""
        found, T = {frame: np.eye(4)}, np.eye(4)
        while frame in self._parents and len(found) < MAX_CHAIN:
            frame, T_parent = self._parents[frame]
            T = T_parent @ T
            found[frame] = T
        return found


def static_transforms(bag: Bag, deserialize: Deserialize) -> StaticTransforms:
    """All static transforms of a bag."""
    transforms = StaticTransforms()
    for _, message in bag.messages([TF_STATIC]):
        transforms.add(deserialize(message.data, message.kind))
    return transforms
