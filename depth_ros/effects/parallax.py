"""Depth from parallax between two images of a clip, how far it can be trusted, and the inputs made of it.

Li et al., CVPR 2019, section 4.1: for what does not move, optical flow and the camera's motion give depth. With
x1, x2 the rays (z = 1) of a pixel and of where it went, and X2 = R X1 + t, x2 x (l R x1 + t) = 0 in the least
squares sense gives l, the depth in the first camera. Units are those of the poses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.effects.clip import Moment
from depth_ros.errors import DepthRosError
from depth_ros.geometry import inverse, rays

CONSISTENT, EPIPOLAR, ANGLE = 1.0, 2.0, 1.0
"""Where confidence ends: px between flow there and back, px from the epipolar line; where it is full: degrees."""
LEAST_ANGLE = 0.25
"""Least confidence by angle that is kept at all."""
WINDOW, OVERLAP = 10, 0.7
"""The second image is at most so many frames away and sees at least this share of the first."""


@dataclass(frozen=True)
class Parallax:
    """depth: (H, W) float32 in units of the poses, NaN = none. confidence: (H, W) float32, 0 to 1.

    flow: (H, W, 2) float32 px to the second image. second: its name.
    """

    depth: np.ndarray
    confidence: np.ndarray
    flow: np.ndarray
    second: str


def optical_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(H, W, 2) float32 px: a pixel (x, y) of the first image (H, W, 3) uint8 is at (x, y) + flow in the second."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (first, second)]
    return search.calc(grey[0], grey[1], None)  # type: ignore[call-overload]


def two_view(moments: Sequence[Moment], index: int) -> Parallax | None:
    """Parallax of a moment with the best second one near it; None if no other has a pose and overlaps."""
    first = moments[index]
    other = second_of(moments, index)
    if other is None or first.T_world_camera is None:
        return None
    second = moments[other]
    assert second.T_world_camera is not None
    there = optical_flow(first.frame.image, second.frame.image)
    back = optical_flow(second.frame.image, first.frame.image)
    T = inverse(second.T_world_camera) @ first.T_world_camera
    depth, confidence = parallax(there, back, T, first.frame.camera, first.people)
    return Parallax(depth, confidence, there, second.name)


def second_of(moments: Sequence[Moment], index: int) -> int | None:
    """The moment with the longest baseline among those near `index` that, by the turn alone, overlap enough."""
    T = moments[index].T_world_camera
    if T is None:
        return None
    camera = moments[index].frame.camera
    best, longest = None, 1e-6
    for other in range(max(0, index - WINDOW), min(len(moments), index + WINDOW + 1)):
        pose = moments[other].T_world_camera
        if other == index or pose is None:
            continue
        relative = inverse(pose) @ T
        baseline = float(np.linalg.norm(relative[:3, 3]))
        if baseline > longest and overlap(relative[:3, :3], camera) >= OVERLAP:
            best, longest = other, baseline
    return best


def overlap(R: np.ndarray, camera: Camera) -> float:
    """Share of the first image that a camera turned by R (second from first) still sees, far away."""
    turned = rays(camera)[::8, ::8] @ R.T
    with np.errstate(divide="ignore", invalid="ignore"):
        u = turned[..., 0] / turned[..., 2] * camera.fx + camera.cx
        v = turned[..., 1] / turned[..., 2] * camera.fy + camera.cy
    inside = (np.abs(u - (camera.width - 1) / 2) < camera.width / 2) & (turned[..., 2] > 0)
    inside &= np.abs(v - (camera.height - 1) / 2) < camera.height / 2
    return float(inside.mean())


def parallax(
    there: np.ndarray, back: np.ndarray, T_second_first: np.ndarray, camera: Camera, people: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) of the first image, NaN where there is none, and confidence (H, W), both float32.

    there, back: flow (H, W, 2) px from the first to the second image and the other way. people: (H, W) bool, what
    moves. Confidence is the product of three: flow there and back agree, the match is near the epipolar line, the
    two rays meet at an angle; it is 0 where depth is NaN.
    """
    R, t = T_second_first[:3, :3], T_second_first[:3, 3]
    x1 = rays(camera).astype(np.float64)
    moved = np.concatenate([there / [camera.fx, camera.fy], np.zeros((*there.shape[:2], 1))], 2)
    x2 = x1 + moved
    turned = x1 @ R.T
    normal = np.cross(x2, turned)
    square = np.maximum((normal**2).sum(2), 1e-18)
    depth = -(np.cross(x2, t) * normal).sum(2) / square
    agree = 1 - (_there_and_back(there, back) / CONSISTENT) ** 2
    near = 1 - (_off_the_line(x2, turned, t, camera) / EPIPOLAR) ** 2
    sine = np.sqrt(square) / np.linalg.norm(x2, axis=2) / np.linalg.norm(turned, axis=2)
    angle = np.degrees(np.arcsin(np.minimum(sine, 1)))
    wide = 1 - (np.minimum(ANGLE, angle) - ANGLE) ** 2 / ANGLE**2
    known = (wide > LEAST_ANGLE) & (agree > 0) & ~people & (depth > 0)
    confidence = np.where(known, np.maximum(agree, 0) * np.maximum(near, 0) * wide, 0)
    return np.where(known, depth, np.nan).astype(np.float32), confidence.astype(np.float32)


def _there_and_back(there: np.ndarray, back: np.ndarray) -> np.ndarray:
    """px by which flow there and back misses the start; infinite where it leaves the image."""
    height, width = there.shape[:2]
    u, v = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    u, v = u + there[..., 0], v + there[..., 1]
    returned = cv2.remap(back, u, v, cv2.INTER_LINEAR)
    inside = (u >= 0) & (v >= 0) & (u <= width - 1) & (v <= height - 1)
    return np.where(inside, np.linalg.norm(there + returned, axis=2), np.inf)


def _off_the_line(x2: np.ndarray, turned: np.ndarray, t: np.ndarray, camera: Camera) -> np.ndarray:
    """px between the match and the epipolar line of its pixel, with the lines l = [t]x R x1 of rays."""
    line = np.cross(t, turned)
    pixels = np.hypot(line[..., 0] / camera.fx, line[..., 1] / camera.fy)
    return np.abs((x2 * line).sum(2)) / np.maximum(pixels, 1e-12)


def channels(names: Sequence[str], moment: Moment, found: Parallax | None) -> np.ndarray:
    """(C, H, W) float32: the inputs of those names (see networks.mannequin) at the size of the moment.

    parallax: ln depth less its median over the trusted pixels, so free of scale, 0 where there is none.
    flow_x, flow_y: px / 100. people: 1 inside. keypoints: number of the joint / 18, 0 where nobody looked.
    """
    zero = np.zeros(moment.people.shape, np.float32)
    joints = zero if moment.joints is None else moment.joints.astype(np.float32) / 18
    made = {"people": moment.people.astype(np.float32), "keypoints": joints}
    if found is None:
        made |= dict.fromkeys(("parallax", "confidence", "flow_x", "flow_y"), zero)
    else:
        log = np.log(found.depth)
        known = np.isfinite(log)
        middle = np.median(log[known]) if known.any() else 0.0
        made["parallax"] = np.where(known, log - middle, 0).astype(np.float32)
        made["confidence"] = found.confidence
        made["flow_x"], made["flow_y"] = found.flow[..., 0] / 100, found.flow[..., 1] / 100
    unknown = [name for name in names if name not in made]
    if unknown:
        raise DepthRosError(f"no way to make the input '{unknown[0]}'; there are {', '.join(made)}")
    return np.stack([made[name] for name in names]) if names else np.zeros((0, *zero.shape), np.float32)


def scale_of(depth: np.ndarray, found: Parallax | None) -> float | None:
    """What depth up to scale must be multiplied by to be in units of the poses; None without parallax to tell.

    exp of the median of ln parallax depth - ln depth over the better half of the trusted pixels.
    """
    if found is None:
        return None
    known = (found.confidence > 0) & np.isfinite(depth) & (depth > 0)
    if known.sum() < 100:
        return None
    known &= found.confidence >= np.median(found.confidence[known])
    return float(np.exp(np.median(np.log(found.depth[known]) - np.log(depth[known]))))
