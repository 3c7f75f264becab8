"""Generated pairs: the disparity is the one that the images show, in every kind of scene."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_ros.world import pairs
from depth_ros.world.pairs import Canvas, Pairs, Surface

WIDTH, HEIGHT = 256, 128


def seen_in_the_right_eye(right: np.ndarray, disparity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the right image shows where the left pixels should be, and whether that lies inside."""
    x = np.arange(WIDTH, dtype=np.float32)[None] - disparity
    y = np.repeat(np.arange(HEIGHT, dtype=np.float32)[:, None], WIDTH, 1)
    return cv2.remap(right, x, y, cv2.INTER_LINEAR), x > 0


@pytest.mark.parametrize("seed", range(6))
def test_both_eyes_show_the_same_points(seed: int):
    left, right, disparity = Pairs().scene(np.random.default_rng(seed), WIDTH, HEIGHT)
    assert left.shape == right.shape == (HEIGHT, WIDTH, 3) and disparity.dtype == np.float32
    assert np.isfinite(disparity).all() and disparity.min() > 0

    def error(wrong: float) -> float:
        warped, inside = seen_in_the_right_eye(right, disparity + wrong)
        difference = np.abs(cv2.blur(warped, (3, 3)).astype(int) - cv2.blur(left, (3, 3))).max(2)
        return float(np.minimum(difference, 40)[inside & (disparity > 3)].mean())

    assert error(0) < 0.85 * min(error(-3), error(3))  # a third may be hidden in the right eye


def test_a_slanted_surface_hides_and_is_hidden_as_it_should():
    wall = Surface(np.zeros(WIDTH), np.full(HEIGHT, 10.0), None, np.full((HEIGHT, WIDTH, 3), 50, np.uint8))
    canvas = Canvas((HEIGHT, WIDTH), [wall])
    box = np.full((40, 60), 255, np.uint8)
    ramp = 0.2 * np.arange(60)
    canvas.add(Surface(ramp, np.full(40, 20.0), box, np.full((40, 60, 3), 200, np.uint8), left=100, top=30))
    assert np.allclose(canvas.disparity[50, 100:160], 20 + ramp, atol=1e-4)
    row = canvas.right[50, :, 0]  # from 100 - 20 to 159 - 31.8: narrower in the right eye
    assert (row[82:127] == 200).all() and (row[:79] == 50).all() and (row[129:] == 50).all()
    behind = np.full((40, 60, 3), 90, np.uint8)
    canvas.add(Surface(np.zeros(60), np.full(40, 5.0), box, behind, left=100, top=60))
    assert not (canvas.left == 90).any() and not (canvas.right == 90).any()  # the wall is nearer


def test_an_inverse_of_a_curved_row():
    x = np.arange(200, dtype=np.float32)
    seen = x - pairs.bent(x - 100, 0.1, np.random.default_rng(4))
    place = pairs.inverse(seen.astype(np.float32), seen[None, 5:195].astype(np.float32))
    assert np.allclose(place[0], x[5:195], atol=0.05)


def test_the_same_seed_gives_the_same_pair_and_the_eyes_differ_in_light():
    a, b = (Pairs().pair(np.random.default_rng(3), WIDTH, HEIGHT) for _ in range(2))
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    perfect = Pairs().scene(np.random.default_rng(3), WIDTH, HEIGHT)
    assert np.array_equal(a[2], perfect[2]) and not np.array_equal(a[1], perfect[1])


def test_recorded_textures_are_used():
    red = np.zeros((50, 60, 3), np.uint8)
    red[..., 0] = 255
    images = [Pairs([red]).scene(np.random.default_rng(seed), WIDTH, HEIGHT)[0] for seed in range(4)]
    assert any((image == (255, 0, 0)).all(2).mean() > 0.1 for image in images)
