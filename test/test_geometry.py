"""Geometry compared with hand-computed values and with OpenCV's projection."""

import cv2
import numpy as np
import pytest

from depth_ros import geometry
from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError

CAMERA = Camera.pinhole(64, 48, 50.0, 52.0, 31.0, 23.0)


def random_pose(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return geometry.pose_from(rng.normal(size=3), rng.normal(size=4))


def test_quaternion_of_a_90_degree_rotation_about_z():
    R = geometry.matrix_from_quaternion(np.array([0, 0, np.sqrt(0.5), np.sqrt(0.5)]))
    assert pytest.approx([0, 1, 0]) == R @ [1, 0, 0]


@pytest.mark.parametrize("seed", range(8))
def test_quaternion_round_trip(seed):
    R = random_pose(seed)[:3, :3]
    q = geometry.quaternion_from_matrix(R)
    assert q[3] >= 0
    assert geometry.matrix_from_quaternion(q) == pytest.approx(R, abs=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_quaternions_of_180_degree_rotations(axis):
    q = np.zeros(4)
    q[axis] = 1.0
    R = geometry.matrix_from_quaternion(q)
    assert np.abs(geometry.quaternion_from_matrix(R)) == pytest.approx(np.abs(q))


@pytest.mark.parametrize(
    "twist",
    [
        np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.02]),
        np.array([0.1, -0.2, 0.3, 0.4, 0.5, -0.6]),
        np.array([1.0, 2.0, 3.0, 0.0, 0.0, 0.0]),
    ],
)
def test_se3_log_inverts_se3_exp(twist):
    assert geometry.se3_log(geometry.se3_exp(twist)) == pytest.approx(twist, abs=1e-12)
    halves = geometry.se3_exp(twist / 2) @ geometry.se3_exp(twist / 2)
    assert halves == pytest.approx(geometry.se3_exp(twist), abs=1e-12)


def test_inverse_of_stacked_transforms():
    T = np.stack([random_pose(1), random_pose(2)])
    assert geometry.inverse(T) @ T == pytest.approx(np.stack([np.eye(4)] * 2), abs=1e-12)


def test_body_axes_of_the_optical_axes():
    forward, right, down = [0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]
    assert (geometry.T_BODY_OPTICAL @ forward)[:3] == pytest.approx([1, 0, 0])
    assert (geometry.T_BODY_OPTICAL @ right)[:3] == pytest.approx([0, -1, 0])
    assert (geometry.T_BODY_OPTICAL @ down)[:3] == pytest.approx([0, 0, -1])


def test_projection_inverts_back_projection():
    depth = np.random.default_rng(0).uniform(1, 9, (48, 64)).astype(np.float32)
    pixels, z = geometry.project(geometry.back_project(depth, CAMERA), CAMERA.K)
    u, v = np.meshgrid(np.arange(64), np.arange(48))
    assert pixels == pytest.approx(np.stack([u, v], -1), abs=1e-4)
    assert z == pytest.approx(depth)


def test_back_projection_of_one_pixel():
    depth = np.full((48, 64), 10.0, np.float32)
    point = geometry.back_project(depth, CAMERA)[40, 41]
    assert point == pytest.approx([10 * (41 - 31) / 50, 10 * (40 - 23) / 52, 10.0])


@pytest.mark.parametrize("size", [(32, 24), (128, 96), (40, 36)])
def test_resized_camera_matches_cv2_resize(size):
    """The camera predicts where the grey value of a horizontal ramp lies after cv2.resize."""
    camera = CAMERA.resized(*size)
    point = np.array([0.2, -0.1, 1.0])
    pixel, _ = geometry.project(point, CAMERA.K)
    ramp = np.tile(np.arange(64, dtype=np.float32), (48, 1))
    small = cv2.resize(ramp, size, interpolation=cv2.INTER_LINEAR)
    found, _ = geometry.project(point, camera.K)
    assert np.interp(found[0], np.arange(size[0]), small[0]) == pytest.approx(pixel[0], abs=1e-3)
    assert camera.P[:, :3] == pytest.approx(camera.K)


def test_cropped_camera_shifts_the_principal_point():
    camera = CAMERA.cropped(10, 5, 20, 30)
    assert (camera.width, camera.height, camera.cx, camera.cy) == (20, 30, 21.0, 18.0)


def test_resizing_preserves_the_baseline():
    right = Camera.pinhole(1242, 375, 721.5377, 721.5377, 609.5593, 172.854, baseline=0.532725)
    assert right.resized(640, 192).baseline == pytest.approx(0.532725)


DISTORTED = {
    "plumb_bob": (-0.28, 0.07, 2e-4, 2e-5, 0.0),
    "rational_polynomial": (-0.2, 0.05, 1e-4, 1e-4, 0.0, 0.01, 0.0, 0.0),
    "equidistant": (0.02, -0.01, 0.003, 0.0),
}


@pytest.mark.parametrize("model", DISTORTED)
def test_points_of_the_rectified_image_match_the_pinhole_projection(model):
    K = np.array([[150.0, 0, 160], [0, 150, 120], [0, 0, 1]])
    camera = Camera(320, 240, K, np.hstack([K, np.zeros((3, 1))]), np.eye(3), DISTORTED[model], model)
    point = np.array([0.45, -0.3, 1.0])
    args = point.reshape(1, 1, 3), np.zeros(3), np.zeros(3), K, np.array(DISTORTED[model])
    pixel = (cv2.fisheye if model == "equidistant" else cv2).projectPoints(*args)[0].reshape(2)
    image = np.zeros((240, 320, 3), np.uint8)
    cv2.circle(image, tuple(np.rint(pixel).astype(int).tolist()), 3, (255, 255, 255), -1)
    rectified, pinhole = geometry.rectify(image, camera)
    v, u = np.nonzero(rectified[..., 0] > 127)
    expected, _ = geometry.project(point, pinhole.K)
    assert np.hypot(*(pixel - expected)) > 2  # the distortion is significant
    assert [u.mean(), v.mean()] == pytest.approx(expected, abs=0.8)
    assert pinhole.is_rectified


def test_rectified_image_is_returned_without_a_copy():
    image = np.zeros((48, 64, 3), np.uint8)
    assert geometry.rectify(image, CAMERA)[0] is image


def test_unsupported_distortion_model_is_rejected():
    K = CAMERA.K
    camera = Camera(64, 48, K, CAMERA.P, np.eye(3), (0.1,), "kannala")
    with pytest.raises(DepthRosError, match=r"'kannala'.*plumb_bob"):
        geometry.rectify(np.zeros((48, 64, 3), np.uint8), camera)


def test_skew_matrix_computes_the_cross_product():
    v, u = np.random.default_rng(0).normal(size=(2, 5, 3))
    assert (geometry.skew(v) @ u[..., None])[..., 0] == pytest.approx(np.cross(v, u))


def test_orthonormal_restores_a_rotation_and_keeps_the_translation():
    T = random_pose(3)
    noisy = T.copy()
    noisy[:3, :3] += 1e-4 * np.random.default_rng(0).normal(size=(3, 3))
    restored = geometry.orthonormal(noisy)
    assert restored[:3, :3] @ restored[:3, :3].T == pytest.approx(np.eye(3), abs=1e-12)
    assert restored == pytest.approx(T, abs=1e-3) and (restored[:, 3] == T[:, 3]).all()
