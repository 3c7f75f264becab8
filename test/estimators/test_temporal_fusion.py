"""Temporal fusion: what flickers gets steady, what moves does not lag, and poses of the camera are used."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_ros.datatypes import Camera, Depth
from depth_ros.estimators.temporal_fusion import TemporalFusion, warped
from depth_ros.geometry import rays, se3_exp

CAMERA = Camera.pinhole(160, 120, 140.0, 140.0, 79.5, 59.5)
IMAGE = np.zeros((120, 160, 3), np.uint8)
OBJECT = np.s_[40:80, 50:100]
NORMAL, DISTANCE = np.array([0.1, 0.3, 1.0]), 5.0


def depth_of(z: np.ndarray, stamp: int = 0, std: np.ndarray | None = None) -> Depth:
    return Depth(stamp, "", z.astype(np.float32), CAMERA, IMAGE, std)


def plane(T_world_camera: np.ndarray) -> np.ndarray:
    """Depth (H, W) of the plane NORMAL . X = DISTANCE of the world."""
    R, t = T_world_camera[:3, :3], T_world_camera[:3, 3]
    return (DISTANCE - NORMAL @ t) / (rays(CAMERA) @ (NORMAL @ R))


def test_the_old_depth_is_that_of_the_moved_camera():
    T_old_new = se3_exp(np.array([0.2, -0.1, 0.6, 0.02, 0.05, -0.03]))
    new = plane(T_old_new)
    found, values = warped(plane(np.eye(4)).astype(np.float32), np.ones((120, 160), np.float32), CAMERA,
                           depth_of(new), T_old_new)  # fmt: skip
    seen = np.isfinite(found)
    assert 0.5 < seen.mean() < 1 and found[seen] == pytest.approx(new[seen], rel=1e-3)
    assert values[seen] == pytest.approx(1)


def noisy_images(count: int, approach: float = 0.0):
    """Camera motion, ground truth and depth with a scale that flickers by 5 % and blobs of 5 %; the object comes nearer
    by a fraction with each image."""
    generator, T, near = np.random.default_rng(0), np.eye(4), 4.0
    T_old_new = se3_exp(np.array([0.02, 0.0, 0.03, 0.0, 0.004, 0.0]))
    for _ in range(count):
        truth = plane(T)
        if approach:
            truth[OBJECT] = near
            near *= 1 - approach
        blobs = cv2.GaussianBlur(generator.standard_normal((120, 160)), (0, 0), 4)
        noise = 0.05 * blobs / blobs.std() + 0.05 * generator.standard_normal()
        yield T_old_new, truth, truth * np.exp(noise)
        T = T @ T_old_new


def log_errors(fuse: bool) -> np.ndarray:
    fusion, errors = TemporalFusion(), []
    for motion, truth, z in noisy_images(30):
        depth = fusion.fuse(depth_of(z), motion) if fuse else depth_of(z)
        errors.append(np.log(depth.depth / truth)[20:-20, 20:-20])
    return np.array(errors[5:])


def test_flicker_is_halved_and_errors_become_smaller():
    single, fused = log_errors(fuse=False), log_errors(fuse=True)
    assert np.abs(np.diff(fused, axis=0)).mean() < 0.5 * np.abs(np.diff(single, axis=0)).mean()
    assert np.abs(fused).mean() < 0.8 * np.abs(single).mean()


@pytest.mark.parametrize("approach", [0.05, 0.1])
def test_an_object_that_moves_does_not_lag(approach: float):
    fusion, lags = TemporalFusion(), []
    for motion, truth, z in noisy_images(12, approach):
        fused = fusion.fuse(depth_of(z), motion).depth
        inner = np.s_[48:72, 58:92]
        background = np.log(fused / truth)[:30, 20:-20].mean()
        lags.append(np.log(fused / truth)[inner].mean() - background)
    assert abs(np.mean(lags[3:])) < 0.04


def test_without_motion_or_with_another_place_it_starts_anew():
    images = list(noisy_images(3))
    fusion = TemporalFusion()
    fusion.fuse(depth_of(images[0][2]), None)
    assert np.array_equal(fusion.fuse(depth_of(images[1][2]), None).depth, depth_of(images[1][2]).depth)
    elsewhere = se3_exp(np.array([0.0, 0.0, 0.0, 0.0, 2.0, 0.0]))  # nothing in common
    assert np.array_equal(fusion.fuse(depth_of(images[2][2]), elsewhere).depth, depth_of(images[2][2]).depth)
    fusion.reset()
    assert np.array_equal(fusion.fuse(depth_of(images[1][2]), np.eye(4)).depth, depth_of(images[1][2]).depth)


def test_standard_deviations_shrink_and_invalid_pixels_stay_invalid():
    fusion = TemporalFusion()
    for motion, _, z in noisy_images(5):
        z[:10] = np.nan
        result = fusion.fuse(depth_of(z, std=np.full(z.shape, 0.5, np.float32)), motion)
    assert result.std is not None and np.isnan(result.depth[:10]).all()
    assert np.nanmedian(result.std) < 0.4 and np.isfinite(result.depth[20:]).all()
