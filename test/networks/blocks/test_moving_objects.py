"""Moving objects of struct2depth: tracking, synthesis of the middle frame, size prior."""

from __future__ import annotations

import pytest
import torch

from depth_ros.networks.blocks.moving_objects import (
    TrackedObjects,
    mask_heights,
    size_prior,
    synthesise_middle,
    track_objects,
)
from depth_ros.networks.blocks.synthesis import matrix_from_vector, warp


def test_objects_that_are_not_in_all_frames_are_background():
    labels = torch.zeros(2, 3, 64, 96, dtype=torch.uint8)
    labels[:, :, 20:40, 50:80] = 2
    labels[0, :2, :20, :20] = 7  # missing in the last frame
    labels[1, :, :3, :5] = 9  # 15 pixels are too few
    objects = track_objects(labels)
    assert objects.clip.tolist() == [0, 1]
    for k in range(2):
        assert torch.equal(objects.owner[k], (k + 1) * (labels[k] == 2).long())
        assert torch.equal(objects.masks[k], (labels[k] == 2).float())


def test_size_prior_is_the_relative_error_of_the_depth_expected_from_the_height():
    labels = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    labels[1, :, 2:6, 3:7] = 1  # four rows, in the second clip
    objects = track_objects(labels)
    rows = mask_heights(objects.masks)
    assert rows.tolist() == [[4, 4, 4]]
    depth = torch.stack([torch.full((3, 8, 8), 99.0), torch.full((3, 8, 8), 10.0)])
    for height, expected in ((0.4, 3 * 5 / 10), (0.8, 0.0)):  # 50 * 0.4 / 4 = 5 m, 50 * 0.8 / 4 = 10 m
        assert size_prior(depth, objects, 50 * height / rows).item() == pytest.approx(expected)


def test_each_object_is_moved_by_its_own_motion():
    """The synthesis with two objects equals, on each of them, the synthesis by the motion of that object."""
    torch.manual_seed(0)
    frames, depth = torch.rand(1, 3, 3, 32, 64), torch.rand(1, 1, 32, 64) + 5
    K = torch.tensor([[[40.0, 0, 31.5], [0, 40, 15.5], [0, 0, 1]]])
    labels = torch.zeros(1, 3, 32, 64, dtype=torch.uint8)
    labels[..., 5:15, 5:20], labels[..., 10:25, 30:50] = 1, 2
    objects: TrackedObjects = track_objects(labels)
    motions = matrix_from_vector(0.3 * torch.rand(2, 2, 6))
    synthesised = synthesise_middle(frames, objects.owner, depth, K, motions)
    background = objects.owner[:, 1:2] == 0
    for i, source in enumerate((0, 2)):
        torch.testing.assert_close(synthesised[i] * background, frames[:, source] * background)
        for number in range(2):
            alone, _ = warp(frames[:, source], depth, motions[number, i][None], K)
            mask = objects.owner[:, 1:2] == number + 1
            torch.testing.assert_close(synthesised[i] * mask, alone * mask, atol=1e-5, rtol=1e-5)
