"""Sampling between the eyes, SSIM and smoothness, against values worked out by other means."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from depth_ros.networks.blocks.photometric import appearance, smoothness, ssim
from depth_ros.networks.blocks.sampling import sample_horizontal


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values).reshape(1, 1, 1, -1)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (0, (1, 2, 3, 4)),
        (1, (2, 3, 4, 0)),
        (-1, (0, 1, 2, 3)),
        (0.25, (1.25, 2.25, 3.25, 3)),
        (-0.25, (0.75, 1.75, 2.75, 3.75)),  # a quarter of the column of zeros, then between neighbours
        (4, (0, 0, 0, 0)),
        (-9, (0, 0, 0, 0)),
    ],
)
def test_a_shift_reads_neighbours_and_zeros_outside(shift, expected):
    offset = torch.full((1, 1, 1, 4), shift / 4)
    torch.testing.assert_close(sample_horizontal(row(1, 2, 3, 4), offset), row(*map(float, expected)))


def test_every_pixel_and_row_has_its_own_offset_and_channels_share_it():
    image = torch.arange(24.0).reshape(1, 3, 2, 4)
    offset = torch.tensor([[0, 1, -2, 0], [3, 0, 0, -3]]).reshape(1, 1, 2, 4) / 4
    columns = torch.tensor([[0, 2, 0, 3], [3, 1, 2, 0]])
    for channel in range(3):
        expected = image[0, channel].gather(1, columns)
        torch.testing.assert_close(sample_horizontal(image, offset)[0, channel], expected)


def test_the_samplers_gradients_are_those_of_finite_differences():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 2, 8, dtype=torch.float64, generator=generator, requires_grad=True)
    offset = torch.rand(2, 1, 2, 8, dtype=torch.float64, generator=generator) - 0.5  # some leave the image
    assert torch.autograd.gradcheck(sample_horizontal, (image, offset.requires_grad_()))
    outside = torch.full((1, 1, 2, 8), -1.5, dtype=torch.float64, requires_grad=True)
    sample_horizontal(image[:1], outside).sum().backward()
    assert not outside.grad.any()


def test_true_disparities_of_a_recorded_pair_turn_the_right_image_into_the_left(data_root):
    folder = data_root / "kitti2015_stereo"
    name = min((folder / "left").iterdir()).stem
    left, right = (
        torch.from_numpy(cv2.imread(str(folder / eye / f"{name}.jpg"))).permute(2, 0, 1)[None] / 255
        for eye in ("left", "right")
    )
    stored = cv2.imread(str(folder / "disparity" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
    disparity = torch.from_numpy(stored.astype(np.float32) / 256)[None, None] / left.shape[3]
    known = disparity > 0

    def error(offset: torch.Tensor) -> float:
        return float((sample_horizontal(right, offset) - left).abs().mean(1, keepdim=True)[known].mean())

    assert error(-disparity) < 0.4 * error(0 * disparity)
    assert error(-disparity) < 0.4 * error(disparity)


def test_ssim_is_that_of_a_plain_implementation():
    generator = np.random.default_rng(0)
    a = generator.random((2, 3, 9, 12))
    b = 0.7 * a + 0.3 * generator.random(a.shape)

    def mean(x):
        return uniform_filter(x, (1, 1, 3, 3))[:, :, 1:-1, 1:-1]

    var_a, var_b = mean(a**2) - mean(a) ** 2, mean(b**2) - mean(b) ** 2
    luminance = (2 * mean(a) * mean(b) + 1e-4) / (mean(a) ** 2 + mean(b) ** 2 + 1e-4)
    structure = (2 * (mean(a * b) - mean(a) * mean(b)) + 9e-4) / (var_a + var_b + 9e-4)
    found = ssim(torch.from_numpy(a), torch.from_numpy(b))
    assert found.shape == (2, 3, 7, 10)
    np.testing.assert_allclose(found.numpy(), luminance * structure, atol=1e-12)


def test_appearance_of_equal_and_of_plain_images():
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert appearance(image, image).item() == pytest.approx(0, abs=1e-6)
    black, grey = torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5)
    similarity = 1e-4 / (0.25 + 1e-4)  # no variance: luminance alone
    expected = 0.85 * (1 - similarity) / 2 + 0.15 * 0.5
    assert appearance(black, grey).item() == pytest.approx(expected, abs=1e-6)
    assert appearance(black, grey, ssim_weight=0.0).item() == pytest.approx(0.5)


def test_smoothness_in_numbers():
    values = torch.tensor([[0.0, 1.0, 3.0], [0.0, 1.0, 7.0]]).reshape(1, 1, 2, 3)
    image = torch.zeros(1, 3, 2, 3)
    image[:, 0, :, 2] = 3 * math.log(2)  # mean over channels ln 2: weight 1/2 across that edge
    across = (1 + 2 / 2 + 1 + 6 / 2) / 4
    down = (0 + 0 + 4) / 3
    assert smoothness(values, image, "x").item() == pytest.approx(across)
    assert smoothness(values, image, "y").item() == pytest.approx(down)
    assert smoothness(values, image).item() == pytest.approx(across + down)
