"""Make the pictures of the documentation: `python docs/make_pictures.py`, about two minutes.

A street of the built-in world, which nothing was trained on, as the shipped models see it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from depth_ros.datatypes import Depth, StereoFrame
from depth_ros.estimators.depth import DepthEstimator
from depth_ros.estimators.object_motion.estimator import ObjectMotionEstimator
from depth_ros.estimators.odometry.estimator import OdometryEstimator
from depth_ros.estimators.stereo.estimator import StereoEstimator
from depth_ros.evaluation.report.object_motion import ObjectMotionFrame, object_motion_image
from depth_ros.evaluation.report.plots import depth_image
from depth_ros.geometry import back_project, project
from depth_ros.recordings import Sample
from depth_ros.world import World, WorldSettings

IMAGES = Path(__file__).resolve().parent / "images"
WORLD = WorldSettings(kind="street", seed=11, frames=40, width=832, height=256, supersample=2, moving_count=5)
PANEL = (442, 136)
"""Size of an image beside the cloud, px."""
CLOUD = (520, 280)
"""Size of the picture of a cloud, px."""
SPAN = (4.0, 60.0)
"""Depths at the ends of the colour scale, m."""
MAX_DEPTH = 45.0
"""Depth of the farthest point drawn, m."""
BACKGROUND = 24


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    world = World(WORLD)
    estimator = DepthEstimator("mono_driving")
    depths = [estimator.estimate(world[i].left) for i in range(len(world))]
    frames = [_depth_and_cloud(depth, i / len(depths)) for i, depth in enumerate(depths)]
    _write_animation(IMAGES / "depth_and_cloud.webp", frames, world.rate)
    _write(IMAGES / "mono_and_stereo.webp", _mono_and_stereo(world[20], depths[20]))
    _write(IMAGES / "moving_objects.webp", _moving_objects(World(replace(WORLD, seed=5, moving_count=6))))


def _stereo(sample: Sample, model: str) -> Depth:
    assert sample.right is not None
    pair = StereoFrame(sample.left, sample.right, sample.right.camera.baseline)
    return StereoEstimator(model).estimate(pair).depth()


def _mono_and_stereo(sample: Sample, mono: Depth) -> np.ndarray:
    assert sample.depth is not None
    panels = {
        "image": sample.left.image,
        "ground truth": depth_image(sample.depth, SPAN),
        "mono_driving, one image": depth_image(mono.depth, SPAN),
        "stereo_driving, two images": depth_image(_stereo(sample, "stereo_driving").depth, SPAN),
    }
    rows = [
        _titled(cv2.resize(each, PANEL, interpolation=cv2.INTER_AREA), title)
        for title, each in panels.items()
    ]
    return np.vstack([np.hstack(rows[:2]), np.hstack(rows[2:])])


def _moving_objects(world: World) -> np.ndarray:
    """The moving objects in the frame where most are found, from semi-global depth."""
    odometry, estimator = OdometryEstimator(), ObjectMotionEstimator()
    found, older = [], None
    for i in range(26, 38):
        depth = _stereo(world[i], "semi_global")
        motion = odometry.estimate(depth).motion
        if older is not None and motion is not None:
            found.append(ObjectMotionFrame(depth, estimator.estimate(older, depth, motion)))
        older = depth
    return object_motion_image(max(found, key=lambda frame: len(frame.objects)))


def _depth_and_cloud(depth: Depth, phase: float) -> np.ndarray:
    """Image and depth on the left, the cloud on the right from a viewpoint that swings once while phase goes to 1."""
    swing = np.sin(2 * np.pi * phase)
    cloud = _cloud(depth, np.array([-3.0 * swing, -4.0, -3.0]))
    images = [depth.image, depth_image(depth.depth, SPAN)]
    rows = [cv2.resize(each, PANEL, interpolation=cv2.INTER_AREA) for each in images]
    rows = [_titled(row, title) for row, title in zip(rows, ("image", "depth"), strict=True)]
    gap = np.full((CLOUD[1] - 2 * rows[0].shape[0], PANEL[0], 3), BACKGROUND, np.uint8)
    left = np.vstack([rows[0], gap, rows[1]])
    return np.hstack([left, np.full((CLOUD[1], 8, 3), BACKGROUND, np.uint8), cloud])


def _titled(image: np.ndarray, title: str) -> np.ndarray:
    image = image.copy()
    for thickness, colour in ((3, (0, 0, 0)), (1, (255, 255, 255))):
        cv2.putText(image, title, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA)
    return image


def _cloud(depth: Depth, position: np.ndarray) -> np.ndarray:
    """The points of `depth`, seen from `position` (3,) m in the optical frame, looking at a point on the road ahead."""
    width, height = CLOUD
    valid = np.isfinite(depth.depth) & (depth.depth < MAX_DEPTH)
    points = back_project(depth.depth, depth.camera)[valid]
    size = (depth.depth.shape[1], depth.depth.shape[0])
    colours = cv2.resize(depth.image, size, interpolation=cv2.INTER_AREA)[valid]
    z = np.array([0.0, 0.0, 14.0]) - position
    z /= np.linalg.norm(z)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    seen = (points - position) @ np.stack([x, np.cross(z, x), z]).T
    K = np.array([[0.72 * width, 0, width / 2], [0, 0.72 * width, 0.45 * height], [0, 0, 1]])
    pixels, distance = project(seen, K)
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    nearest_last = np.argsort(-distance)
    pixels, colours, distance = pixels[nearest_last], colours[nearest_last], distance[nearest_last]
    spacing = 2.0 * K[0, 0] / depth.camera.fx * points[nearest_last, 2] / np.maximum(distance, 0.1)
    targets, sources = [], []
    for dy in range(6):
        for dx in range(6):
            u, v = np.round(pixels[:, 0]).astype(int) + dx, np.round(pixels[:, 1]).astype(int) + dy
            inside = (
                (u >= 0) & (u < width) & (v >= 0) & (v < height) & (distance > 0.5) & (spacing > max(dx, dy))
            )
            targets.append((v * width + u)[inside])
            sources.append(np.flatnonzero(inside))
    target, source = np.concatenate(targets), np.concatenate(sources)
    order = np.argsort(source, kind="stable")
    image.reshape(-1, 3)[target[order]] = colours[source[order]]
    return image


def _write(path: Path, image: np.ndarray) -> None:
    Image.fromarray(image).save(path, quality=85, method=6)


def _write_animation(path: Path, frames: list[np.ndarray], rate: float) -> None:
    first, *others = map(Image.fromarray, frames)
    first.save(
        path, save_all=True, append_images=others, duration=round(1000 / rate), loop=0, quality=62, method=6
    )


if __name__ == "__main__":
    main()
