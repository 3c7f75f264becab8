"""Alignment of point clouds recovers known motions and has the gradients that are defined for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_ros.networks.blocks.alignment import align, alignment, surface_normals
from depth_ros.networks.blocks.point_alignment import align_to_points
from depth_ros.networks.blocks.synthesis import back_project, inverse, matrix_from_vector, transform_points
from depth_ros.world import World, WorldSettings


def two_clouds(kind: str, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, np.ndarray]:
    """Clouds of a newer and an older frame, (1, 3, H, W) each, K and the true T_older_newer."""
    world = World(WorldSettings(kind=kind, seed=seed, frames=10, moving_count=0, width=256, height=128))
    older, newer = world.view(2), world.view(3)
    K = torch.from_numpy(world.cameras["left"].K).float()[None]
    clouds = (back_project(torch.from_numpy(view.depth)[None, None], K) for view in (newer, older))
    return *clouds, K, np.linalg.inv(older.T_world_camera) @ newer.T_world_camera


@pytest.mark.parametrize(("kind", "seed"), [("street", 3), ("street", 5), ("room", 1)])
def test_motion_between_rendered_clouds_is_accurate_to_1_mm_and_a_hundredth_of_a_degree(kind, seed):
    newer, older, K, ground_truth = two_clouds(kind, seed)
    T, residual, matched = align(newer, older, K)
    error = np.linalg.inv(ground_truth) @ T[0].numpy().astype(float)
    rotation = [error[2, 1] - error[1, 2], error[0, 2] - error[2, 0], error[1, 0] - error[0, 1]]
    assert np.linalg.norm(ground_truth[:3, 3]) > 0.01
    assert np.linalg.norm(error[:3, 3]) < 1e-3
    assert np.degrees(np.linalg.norm(rotation) / 2) < 0.01
    assert matched.mean() > 0.5 and residual.abs().mean() < 0.02


def test_residuals_are_vectors_from_points_to_their_planes():
    K = torch.tensor([[[40.0, 0, 31.5], [0, 40, 15.5], [0, 0, 1]]])
    v, u = torch.meshgrid(torch.arange(32.0), torch.arange(64.0), indexing="ij")
    corner = torch.minimum(8 / (1 + 0.01 * (u - 31.5).abs()), 80 / (v - 8).clamp(min=1))[None, None]
    cloud = back_project(corner, K)
    bent = cloud.clone()
    bent[:, :, 10:13, 20:24] *= 0.9  # a part of the wall is too near
    T, residual, matched = align(bent, cloud, K)
    torch.testing.assert_close(T, torch.eye(4)[None], atol=2e-3, rtol=0)
    normals, valid = surface_normals(cloud)
    piece = (slice(None), slice(None), slice(10, 13), slice(20, 24))
    assert matched[piece].all() and valid[piece].all()
    gap = (normals * (cloud - bent)).sum(1, keepdim=True)
    torch.testing.assert_close(residual[piece], (normals * gap)[piece], atol=2e-2, rtol=0)
    residual[piece] = 0
    assert residual.abs().max() < 2e-2


def test_clouds_without_valid_points_give_the_identity():
    newer, older, K, _ = two_clouds("street", 3)
    assert torch.isnan(newer).any()  # sky
    T, residual, _ = align(newer, torch.full_like(older, torch.nan), K)
    torch.testing.assert_close(T, torch.eye(4)[None])
    assert not residual.any()


def test_motion_and_points_get_the_negative_gradients_of_correction_and_residuals():
    newer, older, K, _ = two_clouds("street", 3)
    cloud = newer.nan_to_num(0.0).requires_grad_()
    vector = torch.tensor([[0.1, 0.0, 0.2, 0.0, 0.05, 0.0]], requires_grad=True)
    older = older.nan_to_num(0.0).requires_grad_()
    correction, residual = alignment(vector, cloud, older, K)
    (correction @ torch.arange(1.0, 7.0) + (residual * 3).sum()).sum().backward()
    torch.testing.assert_close(vector.grad, -torch.arange(1.0, 7.0)[None])
    R = inverse(matrix_from_vector(vector.detach()))
    R[:, :3, 3] = 0
    torch.testing.assert_close(cloud.grad, transform_points(R, torch.full_like(newer, -3.0)))
    assert older.grad is None


def test_point_to_point_icp_finds_the_motion_of_a_cloud_and_the_nearest_points():
    """A cloud that is moved as a whole; and one step equals a brute-force search with Kabsch's formula."""
    cloud = back_project(torch.rand(1, 1, 12, 16) + 4, torch.tensor([[[20.0, 0, 8], [0, 20, 6], [0, 0, 1]]]))
    T = matrix_from_vector(torch.tensor([[0.02, -0.01, 0.03, 0.002, -0.003, 0.001]]))
    moved = transform_points(T, cloud)
    found, residual, matched = align_to_points(cloud, moved, torch.eye(3)[None], 30)
    torch.testing.assert_close(found, T, atol=2e-3, rtol=0)
    assert matched.all() and residual.norm(dim=1).median() < 1e-3
    moved[:, :, 3, 4] = torch.nan
    _, residual, matched = align_to_points(moved, cloud, torch.eye(3)[None], 0)
    assert matched.sum() == 12 * 16 - 1 and not residual[:, :, 3, 4].any()
    points, targets = (x[0].flatten(1).T for x in (moved, cloud))
    nearest = targets[torch.cdist(points.nan_to_num(), targets).argmin(1)] - points
    torch.testing.assert_close(residual[0].flatten(1).T, nearest.nan_to_num(), atol=1e-5, rtol=0)
    one, _, _ = align_to_points(moved, cloud, torch.eye(3)[None], 1)
    p, q = points[~points.isnan().any(1)].double(), (points + nearest)[~points.isnan().any(1)].double()
    R = one[0, :3, :3].double()
    torch.testing.assert_close(R @ R.T, torch.eye(3, dtype=torch.float64), atol=1e-6, rtol=0)
    least = (p @ R.T + one[0, :3, 3] - q).square().sum()
    for turn in 1e-3 * torch.eye(6):  # no small motion is better
        other = matrix_from_vector(turn[None])[0].double() @ one[0].double()
        assert (p @ other[:3, :3].T + other[:3, 3] - q).square().sum() > least
