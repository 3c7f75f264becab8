"""Clips: short sequences of frames of one camera, for families that learn from video alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.geometry import rectify
from depth_ros.recordings import Sample
from depth_ros.recordings.instances import clip_instances
from depth_ros.training.crop import CropSettings


@dataclass(frozen=True)
class ClipFrame:
    """One frame. image: (H, W, 3) uint8 RGB, rectified. labels: (H, W) uint8 ids of moving objects, 0 = static.

    depth: (H, W) float32 m where the recording has it, for validation only. categories: (256,) uint8 of the ids, the
    same in all frames of a clip; None: unknown.
    """

    image: np.ndarray
    labels: np.ndarray
    camera: Camera
    depth: np.ndarray | None = None
    categories: np.ndarray | None = None


Clip = tuple[ClipFrame, ...]
"""Consecutive frames, oldest first, all of one camera and size."""


@dataclass(frozen=True)
class ClipSettings:
    """Which clips training uses.

    frames: length of a clip. min_image_motion: median optical flow, px, between consecutive frames below which a clip
    is left out. moving_count: number of moving objects in a rendered scene.
    """

    frames: int = 3
    min_image_motion: float = 0.5
    moving_count: int = 3


def is_moving(clip: Clip, min_image_motion: float) -> bool:
    """Whether the image moves by so many pixels between all frames of a clip."""
    return min_image_motion <= 0 or all(
        median_image_motion(older.image, newer.image) >= min_image_motion
        for older, newer in itertools.pairwise(clip)
    )


def median_image_motion(older: np.ndarray, newer: np.ndarray) -> float:
    """Median length, px, of the optical flow (Farneback 2003) between two images: mostly that of the static scene."""
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (older, newer)]
    flow = cv2.calcOpticalFlowFarneback(grey[0], grey[1], np.empty(0), 0.5, 3, 15, 2, 5, 1.1, 0)
    return float(np.median(np.linalg.norm(flow, axis=2)))


def recorded_clip(samples: Sequence[Sample], crop: CropSettings) -> Clip:
    """Consecutive samples as a clip, with the objects of their masks, see `clip_instances`."""
    same_size = len({sample.left.image.shape for sample in samples}) == 1
    objects = clip_instances(samples) if same_size else None
    if objects is None:
        return tuple(recorded_frame(sample, crop) for sample in samples)
    pairs = zip(samples, objects.labels, strict=True)
    frames = [recorded_frame(sample, crop, labels) for sample, labels in pairs]
    return tuple(replace(frame, categories=objects.categories) for frame in frames)


def recorded_frame(sample: Sample, crop: CropSettings, labels: np.ndarray | None = None) -> ClipFrame:
    """The rectified left image of a sample with labels (H, W) uint8, reduced to the size that crops need."""
    image, camera = rectify(sample.left.image, sample.left.camera)
    if labels is None:
        labels = np.zeros(image.shape[:2], np.uint8)
    width, height = crop.source_size
    shrink = max(width / camera.width, height / camera.height)
    if shrink < 1:
        size = (round(camera.width * shrink), round(camera.height * shrink))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
        camera = camera.resized(*size)
    return ClipFrame(image, labels, camera, sample.depth)
