"""Planes of a depth image: found by RANSAC, and their outlines in space."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_ros.config import setting
from depth_ros.datatypes import Camera, Planes
from depth_ros.geometry import back_project, rays

POINTS = 5_000
"""About so many pixels vote for a plane; all of them are labelled in the end."""
SAME_DIRECTION = np.cos(np.radians(20.0))
"""Planes nearer in direction than this and nearer than the tolerance are one (PlaneNet, section 5)."""


@dataclass(frozen=True)
class PlaneFitSettings:
    """What counts as a plane of a depth image."""

    tolerance: float = setting(
        0.05, "farthest that a point lies from its plane", "m", 0.001, 1.0, dynamic=True
    )
    relative_tolerance: float = setting(
        0.01, "the same as a share of the depth, the larger counts", "", 0.0, 0.5, dynamic=True
    )
    angle: float = setting(25.0, "largest angle between surface and plane", "deg", 1.0, 90.0, dynamic=True)
    smallest: float = setting(0.01, "smallest plane, as a share of the image", "", 1e-4, 0.5, dynamic=True)
    most_planes: int = setting(10, "most planes in an image, largest first", "", 1, 64, dynamic=True)
    rounds: int = setting(100, "hypotheses tried for every plane", "", 1, 10000, dynamic=True)


def fit_planes(depth: np.ndarray, camera: Camera, settings: PlaneFitSettings = PlaneFitSettings()) -> Planes:
    """Planes of a depth image (H, W) m of a rectified camera, the largest first. The same image gives the same.

    RANSAC with one pixel a hypothesis, as the depth about it has a normal; the best is refined by least squares and
    its points are taken away before the next. In the end each pixel gets the plane nearest to it.
    """
    points, normals = back_project(depth, camera), surface_normals(depth, camera)
    step = max(1, round((depth.size / POINTS) ** 0.5))
    X, N = (field[::step, ::step].reshape(-1, 3) for field in (points, normals))
    least = settings.smallest * len(X)
    known = np.isfinite(N).all(axis=1)
    X, N = X[known], N[known]
    random = np.random.default_rng(0)
    found: list[np.ndarray] = []
    while len(found) < settings.most_planes and len(X) >= max(least, 3):
        pick = random.choice(len(X), min(settings.rounds, len(X)), replace=False)
        hypotheses = np.hstack([N[pick], -(N[pick] * X[pick]).sum(axis=1, keepdims=True)])
        votes = _near(X, N, hypotheses, settings)
        best = votes.sum(axis=0).argmax()
        equation, near = hypotheses[best], votes[:, best]
        if near.sum() < max(least, 3):
            break
        for _ in range(2):
            refined = least_squares(X[near])
            again = _near(X, N, refined[None], settings)[:, 0]
            if again.sum() < near.sum():
                break
            equation, near = refined, again
        if not _known(X[near], equation, found, settings):
            found.append(equation)
        X, N = X[~near], N[~near]
    return _labelled(points, np.array(found).reshape(-1, 4), settings)


def _known(
    points: np.ndarray, equation: np.ndarray, found: list[np.ndarray], settings: PlaneFitSettings
) -> bool:
    """Whether a plane through `points` is one of `found` again, whose other points are gone."""
    return any(
        other[:3] @ equation[:3] > SAME_DIRECTION
        and np.abs(points @ other[:3] + other[3]).mean() < settings.tolerance
        for other in found
    )


def _near(X: np.ndarray, N: np.ndarray, equations: np.ndarray, settings: PlaneFitSettings) -> np.ndarray:
    """(points, planes): which point is on which plane, in place and direction."""
    reach = np.maximum(settings.tolerance, settings.relative_tolerance * X[:, 2:])
    cosine = N @ equations[:, :3].T
    return (cosine > np.cos(np.radians(settings.angle))) & (
        np.abs(X @ equations[:, :3].T + equations[:, 3]) < reach
    )


def least_squares(points: np.ndarray) -> np.ndarray:
    """Plane (4,) through points (N, 3): unit normal towards the camera, offset >= 0 m."""
    centre = points.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((points - centre).T))
    normal = axes[:, 0] if axes[:, 0] @ centre < 0 else -axes[:, 0]
    return np.append(normal, -normal @ centre)


def surface_normals(depth: np.ndarray, camera: Camera) -> np.ndarray:
    """(H, W, 3) float32 unit normals towards the camera of a depth image (H, W); NaN beside unknown depth.

    On a plane n . X + d = 0 the inverse depth is linear in the ray, with the gradient -n / d: the gradient is that of
    the best linear function in a window about the pixel.
    """
    radius = max(2, depth.shape[1] // 128)
    ramp = np.arange(-radius, radius + 1, dtype=np.float32)
    box, ramp = np.full(len(ramp), 1 / len(ramp), np.float32), ramp / np.square(ramp).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = (1 / np.asarray(depth, np.float32)).astype(np.float32)
    across = camera.fx * cv2.sepFilter2D(inverse, -1, ramp, box)
    down = camera.fy * cv2.sepFilter2D(inverse, -1, box, ramp)
    x, y = rays(camera)[..., 0], rays(camera)[..., 1]
    normals = -np.stack([across, down, inverse - across * x - down * y], axis=-1)
    border = np.ones(depth.shape, bool)
    border[radius:-radius, radius:-radius] = False  # the window would leave the image
    normals[border] = np.nan
    with np.errstate(invalid="ignore"):
        return normals / np.linalg.norm(normals, axis=-1, keepdims=True)


def _labelled(points: np.ndarray, equations: np.ndarray, settings: PlaneFitSettings) -> Planes:
    """Each pixel to the nearest plane within reach; specks are dropped, and so are planes that become too small."""
    labels = np.full(points.shape[:2], -1, np.int32)
    if not len(equations):
        return Planes(labels, equations)
    distance = np.abs(points @ equations[:, :3].T.astype(np.float32) + equations[:, 3].astype(np.float32))
    nearest = np.nan_to_num(distance, nan=np.inf).argmin(axis=2)
    reach = np.maximum(settings.tolerance, settings.relative_tolerance * points[..., 2])
    on = distance.min(axis=2) < reach  # False where the depth is unknown
    for k in range(len(equations)):
        mask = _without_specks((on & (nearest == k)).astype(np.uint8), 0.2 * settings.smallest)
        labels[mask] = k
    return seen(labels, equations, settings.smallest)


def seen(labels: np.ndarray, equations: np.ndarray, smallest: float) -> Planes:
    """The planes that cover at least the share `smallest` of the image, largest first, and the labels renumbered."""
    area = np.bincount(labels[labels >= 0], minlength=len(equations))
    order = np.argsort(-area, kind="stable")
    order = order[area[order] >= max(smallest * labels.size, 1)]
    place = np.full(len(equations) + 1, -1, np.int32)  # the last entry is for -1
    place[order] = np.arange(len(order))
    return Planes(place[labels], equations[order])


def largest(planes: Planes, most: int) -> Planes:
    """The `most` largest planes, largest first; what the others cover counts as no plane."""
    planes = seen(planes.labels, planes.equations, 0.0)
    return Planes(np.where(planes.labels < most, planes.labels, -1), planes.equations[:most])


def _without_specks(mask: np.ndarray, smallest: float) -> np.ndarray:
    """(H, W) bool: a mask opened by 3x3 px, without components below `smallest` of the image."""
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, components, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    large = boxes[:, cv2.CC_STAT_AREA] >= smallest * mask.size
    large[0] = False
    return large[components]


def outlines(planes: Planes, camera: Camera, smallest: float = 0.002) -> list[list[np.ndarray]]:
    """For each plane the outer borders of its parts, largest first: (N, 3) points on the plane, m, optical frame.

    smallest: share of the image below which a part is left out. Points seen at less than 3 degrees are left out too:
    where they lie is noise.
    """
    found: list[list[np.ndarray]] = []
    for k, equation in enumerate(planes.equations):
        polygons = []
        for pixels in contours(planes.labels == k, smallest):
            directions = rays(camera)[pixels[:, 1], pixels[:, 0]]
            slope = -directions @ equation[:3]
            seen = slope > np.sin(np.radians(3)) * np.linalg.norm(directions, axis=1)
            if seen.sum() >= 3:
                polygons.append(directions[seen] * (equation[3] / slope[seen])[:, None])
        found.append(polygons)
    return found


def contours(mask: np.ndarray, smallest: float = 0.002) -> list[np.ndarray]:
    """Outer borders (N, 2) int px (column, row) of the parts of a mask (H, W), largest first, within 1.5 px."""
    borders, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    large = [border for border in borders if cv2.contourArea(border) >= smallest * mask.size]
    large.sort(key=cv2.contourArea, reverse=True)
    polygons = (cv2.approxPolyDP(border, 1.5, True)[:, 0] for border in large)
    return [polygon for polygon in polygons if len(polygon) >= 3]


def plane_colour(k: int) -> tuple[int, int, int]:
    """RGB of the k-th plane in pictures and markers: hues by the golden angle, so that neighbours differ."""
    hue = np.uint8(round(k * 137.508) % 360 // 2)
    red, green, blue = cv2.cvtColor(np.array([[[hue, 190, 255]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)
