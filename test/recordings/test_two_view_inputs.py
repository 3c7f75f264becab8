"""Inputs of two-view networks made from a recording: what they are, and what is left out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from depth_ros.datatypes import Camera
from depth_ros.geometry import rectify
from depth_ros.recordings import DamagedFrame, Sample
from depth_ros.recordings.two_view_inputs import MAX_RECENT, TwoViewInputs
from depth_ros.world import World, WorldSettings


@pytest.fixture(scope="module")
def world():
    return World(WorldSettings(kind="room", seed=4, frames=12, width=160, height=120, moving_count=2))


class Changed:
    """A recording whose samples are changed by a function; counts how often each frame is read."""

    def __init__(self, recording, change, **contents):
        self._recording, self._change, self.reads = recording, change, [0] * len(recording)
        self.layout, self.rate, self.camera_source = "test", recording.rate, "test"
        self.names, self.stamps, self.damage = recording.names, recording.stamps, ()
        self.contents = dataclasses.replace(recording.contents, **contents)

    def __len__(self):
        return len(self._recording)

    def __getitem__(self, index) -> Sample:
        self.reads[index] += 1
        return self._change(self._recording[index])


def test_parallax_of_a_frame_is_the_depth_of_the_scene_without_people(world):
    """ln of the exact depth, its median over the same pixels subtracted, is what the network gets."""
    sample = TwoViewInputs(world)[2]
    inputs, people = sample.left.extra_inputs, sample.moving_objects > 0
    assert people.any() and np.array_equal(inputs["people"], people)
    assert not inputs["parallax"][people].any() and not inputs["confidence"][people].any()
    valid = inputs["parallax"] != 0
    assert valid.mean() > 0.2
    log = np.log(sample.depth[valid])
    assert np.median(np.abs(inputs["parallax"][valid] - (log - np.median(log)))) < 0.08


def test_what_cannot_be_made_is_left_out(world):
    without_poses = Changed(world, lambda s: dataclasses.replace(s, T_world_camera=None), poses=False)
    assert set(TwoViewInputs(without_poses)[2].left.extra_inputs) == {"people"}
    without_masks = Changed(world, lambda s: dataclasses.replace(s, moving_objects=None))
    assert set(TwoViewInputs(without_masks)[2].left.extra_inputs) == {
        "parallax", "confidence", "flow_x", "flow_y"
    }  # fmt: skip
    independent = Changed(world, lambda s: s, consecutive=False)
    assert set(TwoViewInputs(independent)[2].left.extra_inputs) == {"people"}


def test_recorded_inputs_are_kept(world):
    recorded = np.full((120, 160), 0.25, np.float32)

    def change(sample):
        inputs = {"confidence": recorded}
        return dataclasses.replace(sample, left=dataclasses.replace(sample.left, extra_inputs=inputs))

    inputs = TwoViewInputs(Changed(world, change))[2].left.extra_inputs
    assert inputs["confidence"] is recorded and inputs["parallax"].any()


def test_poses_of_an_odometry_give_the_same_inputs_as_recorded_ones(world):
    without_poses = Changed(world, lambda s: dataclasses.replace(s, T_world_camera=None), poses=False)
    T = np.eye(4)
    T[:3, 3] = 5, 6, 7  # another world frame
    poses = {stamp: T @ world.pose(i) for i, stamp in enumerate(world.stamps)}
    found, expected = TwoViewInputs(without_poses, poses)[2], TwoViewInputs(world)[2]
    np.testing.assert_allclose(
        found.left.extra_inputs["parallax"], expected.left.extra_inputs["parallax"], atol=1e-4
    )
    np.testing.assert_allclose(found.T_world_camera, T @ world.pose(2))


def test_frames_are_read_once_in_order_and_damaged_neighbours_are_passed_over(world):
    def change(sample):
        if sample.name == world.names[6]:
            raise DamagedFrame("torn")
        return sample

    recording = Changed(world, change)
    two_view = TwoViewInputs(recording)
    for index in (0, 1, 2):
        assert two_view[index].left.extra_inputs["parallax"].any()
    assert max(recording.reads) == 1 and len(two_view._recent) <= MAX_RECENT
    with pytest.raises(DamagedFrame):
        two_view[6]


def test_distorted_frames_are_rectified_with_their_labels(world):
    """The mask of the rectified frame covers the rectified moving object."""
    K = world.cameras["left"].K
    distortion = Camera(160, 120, K, np.hstack([K, np.zeros((3, 1))]), np.eye(3), (-0.2, 0.05, 0.0, 0.0, 0.0))

    def change(sample):
        left = dataclasses.replace(sample.left, camera=distortion)
        painted = np.where((sample.moving_objects > 0)[..., None], 255, 0).astype(np.uint8).repeat(3, 2)
        return dataclasses.replace(sample, left=dataclasses.replace(left, image=painted), right=None)

    sample = TwoViewInputs(Changed(world, change, poses=False))[2]
    assert sample.left.camera.is_rectified
    raw = np.where((world.moving_objects(2) > 0)[..., None], 255, 0).astype(np.uint8).repeat(3, 2)
    expected = rectify(raw, distortion)[0][..., 0] > 127
    assert expected.any() and (sample.left.extra_inputs["people"] > 0)[expected].mean() > 0.95
    assert (expected != (sample.left.extra_inputs["people"] > 0)).mean() < 0.02
