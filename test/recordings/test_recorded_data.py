"""Available recorded folders are complete; their cameras, depth and poses are consistent with their images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_ros.geometry import back_project, inverse, project, rectify
from depth_ros.recordings import open_recording

LAYOUTS = {
    "kitti2015_stereo": ("folder", 110), "kitti_stereo_clip": ("folder", 21),
    "kitti_raw_city": ("folder", 268), "kitti_raw_road": ("folder", 91), "kitti_raw_jam": ("folder", 78),
    "hololens_office": ("folder", 260), "kitti_odometry_06": ("kitti_odometry", 51),
    "euroc_v1_01": ("euroc", 60), "tum_fr1_rpy": ("tum", 180),
}  # fmt: skip


def recorded(data_root, name):
    if not (data_root / name).is_dir():
        pytest.skip(f"{data_root} has no {name}")
    return open_recording(data_root / name)


@pytest.mark.parametrize("name", LAYOUTS)
def test_recording_is_complete(data_root, name):
    folder = recorded(data_root, name)
    assert (folder.layout, len(folder)) == LAYOUTS[name]
    assert folder.stamps == sorted(set(folder.stamps))
    assert np.median(np.diff(folder.stamps)) / 1e9 == pytest.approx(1 / folder.rate, rel=0.01)
    for index in (0, len(folder) - 1):
        sample = folder[index]
        assert (sample.left.stamp, sample.name) == (folder.stamps[index], folder.names[index])


def difference(image, other, points, K):
    """Mean absolute difference of an image and another one sampled at the projections of the points."""
    pixels, z = project(points, K)
    sampled = cv2.remap(other, pixels.astype(np.float32), None, cv2.INTER_LINEAR).astype(float)
    height, width = other.shape[:2]
    with np.errstate(invalid="ignore"):
        visible = (
            (z > 0) & (pixels >= 0).all(-1) & (pixels[..., 0] < width - 1) & (pixels[..., 1] < height - 1)
        )
    assert visible.mean() > 0.02
    return np.abs(sampled - image)[visible].mean()


@pytest.mark.parametrize("index", [0, 50])
def test_kitti_depth_is_consistent_with_the_right_image(data_root, index):
    sample = recorded(data_root, "kitti2015_stereo")[index]
    camera = sample.left.camera
    errors = {}
    for scale in (0.9, 1.0, 1.1):
        points = back_project(sample.depth * np.float32(scale), camera)
        points = points - np.array([sample.right.camera.baseline, 0, 0])
        errors[scale] = difference(sample.left.image, sample.right.image, points, camera.K)
    assert errors[1.0] < 0.95 * min(errors[0.9], errors[1.1])


@pytest.mark.parametrize(("name", "index", "other"), [("tum_fr1_rpy", 40, 44), ("hololens_office", 20, 21)])
def test_depth_and_poses_are_consistent_with_another_frame(data_root, name, index, other):
    folder = recorded(data_root, name)
    a, b = folder[index], folder[other]
    points = back_project(a.depth, a.left.camera)
    T = inverse(b.T_world_camera) @ a.T_world_camera
    errors = [
        difference(a.left.image, b.left.image, points @ M[:3, :3].T + M[:3, 3], a.left.camera.K)
        for M in (T, np.eye(4), inverse(T))
    ]
    assert errors[0] < 0.7 * min(errors[1:])


def test_euroc_matches_are_in_the_same_row_after_rectification(data_root):
    sample = recorded(data_root, "euroc_v1_01")[5]
    detector = cv2.SIFT_create(800)
    features = [
        detector.detectAndCompute(cv2.cvtColor(rectify(f.image, f.camera)[0], cv2.COLOR_RGB2GRAY), None)
        for f in (sample.left, sample.right)
    ]
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(features[0][1], features[1][1], k=2)
    matches = [best for best, second in pairs if best.distance < 0.7 * second.distance]
    left, right = (np.array([features[0][0][m.queryIdx].pt for m in matches]),
                   np.array([features[1][0][m.trainIdx].pt for m in matches]))  # fmt: skip
    assert len(matches) > 200
    assert np.median(np.abs(left - right)[:, 1]) < 0.3  # 12.8 px in the raw images
    assert np.percentile((left - right)[:, 0], 5) > 10  # the walls are closer than 5 m
    assert sample.right.camera.baseline == pytest.approx(0.110, abs=0.001)


def test_kitti_odometry_moves_forward(data_root):
    folder = recorded(data_root, "kitti_odometry_06")
    T = inverse(folder[0].T_world_camera) @ folder[50].T_world_camera
    assert T[2, 3] > 40
    assert abs(T[0, 3]) < 3
