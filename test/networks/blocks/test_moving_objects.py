"""Moving objects of struct2depth: tracking, synthesis of the middle frame, size prior."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_ros.networks import struct2depth
from depth_ros.networks.blocks.moving_objects import (
    TrackedObjects,
    released_size_prior,
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


def objects_of_two_clips() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """labels (2, 3, 16, 24) with ids 3 and 5 in the first clip and 1 in the second, depth (2, 3, 16, 24), fy (2,)."""
    rng = np.random.default_rng(0)
    labels = np.zeros((2, 3, 16, 24), np.uint8)
    for frame in range(3):
        labels[0, frame, 2 : 8 + frame, 3:10], labels[0, frame, 5:12, 14:20] = 3, 5
        labels[1, frame, 1:15, 2 + frame : 8] = 1
    return labels, rng.uniform(2, 20, labels.shape), np.array([50.0, 70.0])


def mean_errors(labels, depth, fy, heights, less: int) -> dict[tuple[int, int], list[float]]:
    """Of every id of a clip, by frame: the mean over its pixels of |D - fy h / rows| / mean D."""
    errors = {}
    for clip in range(2):
        for number in np.unique(labels[clip]):
            for frame in range(3):
                mask, D = labels[clip, frame] == number, depth[clip, frame]
                rows = np.flatnonzero(mask.any(1))
                expected = fy[clip] * heights[number] / (rows.max() - rows.min() + 1 - less)
                error = np.mean(np.abs(D[mask] - expected)) / D.mean()
                errors.setdefault((clip, int(number)), []).append(error)
    return errors


def test_size_prior_of_the_paper_is_a_sum_over_objects_each_with_the_height_of_its_category():
    labels, depth, fy = objects_of_two_clips()
    heights = {0: np.nan, 1: 0.5, 3: 1.5, 5: 0.9}
    errors = mean_errors(labels, depth, fy, heights, less=0)
    expected = sum(sum(values) for (_, number), values in errors.items() if number) / 2  # clips
    objects = track_objects(torch.from_numpy(labels))
    assert objects.label.tolist() == [3, 5, 1] and objects.clip.tolist() == [0, 0, 1]
    given = torch.tensor([heights[number] for number in objects.label.tolist()])
    found = size_prior(torch.from_numpy(depth), objects, torch.from_numpy(fy), given)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_size_prior_of_the_code_is_a_mean_over_the_ids_with_the_background_and_a_sum_over_clips():
    labels, depth, fy = objects_of_two_clips()
    errors = mean_errors(labels, depth, fy, dict.fromkeys(range(6), 0.7), less=1)
    expected = 0.0
    for clip in range(2):
        of_clip = np.array([values for (each, _), values in errors.items() if each == clip])
        expected += of_clip.mean(0).sum()
    objects = track_objects(torch.from_numpy(labels))
    found = released_size_prior(torch.from_numpy(depth), objects, torch.from_numpy(fy), torch.tensor(0.7))
    assert found.item() == pytest.approx(expected, rel=1e-5)
    paper = size_prior(torch.from_numpy(depth), objects, torch.from_numpy(fy), torch.tensor(0.7))
    assert abs(found.item() / paper.item() - 1) > 0.05


def test_a_mask_of_one_row_has_a_finite_prior():
    """The released code divides by zero there."""
    labels = np.zeros((1, 3, 16, 24), np.uint8)
    labels[:, :, 4, 2:22] = 1
    objects = track_objects(torch.from_numpy(labels))
    found = released_size_prior(torch.ones(1, 3, 16, 24), objects, torch.tensor([50.0]), torch.tensor(0.1))
    assert torch.isfinite(found)


def test_the_loss_learns_a_height_for_each_category():
    """Two categories move apart; without categories there is one height, and the settings select the prior."""
    labels, _, _ = objects_of_two_clips()
    labels = np.pad(np.kron(labels, np.ones((1, 1, 2, 2), np.uint8)), ((0, 0), (0, 0), (0, 0), (0, 16)))
    module = struct2depth
    torch.manual_seed(0)
    models = module.build_training_model(module.Settings(width_divisor=16, categories=34))
    categories = torch.zeros(2, 256, dtype=torch.uint8)
    categories[0, 3], categories[0, 5], categories[1, 1] = 24, 26, 26
    batch = {
        "images": torch.randint(0, 256, (2, 3, 32, 64, 3), dtype=torch.uint8), "labels": torch.from_numpy(labels),
        "intrinsics": torch.tensor([[[40.0, 0, 24], [0, 40, 16], [0, 0, 1]]]).repeat(2, 1, 1), "categories": categories,
    }  # fmt: skip
    heights = models["object_motion"].height
    module.loss(models, batch, module.LossSettings(size_prior="paper"))["loss"].backward()
    assert heights.shape == (34,) and heights.grad.nonzero().flatten().tolist() == [24, 26]
    with torch.no_grad():
        terms = [
            module.loss(models, batch, module.LossSettings(size_prior=name))["size"]
            for name in ("paper", "code")
        ]
    assert terms[0] != terms[1]
    assert module.build_training_model(module.Settings(width_divisor=16))["object_motion"].height.shape == ()


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
