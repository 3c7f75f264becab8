"""Depth from motion parallax between two images, its confidence, and network inputs derived from them.

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
KEYPOINTS = 18
"""Number of joints (1 to 17) and 1: the joint number is divided by it."""
FLOW_SCALE = 100.0
"""px of optical flow that become 1 as an input of a network."""


@dataclass(frozen=True)
class Parallax:
    """depth: (H, W) float32 in the units of the poses, NaN = invalid. confidence: (H, W) float32, 0 to 1, 0 where depth
    is invalid. flow: (H, W, 2) float32 px to the second image."""

    depth: np.ndarray
    confidence: np.ndarray
    flow: np.ndarray


@dataclass(frozen=True)
class Matches:
    """What is known of a match of every pixel of the first image. flow: (H, W, 2) px to the second image.

    flow_error: (H, W) px, forward-backward error of the flow; infinite where it leaves the image. epipolar_distance:
    (H, W) px of the match. angle: (H, W) degrees between the two rays.
    """

    flow_error: np.ndarray
    epipolar_distance: np.ndarray
    angle: np.ndarray


def two_view_parallax(
    first: np.ndarray, second: np.ndarray, T_second_first: np.ndarray, camera: Camera, moving: np.ndarray
) -> Parallax:
    """Parallax of the first of two images (H, W, 3) uint8 RGB of a static scene. moving: (H, W) bool, excluded."""
    forward, backward = optical_flow(first, second), optical_flow(second, first)
    depth, confidence = depth_from_flow(forward, backward, T_second_first, camera, moving)
    return Parallax(depth, confidence, forward)


def optical_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(H, W, 2) float32 px: pixel (x, y) of the first image (H, W, 3) uint8 is at (x, y) + flow in the second.

    Dense inverse search (Kroeger et al., ECCV 2016).
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (first, second)]
    return dis.calc(grey[0], grey[1], None)  # type: ignore[call-overload]


def select_second_image(poses: Sequence[np.ndarray | None], index: int, camera: Camera) -> int | None:
    """The image near `index` with the longest baseline among those whose rotation leaves enough overlap.

    poses: T_world_camera of all images, None where unknown. None if there is no such image.
    """
    T = poses[index]
    if T is None:
        return None
    best, longest = None, 1e-6
    for other in range(max(0, index - MAX_FRAME_DISTANCE), min(len(poses), index + MAX_FRAME_DISTANCE + 1)):
        pose = poses[other]
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
    forward: np.ndarray, backward: np.ndarray, T_second_first: np.ndarray, camera: Camera, moving: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) of the first image, NaN = invalid, and its confidence (H, W), both float32.

    forward, backward: flow (H, W, 2) px from the first to the second image and back. moving: (H, W) bool, pixels of
    people and other moving objects. Confidence: see `parallax_confidence`; it is 0 where depth is NaN.
    """
    t = T_second_first[:3, 3]
    x2, rotated = _matched_rays(forward, T_second_first, camera)
    normal = np.cross(x2, rotated)
    squared_norm = np.maximum((normal**2).sum(2), 1e-18)
    depth = -(np.cross(x2, t) * normal).sum(2) / squared_norm
    sine = np.sqrt(squared_norm) / np.linalg.norm(x2, axis=2) / np.linalg.norm(rotated, axis=2)
    matches = Matches(
        _forward_backward_error(forward, backward),
        epipolar_distance(forward, T_second_first, camera),
        np.degrees(np.arcsin(np.minimum(sine, 1))),
    )
    confidence, valid = parallax_confidence(matches, moving)
    valid &= depth > 0
    return np.where(valid, depth, np.nan).astype(np.float32), np.where(valid, confidence, 0).astype(
        np.float32
    )


def parallax_confidence(matches: Matches, moving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confidence (H, W) of parallax depth, and where there is depth at all (H, W) bool.

    The product of three terms: forward-backward consistency of the flow, distance of the match from the epipolar line,
    and angle between the two rays. Depth is discarded where the first or the last is too low, and on moving objects.
    """
    consistency = 1 - (matches.flow_error / MAX_FLOW_ERROR) ** 2
    epipolar = 1 - (matches.epipolar_distance / MAX_EPIPOLAR_DISTANCE) ** 2
    by_angle = 1 - (np.minimum(FULL_ANGLE, matches.angle) - FULL_ANGLE) ** 2 / FULL_ANGLE**2
    valid = (by_angle > MIN_ANGLE_CONFIDENCE) & (consistency > 0) & ~moving
    return np.where(valid, np.maximum(consistency, 0) * np.maximum(epipolar, 0) * by_angle, 0), valid


def epipolar_distance(flow: np.ndarray, T_second_first: np.ndarray, camera: Camera) -> np.ndarray:
    """Distance (H, W) px of the match of every pixel from its epipolar line l = [t]x R x1."""
    x2, rotated = _matched_rays(flow, T_second_first, camera)
    line = np.cross(T_second_first[:3, 3], rotated)
    norm = np.hypot(line[..., 0] / camera.fx, line[..., 1] / camera.fy)
    return np.abs((x2 * line).sum(2)) / np.maximum(norm, 1e-12)


def _matched_rays(
    flow: np.ndarray, T_second_first: np.ndarray, camera: Camera
) -> tuple[np.ndarray, np.ndarray]:
    """Rays (H, W, 3) of the matches, x2, and of the pixels in the axes of the second camera, R x1."""
    x1 = rays(camera).astype(np.float64)
    offset = np.concatenate([flow / [camera.fx, camera.fy], np.zeros((*flow.shape[:2], 1))], 2)
    return x1 + offset, x1 @ T_second_first[:3, :3].T


def _forward_backward_error(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Forward-backward error of the flow (H, W) px; infinite where the flow leaves the image."""
    height, width = forward.shape[:2]
    u, v = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    u, v = u + forward[..., 0], v + forward[..., 1]
    returned = cv2.remap(backward, u, v, cv2.INTER_LINEAR)
    inside = (u >= 0) & (v >= 0) & (u <= width - 1) & (v <= height - 1)
    return np.where(inside, np.linalg.norm(forward + returned, axis=2), np.inf)


def parallax_inputs(parallax: Parallax) -> dict[str, np.ndarray]:
    """Inputs of a network by name, (H, W) float32 each.

    parallax: ln depth minus its median over valid pixels, hence independent of scale; 0 where invalid. confidence.
    flow_x, flow_y: in units of `FLOW_SCALE` px.
    """
    log = np.log(parallax.depth)
    valid = np.isfinite(log)
    median = np.median(log[valid]) if valid.any() else 0.0
    flow = np.asarray(parallax.flow, np.float32) / np.float32(FLOW_SCALE)
    return {
        "parallax": np.where(valid, log - median, 0).astype(np.float32),
        "confidence": parallax.confidence,
        "flow_x": np.ascontiguousarray(flow[..., 0]),
        "flow_y": np.ascontiguousarray(flow[..., 1]),
    }


def people_input(moving: np.ndarray) -> dict[str, np.ndarray]:
    """people: (H, W) float32, 1 on people and other moving objects. moving: (H, W), nonzero there."""
    return {"people": (moving > 0).astype(np.float32)}


def keypoints_input(joints: np.ndarray) -> dict[str, np.ndarray]:
    """keypoints: (H, W) float32, 0 to 1. joints: (H, W), number (1 to 17) of the joint of a disc, 0 = none."""
    return {"keypoints": joints.astype(np.float32) / KEYPOINTS}


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
