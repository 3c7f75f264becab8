"""View synthesis agrees with geometry, with analytic shifts and with rendered ground truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from depth_ros.datatypes import Camera
from depth_ros.networks.blocks.synthesis import (
    back_project,
    in_image,
    intrinsics_at_scale,
    inverse,
    matrix_from_vector,
    project,
    sample,
    transform_points,
    vector_from_matrix,
    warp,
)
from depth_ros.world import World, WorldSettings


def camera(width: int, height: int, f: float) -> torch.Tensor:
    return torch.tensor([[[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]]])


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_matrices_are_rx_ry_rz_and_convert_back_to_vectors():
    vectors = (noise(5, 6) - 0.5) * torch.tensor([9, 9, 9, 3, 3, 3])
    T = matrix_from_vector(vectors)
    for vector, matrix in zip(vectors.double().numpy(), T.numpy()):
        expected = Rotation.from_euler("XYZ", vector[3:]).as_matrix()  # capitals: intrinsic, Rx Ry Rz
        np.testing.assert_allclose(matrix[:3, :3], expected, atol=1e-6)
        np.testing.assert_allclose(matrix[:, 3], [*vector[:3], 1], atol=1e-6)
    torch.testing.assert_close(vector_from_matrix(T), vectors, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(inverse(T) @ T, torch.eye(4).expand(5, 4, 4), atol=2e-6, rtol=0)


def test_identity_motion_returns_the_source():
    image, depth = noise(2, 3, 24, 40), 1 + 50 * noise(2, 1, 24, 40, seed=1)
    synthesis, valid = warp(image, depth, torch.eye(4).expand(2, 4, 4), camera(40, 24, 33.3).expand(2, 3, 3))
    assert valid.all()
    torch.testing.assert_close(synthesis, image, atol=2e-5, rtol=0)


@pytest.mark.parametrize("t", [0.4, -0.4, 1.0])
def test_fronto_parallel_plane_shifts_by_f_t_over_z(t):
    image = noise(1, 3, 16, 64)
    T = matrix_from_vector(
        torch.tensor([[t, 0, 0, 0, 0, 0]])
    )  # target points are t farther to the right in the source
    synthesis, valid = warp(image, torch.full((1, 1, 16, 64), 5.0), T, camera(64, 16, 50.0))
    shift = round(50 * t / 5)
    expected = torch.roll(image, -shift, 3)
    expected[..., (slice(64 - shift, None) if shift > 0 else slice(0, -shift))] = 0
    torch.testing.assert_close(synthesis, expected, atol=1e-4, rtol=0)
    assert valid.sum() == 16 * (64 - abs(shift))


def test_pixels_outside_are_zero_without_gradient_and_points_behind_are_outside():
    pixels = torch.tensor([[-0.5, 1.5], [1.0, 9.0]]).reshape(1, 2, 1, 2).requires_grad_()
    values = sample(torch.ones(1, 1, 4, 4), pixels)
    values.sum().backward()
    assert not values.any() and not pixels.grad.any()
    behind = project(torch.tensor([0.0, 0.0, -5.0]).reshape(1, 3, 1, 1), camera(4, 4, 3.0))
    assert not in_image(behind, 4, 4).any()


def test_gradients_equal_finite_differences():
    image, depth = noise(1, 2, 6, 8).double(), (4 + noise(1, 1, 6, 8, seed=1).double()).requires_grad_()
    vector = torch.tensor([[0.13, 0.04, 0.21, 0.02, -0.03, 0.01]], dtype=torch.float64, requires_grad=True)
    K = camera(8, 6, 7.0).double()
    assert torch.autograd.gradcheck(lambda d, v: warp(image, d, matrix_from_vector(v), K)[0], (depth, vector))


def test_intrinsics_at_a_scale_equal_those_of_the_resized_camera():
    K = torch.tensor([[[100.0, 0, 51.5], [0, 90, 20], [0, 0, 1]]])
    expected = Camera.pinhole(104, 48, 100, 90, 51.5, 20).resized(26, 12).K
    np.testing.assert_allclose(intrinsics_at_scale(K, 2)[0], expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["street", "room"])
def test_rendered_depth_and_motion_synthesise_one_frame_from_another(kind):
    world = World(WorldSettings(kind=kind, seed=4, frames=6, moving_count=0, width=192, height=96, noise=0.0))
    older, newer = world.view(2), world.view(3)
    T = torch.from_numpy(np.linalg.inv(older.T_world_camera) @ newer.T_world_camera).float()[None]
    K = torch.from_numpy(world.cameras["left"].K).float()[None]
    depth = torch.from_numpy(newer.depth)[None, None]
    depth_valid = torch.isfinite(depth)
    images = [torch.from_numpy(world.render(i)[0]).permute(2, 0, 1)[None] / 255 for i in (2, 3)]
    synthesis, visible = warp(images[0], depth.nan_to_num(1.0), T, K)
    valid = visible * depth_valid

    def error(image: torch.Tensor) -> float:
        return float(((image - images[1]).abs().mean(1, keepdim=True) * valid).sum() / valid.sum())

    assert error(synthesis) < 0.4 * error(images[0])
    # the points coincide with those of the older camera
    points = transform_points(T, back_project(depth.nan_to_num(1.0), K))
    inverse_depth = sample(torch.from_numpy(1 / older.depth).nan_to_num(0.0)[None, None], project(points, K))
    relative = (inverse_depth * points[:, 2:] - 1).abs()[valid > 0]
    assert relative.median() < 1e-3
