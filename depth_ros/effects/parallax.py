"""Depth from motion parallax between two images of a clip, its confidence, and network inputs derived from them.

Li et al., CVPR 2019, section 4.1: optical flow and the motion of the camera give the depth of static points. With
x1, x2 the rays (z = 1) of a pixel and of its match, and X2 = R X1 + t, the least-squares solution of
x2 x (l R x1 + t) = 0 is l, the depth in the first camera. Units are those of the poses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.effects.clip import ClipImage
from depth_ros.errors import DepthRosError
from depth_ros.geometry import inverse, rays

MAX_FLOW_ERROR = 1.0
"""Forward-backward error of optical flow at which confidence is zero, px."""
MAX_EPIPOLAR_DISTANCE = 2.0
"""Distance of the match from the epipolar line at which confidence is zero, px."""
FULL_ANGLE = 1.0
"""Angle between the two rays from which confidence is not reduced, degrees."""
MIN_ANGLE_CONFIDENCE = 0.25
"""Depth with a lower confidence by the angle is discarded."""
MAX_FRAME_DISTANCE, MIN_OVERLAP = 10, 0.7
"""Maximum distance of the second image, in images, and the minimum fraction of the first that it sees."""
MIN_SCALE_PIXELS = 100
"""Minimum number of pixels with parallax depth to estimate a scale."""


@dataclass(frozen=True)
class Parallax:
    """depth: (H, W) float32 in the units of the poses, NaN = invalid. confidence: (H, W) float32, 0 to 1.

    flow: (H, W, 2) float32 px to the second image. second: its name.
    """

    depth: np.ndarray
    confidence: np.ndarray
    flow: np.ndarray
    second: str


def optical_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(H, W, 2) float32 px: pixel (x, y) of the first image (H, W, 3) uint8 is at (x, y) + flow in the second."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (first, second)]
    return dis.calc(grey[0], grey[1], None)  # type: ignore[call-overload]


def two_view_parallax(clip: Sequence[ClipImage], index: int) -> Parallax | None:
    """Parallax of an image with the best second image near it; None if no image with a pose overlaps enough."""
    first = clip[index]
    other = select_second_image(clip, index)
    if other is None or first.T_world_camera is None:
        return None
    second = clip[other]
    assert second.T_world_camera is not None
    forward = optical_flow(first.frame.image, second.frame.image)
    backward = optical_flow(second.frame.image, first.frame.image)
    T = inverse(second.T_world_camera) @ first.T_world_camera
    depth, confidence = depth_from_flow(forward, backward, T, first.frame.camera, first.people)
    return Parallax(depth, confidence, forward, second.name)


def select_second_image(clip: Sequence[ClipImage], index: int) -> int | None:
    """The image near `index` with the longest baseline among those whose rotation leaves enough overlap."""
    T = clip[index].T_world_camera
    if T is None:
        return None
    camera = clip[index].frame.camera
    best, longest = None, 1e-6
    for other in range(max(0, index - MAX_FRAME_DISTANCE), min(len(clip), index + MAX_FRAME_DISTANCE + 1)):
        pose = clip[other].T_world_camera
        if other == index or pose is None:
            continue
        T_other_first = inverse(pose) @ T
        baseline = float(np.linalg.norm(T_other_first[:3, 3]))
        if baseline > longest and overlap(T_other_first[:3, :3], camera) >= MIN_OVERLAP:
            best, longest = other, baseline
    return best


def overlap(R: np.ndarray, camera: Camera) -> float:
    """Fraction of the first image that a camera rotated by R (second from first) sees, for distant points."""
    rotated = rays(camera)[::8, ::8] @ R.T
    with np.errstate(divide="ignore", invalid="ignore"):
        u = rotated[..., 0] / rotated[..., 2] * camera.fx + camera.cx
        v = rotated[..., 1] / rotated[..., 2] * camera.fy + camera.cy
    inside = (np.abs(u - (camera.width - 1) / 2) < camera.width / 2) & (rotated[..., 2] > 0)
    inside &= np.abs(v - (camera.height - 1) / 2) < camera.height / 2
    return float(inside.mean())


def depth_from_flow(
    forward: np.ndarray, backward: np.ndarray, T_second_first: np.ndarray, camera: Camera, people: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) of the first image, NaN = invalid, and its confidence (H, W), both float32.

    forward, backward: flow (H, W, 2) px from the first to the second image and back. people: (H, W) bool, moving
    pixels. Confidence is the product of three terms: forward-backward consistency of the flow, distance of the match
    from the epipolar line, and angle between the two rays. It is 0 where depth is NaN.
    """
    R, t = T_second_first[:3, :3], T_second_first[:3, 3]
    x1 = rays(camera).astype(np.float64)
    offset = np.concatenate([forward / [camera.fx, camera.fy], np.zeros((*forward.shape[:2], 1))], 2)
    x2 = x1 + offset
    rotated = x1 @ R.T
    normal = np.cross(x2, rotated)
    squared_norm = np.maximum((normal**2).sum(2), 1e-18)
    depth = -(np.cross(x2, t) * normal).sum(2) / squared_norm
    consistency = 1 - (_forward_backward_error(forward, backward) / MAX_FLOW_ERROR) ** 2
    epipolar = 1 - (_epipolar_distance(x2, rotated, t, camera) / MAX_EPIPOLAR_DISTANCE) ** 2
    sine = np.sqrt(squared_norm) / np.linalg.norm(x2, axis=2) / np.linalg.norm(rotated, axis=2)
    angle = np.degrees(np.arcsin(np.minimum(sine, 1)))
    by_angle = 1 - (np.minimum(FULL_ANGLE, angle) - FULL_ANGLE) ** 2 / FULL_ANGLE**2
    valid = (by_angle > MIN_ANGLE_CONFIDENCE) & (consistency > 0) & ~people & (depth > 0)
    confidence = np.where(valid, np.maximum(consistency, 0) * np.maximum(epipolar, 0) * by_angle, 0)
    return np.where(valid, depth, np.nan).astype(np.float32), confidence.astype(np.float32)


def _forward_backward_error(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Forward-backward error of the flow (H, W) px; infinite where the flow leaves the image."""
    height, width = forward.shape[:2]
    u, v = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    u, v = u + forward[..., 0], v + forward[..., 1]
    returned = cv2.remap(backward, u, v, cv2.INTER_LINEAR)
    inside = (u >= 0) & (v >= 0) & (u <= width - 1) & (v <= height - 1)
    return np.where(inside, np.linalg.norm(forward + returned, axis=2), np.inf)


def _epipolar_distance(x2: np.ndarray, rotated: np.ndarray, t: np.ndarray, camera: Camera) -> np.ndarray:
    """Distance (H, W) px of the match x2 from the epipolar line l = [t]x R x1. rotated: R x1."""
    line = np.cross(t, rotated)
    norm = np.hypot(line[..., 0] / camera.fx, line[..., 1] / camera.fy)
    return np.abs((x2 * line).sum(2)) / np.maximum(norm, 1e-12)


def input_channels(names: Sequence[str], image: ClipImage, parallax: Parallax | None) -> np.ndarray:
    """(C, H, W) float32: the named inputs (see networks.mannequin) at the size of the image.

    parallax: ln depth minus its median over valid pixels, hence independent of scale; 0 where invalid. flow_x, flow_y:
    px / 100. people: 1 inside. keypoints: joint number / 18, 0 without joint detection.
    """
    zero = np.zeros(image.people.shape, np.float32)
    joints = zero if image.joints is None else image.joints.astype(np.float32) / 18
    channels = {"people": image.people.astype(np.float32), "keypoints": joints}
    if parallax is None:
        channels |= dict.fromkeys(("parallax", "confidence", "flow_x", "flow_y"), zero)
    else:
        log = np.log(parallax.depth)
        valid = np.isfinite(log)
        median = np.median(log[valid]) if valid.any() else 0.0
        channels["parallax"] = np.where(valid, log - median, 0).astype(np.float32)
        channels["confidence"] = parallax.confidence
        channels["flow_x"], channels["flow_y"] = parallax.flow[..., 0] / 100, parallax.flow[..., 1] / 100
    unknown = [name for name in names if name not in channels]
    if unknown:
        raise DepthRosError(f"unknown input '{unknown[0]}'; available: {', '.join(channels)}")
    return np.stack([channels[name] for name in names]) if names else np.zeros((0, *zero.shape), np.float32)


def scale_to_parallax(depth: np.ndarray, parallax: Parallax | None) -> float | None:
    """Scale from up-to-scale depth (H, W) to the units of the poses; None without enough parallax.

    exp of the median of ln parallax depth - ln depth, over the valid pixels of at least median confidence.
    """
    if parallax is None:
        return None
    valid = (parallax.confidence > 0) & np.isfinite(depth) & (depth > 0)
    if valid.sum() < MIN_SCALE_PIXELS:
        return None
    valid &= parallax.confidence >= np.median(parallax.confidence[valid])
    return float(np.exp(np.median(np.log(parallax.depth[valid]) - np.log(depth[valid]))))
