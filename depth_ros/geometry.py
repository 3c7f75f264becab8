"""SE(3), quaternions, projection and rectification of single frames, in numpy.

Optical frames (x right, y down, z forward), integer pixel centres; `T_a_b` transforms points from b to a. The versions
for batches of tensors are in `networks/blocks`.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import cv2
import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError

T_BODY_OPTICAL = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
"""Transforms points from an optical frame to a body frame (x forward, y left, z up; REP-103)."""


def inverse(T: np.ndarray) -> np.ndarray:
    """Inverse of rigid transforms (..., 4, 4), from transposed rotations."""
    R, t = T[..., :3, :3], T[..., :3, 3:]
    out = np.zeros_like(T)
    out[..., :3, :3] = np.swapaxes(R, -1, -2)
    out[..., :3, 3:] = -np.swapaxes(R, -1, -2) @ t
    out[..., 3, 3] = 1.0
    return out


def orthonormal(T: np.ndarray) -> np.ndarray:
    """T (4, 4) with the nearest rotation matrix; removes the rounding errors of long products of transforms."""
    out = T.copy()
    U, _, Vt = np.linalg.svd(T[:3, :3])
    out[:3, :3] = U @ Vt
    return out


def skew(v: np.ndarray) -> np.ndarray:
    """Skew-symmetric matrices (..., 3, 3) of vectors v (..., 3): skew(v) @ u = v x u."""
    zero = np.zeros_like(v[..., 0])
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def se3_exp(twist: np.ndarray) -> np.ndarray:
    """Exponential map of SE(3): transform (4, 4) of a twist (6,), linear (m) and angular (rad)."""
    W, angle = skew(twist[3:]), float(np.linalg.norm(twist[3:]))
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.asarray(twist[3:], float))[0]
    a, b = (
        (0.5, 1 / 6) if angle < 1e-6 else ((1 - np.cos(angle)) / angle**2, (angle - np.sin(angle)) / angle**3)
    )
    T[:3, 3] = (np.eye(3) + a * W + b * W @ W) @ twist[:3]
    return T


def se3_log(T: np.ndarray) -> np.ndarray:
    """Logarithm map of SE(3): twist (6,), linear (m) and angular (rad), of a transform (4, 4)."""
    rotation = cv2.Rodrigues(T[:3, :3])[0][:, 0]
    W, angle = skew(rotation), float(np.linalg.norm(rotation))
    c = 1 / 12 if angle < 1e-4 else (1 - angle / 2 / np.tan(angle / 2)) / angle**2
    return np.concatenate([(np.eye(3) - W / 2 + c * W @ W) @ T[:3, 3], rotation])


def matrix_from_quaternion(q_xyzw: np.ndarray) -> np.ndarray:
    """Rotation matrix (3, 3) of a quaternion in x y z w order (ROS), which need not be normalised."""
    x, y, z, w = np.asarray(q_xyzw, float) / np.linalg.norm(q_xyzw)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_matrix(R: np.ndarray) -> np.ndarray:
    """Quaternion x y z w with w >= 0 of a rotation matrix (3, 3), from its largest component (Shepperd 1978)."""
    squares = np.array([R[0, 0], R[1, 1], R[2, 2], R[0, 0] + R[1, 1] + R[2, 2]])
    i = int(np.argmax(squares))
    if i == 3:
        q = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], 1 + squares[3]])
    else:
        j, k = (i + 1) % 3, (i + 2) % 3
        q = np.empty(4)
        q[i] = 1 + R[i, i] - R[j, j] - R[k, k]
        q[j], q[k] = R[j, i] + R[i, j], R[k, i] + R[i, k]
        q[3] = R[k, j] - R[j, k]
    q /= np.linalg.norm(q)
    return q if q[3] >= 0 else -q


def pose_from(translation: np.ndarray, q_xyzw: np.ndarray) -> np.ndarray:
    """Transform (4, 4) of a translation (3,) m and a quaternion x y z w."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = matrix_from_quaternion(q_xyzw), translation
    return T


@functools.lru_cache(maxsize=8)
def _rays(width: int, height: int, fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    u, v = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    rays = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones_like(u)], axis=-1)
    rays.flags.writeable = False  # shared by all callers
    return rays


def rays(camera: Camera) -> np.ndarray:
    """Viewing rays (H, W, 3) float32 of all pixels of a rectified camera, with z = 1; cached, read-only."""
    return _rays(camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)


def back_project(depth: np.ndarray, camera: Camera) -> np.ndarray:
    """Points (H, W, 3) float32 m in the optical frame, of a depth image (H, W) m; NaN stays NaN."""
    return rays(camera) * depth[..., None]


def project(points: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (..., 2) px and depths (...) m of points (..., 3) m in the optical frame; K (3, 3) px."""
    image = points @ np.asarray(K).T
    with np.errstate(divide="ignore", invalid="ignore"):
        return image[..., :2] / image[..., 2:], points[..., 2]


class Calibration(NamedTuple):
    """What decides the rectification of an image; can be hashed."""

    width: int
    height: int
    K: tuple[float, ...]
    P: tuple[float, ...]
    R: tuple[float, ...]
    distortion: tuple[float, ...]
    model: str


def calibration(camera: Camera) -> Calibration:
    """The calibration of a camera."""
    K, P, R = (tuple(matrix.flat) for matrix in (camera.K, camera.P, camera.R))
    return Calibration(
        camera.width, camera.height, K, P, R, tuple(camera.distortion), camera.distortion_model
    )


@functools.lru_cache(maxsize=4)
def rectification_maps(key: Calibration) -> tuple[np.ndarray, np.ndarray]:
    """Maps of cv2.remap in fixed point (CV_16SC2): whole pixels (H, W, 2) and fractions (H, W).

    Raises DepthRosError for an unsupported distortion model.
    """
    K, P, R = np.reshape(key.K, (3, 3)), np.reshape(key.P, (3, 4)), np.reshape(key.R, (3, 3))
    size, distortion = (key.width, key.height), np.array(key.distortion)
    if key.model == "equidistant":
        return cv2.fisheye.initUndistortRectifyMap(K, distortion[:4], R, P[:, :3], size, cv2.CV_16SC2)
    if key.model in ("plumb_bob", "rational_polynomial"):
        return cv2.initUndistortRectifyMap(K, distortion, R, P[:, :3], size, cv2.CV_16SC2)
    raise DepthRosError(
        f"distortion_model '{key.model}' of camera_info is not supported; supported are plumb_bob, rational_polynomial "
        "and equidistant: recalibrate with one of them, or rectify the image upstream"
    )


def rectify(image: np.ndarray, camera: Camera) -> tuple[np.ndarray, Camera]:
    """The rectified image (H, W, C) and its camera; the arguments themselves if the camera is rectified already.

    The maps are cached per camera. Raises DepthRosError for an unsupported distortion model.
    """
    if camera.is_rectified:
        return image, camera
    return cv2.remap(image, *rectification_maps(calibration(camera)), cv2.INTER_LINEAR), camera.rectified()


def rectify_depth(depth: np.ndarray, camera: Camera) -> tuple[np.ndarray, Camera]:
    """The rectified depth (H, W) float32 m and its camera, as `rectify`; each pixel takes the nearest depth.

    Pixels outside of the raw image become NaN. Raises DepthRosError if R rotates the image, because that changes the
    depth along the optical axis.
    """
    if camera.is_rectified:
        return depth, camera
    if not np.allclose(camera.R, np.eye(3), atol=1e-9):
        raise DepthRosError(
            "R in the camera_info of the depth image is a rotation, and depth is not converted to other axes: rectify "
            "the depth image, or set the parameter rectified if it is rectified already"
        )
    maps = rectification_maps(calibration(camera))
    return cv2.remap(depth, *maps, cv2.INTER_NEAREST, borderValue=float("nan")), camera.rectified()


def rectify_labels(labels: np.ndarray, camera: Camera) -> np.ndarray:
    """The rectified labels (H, W), as `rectify`; each pixel takes the nearest label, 0 outside of the raw image."""
    if camera.is_rectified:
        return labels
    maps = rectification_maps(calibration(camera))
    values = (
        labels.astype(np.float32) if labels.dtype == np.int32 else labels
    )  # which cv2.remap does not take
    return cv2.remap(values, *maps, cv2.INTER_NEAREST, borderValue=0).astype(labels.dtype)
