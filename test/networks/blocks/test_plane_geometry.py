"""Planes in torch: exact geometry, fitting, and matching that equals an exhaustive search."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from depth_ros.datatypes import Camera
from depth_ros.geometry import rays
from depth_ros.networks.blocks import planes as geometry
from depth_ros.networks.blocks.planenet_lite import ANCHORS
from depth_ros.networks.blocks.planenet_output import to_forward, to_optical


def test_depth_of_true_planes_equals_that_of_the_rendered_room(room):
    directions = geometry.pixel_rays(room.intrinsics, (96, 128))
    K = room.intrinsics[0].double().numpy()
    numpy_rays = rays(Camera.pinhole(128, 96, K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
    np.testing.assert_allclose(directions[0].permute(1, 2, 0).numpy(), numpy_rays, atol=1e-6)
    depths = geometry.plane_depths(room.planes, directions, 20.0)
    composed = depths.gather(1, room.labels[:, None].long())[:, 0]
    assert (composed - room.depth).abs().max() < 1e-4
    equations = geometry.plane_equations(room.planes)[0]
    points = torch.tensor(numpy_rays) * room.depth[0, ..., None]
    own = equations[room.labels[0].long()]
    assert ((points * own[..., :3]).sum(2) + own[..., 3]).abs().max() < 1e-4


def test_frames_of_the_published_networks_convert_to_the_optical_frame_and_back(room):
    assert torch.equal(to_optical(to_forward(room.planes)), room.planes)
    floor = to_optical(torch.tensor([0.0, 0.0, -1.4]))  # below the camera, in x right, y forward, z up
    assert floor.tolist() == pytest.approx([0.0, 1.4, 0.0])


def test_rays_of_cells_go_through_their_centres(room):
    fine = geometry.pixel_rays(room.intrinsics, (96, 128))
    cells = torch.nn.functional.avg_pool2d(fine, 4)
    coarse = geometry.pixel_rays(room.intrinsics, (24, 32), step=4)
    torch.testing.assert_close(coarse, cells, atol=1e-6, rtol=1e-5)


def test_fit_finds_the_planes_of_exact_depth_and_keeps_the_prior_of_empty_segments(room):
    directions = geometry.pixel_rays(room.intrinsics, (96, 128))
    count = room.planes.shape[1]
    segments = torch.nn.functional.one_hot(room.labels.long(), count).permute(0, 3, 1, 2).float()
    large = segments.sum((2, 3))[0] > 300
    assert large.sum() >= 3
    prior = torch.tensor(ANCHORS).repeat(20, 1)[None, :count]
    fitted = geometry.fit_planes(1 / room.depth, directions, segments, prior, prior_weight=1e-9)
    torch.testing.assert_close(fitted[0, large], room.planes[0, large], atol=2e-3, rtol=2e-3)
    empty = geometry.fit_planes(1 / room.depth, directions, torch.zeros_like(segments), prior)
    torch.testing.assert_close(empty, prior, atol=1e-4, rtol=1e-4)


def test_hungarian_matching_is_the_best_assignment_and_nearest_matching_may_repeat():
    torch.manual_seed(0)
    predicted, ground_truth = torch.randn(3, 5, 3), torch.randn(3, 4, 3)
    ground_truth[2, 3] = torch.nan
    index, valid = geometry.match_planes(predicted, ground_truth, "hungarian")
    assert valid.sum() == 11
    for b in range(3):
        n = int(valid[b].sum())
        cost = (ground_truth[b, :n, None] - predicted[b]).square().sum(2)
        orders = itertools.permutations(range(5), n)
        least = min(sum(cost[i, k] for i, k in enumerate(order)) for order in orders)
        chosen = index[b, :n].tolist()
        assert len(set(chosen)) == n
        assert sum(cost[i, k] for i, k in enumerate(chosen)) == pytest.approx(least.item())
    two, others = torch.tensor([[[0.0, 0, 1], [0, 0, 9]]]), torch.tensor([[[0.0, 0, 2], [0, 0, 3]]])
    assert geometry.match_planes(two, others, "nearest")[0].tolist() == [[0, 0]]


def test_mask_cost_decides_where_distances_are_similar_or_beyond_the_limit():
    """By distance alone the two planes would be exchanged."""
    predicted = torch.tensor([[[0.0, 0, 2], [0, 0, 3]]])
    ground_truth = torch.tensor([[[0.0, 0, 2.9], [0, 0, 2.1]]])
    assert geometry.match_planes(predicted, ground_truth, "hungarian")[0].tolist() == [[1, 0]]
    no_cost = torch.zeros(1, 2, 2)
    assert geometry.match_planes(predicted, ground_truth, "masks", no_cost)[0].tolist() == [[1, 0]]
    cost = torch.tensor([[[0.1, 3.0], [3.0, 0.1]]])
    assert geometry.match_planes(predicted, ground_truth, "masks", cost)[0].tolist() == [[0, 1]]
    far = torch.tensor([[[0.0, 0, 50], [0, 0, 90]]])
    assert geometry.match_planes(far, ground_truth, "masks", 0.01 * cost)[0].tolist() == [[0, 1]]


def test_soft_iou_is_intersection_over_union():
    torch.manual_seed(0)
    masks, segments = torch.rand(2, 3, 4, 5).round(), torch.rand(2, 6, 4, 5)
    intersection = (masks[1, 2] * segments[1, 4]).sum()
    union = (masks[1, 2] + segments[1, 4] - masks[1, 2] * segments[1, 4]).sum()
    torch.testing.assert_close(geometry.soft_iou(masks, segments)[1, 2, 4], intersection / union)
