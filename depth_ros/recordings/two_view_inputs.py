"""A recording with the inputs of two-view networks: masks of people, parallax depth, confidence, flow, key points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from depth_ros.geometry import inverse, rectify, rectify_depth, rectify_labels
from depth_ros.parallax import (
    MAX_FRAME_DISTANCE,
    Parallax,
    parallax_inputs,
    people_input,
    select_second_image,
    two_view_parallax,
)
from depth_ros.recordings.instances import movable_objects
from depth_ros.recordings.sample import Contents, DamagedFrame, Recording, Sample

MAX_RECENT = 2 * MAX_FRAME_DISTANCE + 2
"""Number of frames that are kept in memory: those among which the second image of a frame is searched."""


class TwoViewInputs:
    """The rectified frames of another recording, with as many of their `extra_inputs` as can be made.

    people needs instances or moving objects; parallax, confidence and flow need poses, and images that overlap; what
    the other recording has already stays as it is. poses: {stamp: T_world_camera}, where it has none of its own.
    """

    def __init__(self, recording: Recording, poses: Mapping[int, np.ndarray] | None = None) -> None:
        self._recording, self._given_poses = recording, poses
        self._recent: dict[int, Sample] = {}
        self._poses: dict[int, np.ndarray | None] = {}
        self._last: tuple[int, Parallax | None] = (-1, None)
        self.layout, self.rate, self.camera_source = recording.layout, recording.rate, recording.camera_source
        self.names, self.stamps, self.note = recording.names, recording.stamps, getattr(recording, "note", "")

    @property
    def damage(self) -> Sequence[str]:
        return self._recording.damage

    @property
    def contents(self) -> Contents:
        own = self._recording.contents
        return replace(own, poses=own.poses or bool(self._given_poses))

    def __len__(self) -> int:
        return len(self._recording)

    def __getitem__(self, index: int) -> Sample:
        sample = self._sample(index)
        objects = movable_objects(sample)
        inputs = {} if objects is None else people_input(objects)
        parallax = self.parallax(index)
        if parallax is not None:
            inputs |= parallax_inputs(parallax)
        inputs |= sample.left.extra_inputs
        return replace(sample, left=replace(sample.left, extra_inputs=inputs))

    def parallax(self, index: int) -> Parallax | None:
        """Parallax of a frame with the best second image near it; None if no frame with a pose overlaps enough."""
        if self._last[0] != index:
            self._last = index, self._parallax(index) if self._recording.contents.consecutive else None
        return self._last[1]

    def _parallax(self, index: int) -> Parallax | None:
        first = self._sample(index)
        low, high = max(0, index - MAX_FRAME_DISTANCE), min(len(self), index + MAX_FRAME_DISTANCE + 1)
        found = select_second_image([self._pose(i) for i in range(low, high)], index - low, first.left.camera)
        T_world_first = self._pose(index)
        if found is None or T_world_first is None:
            return None
        second = self._sample(low + found)
        T_world_second = self._pose(low + found)
        assert T_world_second is not None
        objects = movable_objects(first)
        moving = np.zeros(first.left.image.shape[:2], bool) if objects is None else objects > 0
        T = inverse(T_world_second) @ T_world_first
        return two_view_parallax(first.left.image, second.left.image, T, first.left.camera, moving)

    def _pose(self, index: int) -> np.ndarray | None:
        """T_world_camera of a frame; None where it is not known, or the frame is damaged."""
        if index not in self._poses:
            try:
                self._poses[index] = self._sample(index).T_world_camera
            except DamagedFrame:
                self._poses[index] = None
        return self._poses[index]

    def _sample(self, index: int) -> Sample:
        if index not in self._recent:
            sample = rectified(self._recording[index])
            if self._given_poses is not None:
                sample = replace(sample, T_world_camera=self._given_poses.get(sample.left.stamp))
            self._recent[index] = sample
            while len(self._recent) > MAX_RECENT:
                del self._recent[next(iter(self._recent))]
        return self._recent[index]


def rectified(sample: Sample) -> Sample:
    """The sample with the rectified left image, and depth and labels as this image; without its right image.

    The sample itself if it is rectified. Raises DepthRosError as `rectify_depth`.
    """
    camera, depth, labels = sample.left.camera, sample.depth, (sample.moving_objects, sample.instances)
    if camera.is_rectified:
        return sample
    image, new_camera = rectify(sample.left.image, camera)
    moving, instances = (None if each is None else rectify_labels(each, camera) for each in labels)
    return replace(
        sample,
        left=replace(sample.left, image=image, camera=new_camera),
        right=None,
        depth=None if depth is None else rectify_depth(depth, camera)[0],
        moving_objects=moving,
        instances=instances,
    )
