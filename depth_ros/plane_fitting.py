"""Planes fitted to a depth image with RANSAC, their outlines and colours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_ros.config import setting
from depth_ros.datatypes import Camera, Planes
from depth_ros.geometry import back_project, rays

RANSAC_POINTS = 5_000
"""Approximate number of pixels that vote for a plane; all pixels are labelled at the end."""
MIN_MERGE_COSINE = np.cos(np.radians(20.0))
"""Planes whose normals differ by less than 20 degrees are one if their distance is within the threshold (PlaneNet,
section 5)."""
MIN_VIEWING_ANGLE = np.radians(3.0)
"""Points whose viewing ray meets the plane at a smaller angle are left out of outlines."""


@dataclass(frozen=True)
class PlaneFitSettings:
    """Detection of planes in a depth image."""

    distance_threshold: float = setting(
        0.05, "Maximum distance of a point from its plane; increase it for noisy depth.", "m", 0.001, 1.0, dynamic=True
    )  # fmt: skip
    relative_distance_threshold: float = setting(
        0.01, "Maximum distance of a point from its plane as a fraction of its depth; the larger threshold applies.",
        "", 0.0, 0.5, dynamic=True,
    )  # fmt: skip
    max_normal_angle: float = setting(
        25.0, "Maximum angle between the surface normal at a point and the normal of its plane.", "deg", 1.0, 90.0,
        dynamic=True,
    )  # fmt: skip
    min_area: float = setting(
        0.01, "Minimum size of a plane as a fraction of the image.", "", 1e-4, 0.5, dynamic=True
    )
    max_planes: int = setting(
        10, "Maximum number of planes per image; the largest are kept.", "", 1, 64, dynamic=True
    )
    ransac_iterations: int = setting(
        100, "Number of RANSAC hypotheses per plane.", "", 1, 10000, dynamic=True
    )


def fit_planes(depth: np.ndarray, camera: Camera, settings: PlaneFitSettings = PlaneFitSettings()) -> Planes:
    """Planes of a depth image (H, W) m of a rectified camera, largest first. Deterministic.

    RANSAC with one pixel per hypothesis, since its neighbourhood has a normal. The best hypothesis is refined by least
    squares and its inliers are removed before the next search. Finally each pixel is assigned to the nearest plane.
    """
    points, normals = back_project(depth, camera), surface_normals(depth, camera)
    step = max(1, round((depth.size / RANSAC_POINTS) ** 0.5))
    X, N = (field[::step, ::step].reshape(-1, 3) for field in (points, normals))
    min_inliers = max(settings.min_area * len(X), 3)
    valid = np.isfinite(N).all(axis=1)
    X, N = X[valid], N[valid]
    random = np.random.default_rng(0)
    equations: list[np.ndarray] = []
    while len(equations) < settings.max_planes and len(X) >= min_inliers:
        sample = random.choice(len(X), min(settings.ransac_iterations, len(X)), replace=False)
        hypotheses = np.hstack([N[sample], -(N[sample] * X[sample]).sum(axis=1, keepdims=True)])
        votes = _inliers(X, N, hypotheses, settings)
        best = votes.sum(axis=0).argmax()
        equation, inliers = hypotheses[best], votes[:, best]
        if inliers.sum() < min_inliers:
            break
        for _ in range(2):
            refined = fit_plane_least_squares(X[inliers])
            refined_inliers = _inliers(X, N, refined[None], settings)[:, 0]
            if refined_inliers.sum() < inliers.sum():
                break
            equation, inliers = refined, refined_inliers
        if not _is_duplicate(X[inliers], equation, equations, settings):
            equations.append(equation)
        X, N = X[~inliers], N[~inliers]
    return _label_pixels(points, np.array(equations).reshape(-1, 4), settings)


def _is_duplicate(
    points: np.ndarray, equation: np.ndarray, equations: list[np.ndarray], settings: PlaneFitSettings
) -> bool:
    """Whether a plane through `points` repeats one of `equations`, whose own inliers were removed before."""
    return any(
        other[:3] @ equation[:3] > MIN_MERGE_COSINE
        and np.abs(points @ other[:3] + other[3]).mean() < settings.distance_threshold
        for other in equations
    )


def _distance_threshold(depth: np.ndarray, settings: PlaneFitSettings) -> np.ndarray:
    """Maximum distance from a plane of points at `depth` m."""
    return np.maximum(settings.distance_threshold, settings.relative_distance_threshold * depth)


def _inliers(X: np.ndarray, N: np.ndarray, equations: np.ndarray, settings: PlaneFitSettings) -> np.ndarray:
    """(points, planes) bool: points X (N, 3) with normals N (N, 3) that agree with a plane in distance and normal."""
    cosine = N @ equations[:, :3].T
    distance = np.abs(X @ equations[:, :3].T + equations[:, 3])
    near = distance < _distance_threshold(X[:, 2:], settings)
    return (cosine > np.cos(np.radians(settings.max_normal_angle))) & near


def fit_plane_least_squares(points: np.ndarray) -> np.ndarray:
    """Least-squares plane (4,) of points (N, 3) m: unit normal towards the camera, offset >= 0 m."""
    centre = points.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((points - centre).T))
    normal = axes[:, 0] if axes[:, 0] @ centre < 0 else -axes[:, 0]
    return np.append(normal, -normal @ centre)


def surface_normals(depth: np.ndarray, camera: Camera) -> np.ndarray:
    """Unit normals (H, W, 3) float32 towards the camera, of a depth image (H, W) m; NaN next to invalid depth.

    On a plane n . X + d = 0 the inverse depth is linear in the ray, with gradient -n / d. The gradient is estimated by
    a linear least-squares fit in a window around each pixel.
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
    border[radius:-radius, radius:-radius] = False  # the window exceeds the image
    normals[border] = np.nan
    with np.errstate(invalid="ignore"):
        return normals / np.linalg.norm(normals, axis=-1, keepdims=True)


def _label_pixels(points: np.ndarray, equations: np.ndarray, settings: PlaneFitSettings) -> Planes:
    """Assign points (H, W, 3) to the nearest plane within the threshold; drop small components and small planes."""
    labels = np.full(points.shape[:2], -1, np.int32)
    if not len(equations):
        return Planes(labels, equations)
    distance = np.abs(points @ equations[:, :3].T.astype(np.float32) + equations[:, 3].astype(np.float32))
    nearest = np.nan_to_num(distance, nan=np.inf).argmin(axis=2)
    near = distance.min(axis=2) < _distance_threshold(
        points[..., 2], settings
    )  # False where the depth is invalid
    for k in range(len(equations)):
        mask = _remove_small_components((near & (nearest == k)).astype(np.uint8), 0.2 * settings.min_area)
        labels[mask] = k
    return visible_planes(labels, equations, settings.min_area)


def visible_planes(labels: np.ndarray, equations: np.ndarray, min_area: float) -> Planes:
    """Planes that cover at least the fraction `min_area` of the image, largest first, with relabelled pixels."""
    area = np.bincount(labels[labels >= 0], minlength=len(equations))
    order = np.argsort(-area, kind="stable")
    order = order[area[order] >= max(min_area * labels.size, 1)]
    new_labels = np.full(len(equations) + 1, -1, np.int32)  # the last entry is that of label -1
    new_labels[order] = np.arange(len(order))
    return Planes(new_labels[labels], equations[order])


def largest_planes(planes: Planes, max_planes: int) -> Planes:
    """At most `max_planes` planes, largest first; pixels of the others get label -1."""
    planes = visible_planes(planes.labels, planes.equations, 0.0)
    return Planes(np.where(planes.labels < max_planes, planes.labels, -1), planes.equations[:max_planes])


def _remove_small_components(mask: np.ndarray, min_area: float) -> np.ndarray:
    """(H, W) bool: a mask after 3x3 opening, without components below the fraction `min_area` of the image."""
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, components, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= min_area * mask.size
    large[0] = False
    return large[components]


def plane_outlines(planes: Planes, camera: Camera, min_area: float = 0.002) -> list[list[np.ndarray]]:
    """For each plane the contours of its connected parts, largest first: (N, 3) points on the plane, m, optical frame.

    min_area: minimum size of a part as a fraction of the image. Points at grazing angles are left out because their
    position is unreliable.
    """
    outlines: list[list[np.ndarray]] = []
    for k, equation in enumerate(planes.equations):
        polygons = []
        for pixels in mask_contours(planes.labels == k, min_area):
            directions = rays(camera)[pixels[:, 1], pixels[:, 0]]
            slope = -directions @ equation[:3]
            reliable = slope > np.sin(MIN_VIEWING_ANGLE) * np.linalg.norm(directions, axis=1)
            if reliable.sum() >= 3:
                polygons.append(directions[reliable] * (equation[3] / slope[reliable])[:, None])
        outlines.append(polygons)
    return outlines


def mask_contours(mask: np.ndarray, min_area: float = 0.002) -> list[np.ndarray]:
    """Outer contours (N, 2) int px (column, row) of a mask (H, W), largest first, approximated to 1.5 px."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    large = [contour for contour in contours if cv2.contourArea(contour) >= min_area * mask.size]
    large.sort(key=cv2.contourArea, reverse=True)
    polygons = (cv2.approxPolyDP(contour, 1.5, True)[:, 0] for contour in large)
    return [polygon for polygon in polygons if len(polygon) >= 3]


def plane_colour(k: int) -> tuple[int, int, int]:
    """RGB of the k-th plane in images and markers; hues are the golden angle apart, so that neighbours differ."""
    hue = np.uint8(round(k * 137.508) % 360 // 2)
    red, green, blue = cv2.cvtColor(np.array([[[hue, 190, 255]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)
