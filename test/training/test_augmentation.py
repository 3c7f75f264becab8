"""Crops, rolls and colour changes: image, depth and camera still describe the same scene."""

import dataclasses

import numpy as np
import pytest

from depth_ros.datatypes import Camera
from depth_ros.geometry import back_project
from depth_ros.training.augmentation import (
    centre_clip_crop,
    crop_example,
    random_clip_crop,
    roll_example,
)
from depth_ros.training.colours import jitter_colours
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.clip import ClipFrame
from depth_ros.training.data.example import Example

CLIP_CROP = CropSettings(64, 32, zoom=1.3, colours="none")


def wall_example(camera: Camera, distance: float = 7.0) -> Example:
    shape = (camera.height, camera.width)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    return Example(image, camera, np.full(shape, distance, np.float32), np.ones(shape, np.float32))


def test_depth_and_intrinsics_of_a_crop_describe_the_same_plane():
    camera = Camera.pinhole(160, 120, 110.0, 112.0, 83.0, 55.0)
    u, v = np.meshgrid(np.arange(160), np.arange(120))
    normal, offset = np.array([0.1, -0.3, 1.0]), 5.0
    rays = np.stack([(u - 83.0) / 110.0, (v - 55.0) / 112.0, np.ones_like(u)], -1)
    depth = (offset / (rays @ normal)).astype(np.float32)
    example = dataclasses.replace(wall_example(camera), depth=depth)
    mirrored = 0
    for seed in range(6):
        item, _ = crop_example(example, CropSettings(96, 64, zoom=2.0), np.random.default_rng(seed))
        K = item["intrinsics"]
        cropped = Camera.pinhole(96, 64, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
        points = back_project(np.ascontiguousarray(item["depth"]), cropped)
        errors = [np.abs(points @ (normal * [sign, 1, 1]) - offset).max() for sign in (1, -1)]
        assert min(errors) < 0.06  # nearest pixel of the depth image
        mirrored += errors[1] < errors[0]
    assert 0 < mirrored < 6


def test_a_roll_rotates_about_the_principal_point():
    camera = Camera.pinhole(64, 48, 60.0, 60.0, 30.0, 20.0)
    example = wall_example(camera)
    example.image[:] = 0
    example.image[18:23, 48:53] = 255  # 20 px to the right of the principal point
    rolled = roll_example(example, 90.0)  # counter-clockwise: now 20 px above it, at the upper border
    assert not rolled.image[:, 40:].any()
    rolled = roll_example(example, -90.0)
    v, u = np.nonzero(rolled.image[..., 0] > 127)
    assert [u.mean(), v.mean()] == pytest.approx([30.0, 40.0], abs=0.6)
    assert np.isnan(rolled.depth[:, 0]).any() and np.nanmax(rolled.depth) == 7.0
    assert (rolled.weight[np.isnan(rolled.depth)] == 0).all()


def test_colour_jitter_changes_colours_but_no_positions():
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 20:] = 200
    for seed in range(8):
        changed = jitter_colours(image, np.random.default_rng(seed)).astype(int)
        assert changed[:, 25:].min() > changed[:, :15].max() + 30
    assert (changed[:, 25:] != 200).any()


def ray_frame(camera: Camera) -> ClipFrame:
    """A frame whose colours are the directions of its pixels: 127 + 100 x, 127 + 100 y."""
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    x, y = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
    image = np.stack([127 + 100 * x, 127 + 100 * y, 0 * x], -1).round().astype(np.uint8)
    return ClipFrame(image, image[..., 0], camera)


@pytest.mark.parametrize("seed", range(4))
def test_intrinsics_of_a_clip_crop_give_every_pixel_its_direction(seed):
    camera = Camera.pinhole(101, 47, 90.0, 88.0, 47.0, 25.0)
    item = random_clip_crop((ray_frame(camera),) * 3, CLIP_CROP, np.random.default_rng(seed))
    K, image = item["intrinsics"], item["images"][1].astype(float)
    assert item["images"].shape == (3, 32, 64, 3) and (item["images"][0] == item["images"][2]).all()
    u, v = np.meshgrid(np.arange(64), np.arange(32))
    x, y = (u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]
    mirrored = image[0, 0, 0] > image[0, -1, 0]
    np.testing.assert_allclose(image[..., 0], 127 + 100 * (-x if mirrored else x), atol=1.0)
    np.testing.assert_allclose(image[..., 1], 127 + 100 * y, atol=1.0)
    np.testing.assert_allclose(item["labels"][1], image[..., 0], atol=1.5)  # labels are cropped like images


def test_all_frames_of_a_clip_get_the_same_colours():
    camera = Camera.pinhole(101, 47, 90.0, 88.0, 47.0, 25.0)
    crop = dataclasses.replace(CLIP_CROP, colours="strong", mirror=False)
    clip = (ray_frame(camera),) * 3
    images = random_clip_crop(clip, crop, np.random.default_rng(0))["images"]
    plain = random_clip_crop(clip, dataclasses.replace(crop, colours="none"), np.random.default_rng(0))
    assert (images[0, 2:-2] == images[1, 2:-2]).all() and (images != plain["images"]).any()


def test_the_centre_crop_is_the_widest_window_unchanged():
    camera = Camera.pinhole(100, 40, 90.0, 88.0, 47.0, 25.0)
    clip = (ray_frame(camera),) * 3
    item = centre_clip_crop(clip, CropSettings(80, 40, zoom=1.3))
    np.testing.assert_array_equal(item["images"][1], clip[1].image[:, 10:90])
    item = centre_clip_crop(clip, CLIP_CROP)
    np.testing.assert_allclose(item["intrinsics"], camera.cropped(10, 0, 80, 40).resized(64, 32).K, rtol=1e-6)
