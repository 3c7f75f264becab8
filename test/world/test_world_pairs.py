"""Generated stereo pairs: the disparity is consistent with the images in every kind of scene."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_ros.world.layers import Canvas, Layer, invert_increasing
from depth_ros.world.pair_distortions import vary_rectification
from depth_ros.world.pairs import Pairs, column_profile

WIDTH, HEIGHT = 256, 128


def warped_to_left(right: np.ndarray, disparity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The right image warped to the left one, and the mask of the pixels that are inside the right image."""
    x = np.arange(WIDTH, dtype=np.float32)[None] - disparity
    y = np.repeat(np.arange(HEIGHT, dtype=np.float32)[:, None], WIDTH, 1)
    return cv2.remap(right, x, y, cv2.INTER_LINEAR), x > 0


@pytest.mark.parametrize("seed", range(6))
def test_left_and_right_image_match_at_the_disparity(seed: int):
    left, right, disparity = Pairs().scene(np.random.default_rng(seed), WIDTH, HEIGHT)
    assert left.shape == right.shape == (HEIGHT, WIDTH, 3) and disparity.dtype == np.float32
    assert np.isfinite(disparity).all() and disparity.min() > 0

    def error(offset: float) -> float:
        warped, inside = warped_to_left(right, disparity + offset)
        difference = np.abs(cv2.blur(warped, (3, 3)).astype(int) - cv2.blur(left, (3, 3))).max(2)
        return float(np.minimum(difference, 40)[inside & (disparity > 3)].mean())

    assert error(0) < 0.85 * min(error(-3), error(3))  # a third may be occluded in the right image


def test_slanted_layer_occludes_and_is_occluded_by_disparity():
    wall = Layer(np.zeros(WIDTH), np.full(HEIGHT, 10.0), None, np.full((HEIGHT, WIDTH, 3), 50, np.uint8))
    canvas = Canvas((HEIGHT, WIDTH), [wall])
    box = np.full((40, 60), 255, np.uint8)
    ramp = 0.2 * np.arange(60)
    canvas.add(Layer(ramp, np.full(40, 20.0), box, np.full((40, 60, 3), 200, np.uint8), left=100, top=30))
    assert np.allclose(canvas.disparity[50, 100:160], 20 + ramp, atol=1e-4)
    row = canvas.right[50, :, 0]  # from 100 - 20 to 159 - 31.8: narrower in the right image
    assert (row[82:127] == 200).all() and (row[:79] == 50).all() and (row[129:] == 50).all()
    behind = np.full((40, 60, 3), 90, np.uint8)
    canvas.add(Layer(np.zeros(60), np.full(40, 5.0), box, behind, left=100, top=60))
    assert not (canvas.left == 90).any() and not (canvas.right == 90).any()  # the wall is closer


@pytest.mark.parametrize("seed", [2, 3])  # a wave, a fold
def test_inverse_of_a_curved_row(seed: int):
    x = np.arange(200, dtype=np.float32)
    right_x = (x - column_profile(x - 100, 0.1, np.random.default_rng(seed))).astype(np.float32)
    assert np.ptp(np.diff(right_x)) > 0.1
    index = invert_increasing(right_x, right_x[None, 5:195])
    assert np.allclose(index[0], x[5:195], atol=0.05)


def test_inverse_is_extrapolated_with_a_slope_of_one():
    values = 0.5 * np.arange(20, dtype=np.float32)
    index = invert_increasing(values, np.array([[-7.0, 4.0, 19.5]], np.float32))
    assert np.allclose(index, [[-7, 8, 29]], atol=1e-4)


def test_rectification_errors_are_vertical():
    columns = np.repeat(np.arange(0, 256, dtype=np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    rows = np.repeat(4 * np.arange(64, dtype=np.uint8)[:, None, None], 256, 1).repeat(3, 2)
    shifts = []
    for seed in range(100):
        assert np.array_equal(vary_rectification(columns, np.random.default_rng(seed)), columns)
        changed = vary_rectification(rows, np.random.default_rng(seed)).astype(float)
        shifts.append((rows - changed)[20:-20, 128].mean() / 4)  # px
    assert 20 < np.count_nonzero(shifts) < 60
    assert 0.15 < np.std(shifts) < 0.35  # 0.35 px in half of the images


def test_same_seed_gives_the_same_pair_and_the_images_differ_in_brightness():
    a, b = (Pairs().pair(np.random.default_rng(3), WIDTH, HEIGHT) for _ in range(2))
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    ideal = Pairs().scene(np.random.default_rng(3), WIDTH, HEIGHT)
    assert np.array_equal(a[2], ideal[2]) and not np.array_equal(a[1], ideal[1])


def test_recorded_textures_are_used():
    red = np.zeros((50, 60, 3), np.uint8)
    red[..., 0] = 255
    images = [Pairs([red]).scene(np.random.default_rng(seed), WIDTH, HEIGHT)[0] for seed in range(4)]
    assert any((image == (255, 0, 0)).all(2).mean() > 0.1 for image in images)
