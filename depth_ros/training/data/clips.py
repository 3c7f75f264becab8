"""Clips: short sequences of frames of one camera, for families that learn from video alone.

Clips of a stationary camera are left out: they teach a network that everything is far away.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify
from depth_ros.recordings import Recording, Sample, open_recording, readable
from depth_ros.recordings.split import HELD_OUT_DIVISOR
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.source import Source
from depth_ros.training.parallel import parallel_map
from depth_ros.world import World, WorldSettings

HELD_OUT_WORLDS = 6
"""Number of rendered recordings for validation."""
HELD_OUT_SEED = 2_000_000
"""Seed of the first rendered recording for validation; those for training have seeds from 0."""
HELD_OUT_CLIPS = 18
"""Maximum number of validation clips of a folder."""
HELD_OUT_FRAMES = 5
"""Length of a rendered recording for validation, frames."""


@dataclass(frozen=True)
class ClipFrame:
    """One frame. image: (H, W, 3) uint8 RGB, rectified. labels: (H, W) uint8 ids of moving objects, 0 = static.

    depth: (H, W) float32 m where the recording has it, for validation only.
    """

    image: np.ndarray
    labels: np.ndarray
    camera: Camera
    depth: np.ndarray | None = None


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


def load_training_clips(
    sources: Sequence[Source], crop: CropSettings, settings: ClipSettings, data: Path
) -> list[Clip]:
    """Load all training clips. Raises DepthRosError if there are none in which the camera moves."""
    clips: list[Clip] = []
    for source in sources:
        if source.is_rendered:
            recordings = render_recordings(source, crop, settings, range(source.count))
        else:
            folder = open_recording(data / source.folder)
            count = len(folder) if source.part == "all" else _training_frames(folder)
            recordings = [read_frames(folder, range(count), crop)]
        clips += clips_of(recordings, settings) * source.repeat
    if not clips:
        names = ", ".join(source.folder for source in sources)
        raise DepthRosError(
            f"no clip of {settings.frames} frames with a moving camera in {names}: use longer recordings, or lower "
            f"min_image_motion of the recipe, now {settings.min_image_motion} px"
        )
    return clips


def load_held_out_clips(
    folders: Sequence[str], sources: Sequence[Source], crop: CropSettings, settings: ClipSettings, data: Path
) -> dict[str, list[Clip]]:
    """Load up to `HELD_OUT_CLIPS` clips of each validation folder that are no part of the training data.

    They are those of other rendered scenes, of the last fifth of a recording among the training sources, or of any
    part of another recording.
    """
    training_folders = {source.folder for source in sources}
    held_out = {}
    for name in folders:
        source = Source(name, frames=HELD_OUT_FRAMES)
        if source.is_rendered:
            seeds = range(HELD_OUT_SEED, HELD_OUT_SEED + HELD_OUT_WORLDS)
            recordings = render_recordings(source, crop, settings, seeds)
        else:
            folder = open_recording(data / name)
            first = _training_frames(folder) if name in training_folders else 0
            recordings = [read_frames(folder, range(first, len(folder)), crop)]
        clips = clips_of(recordings, settings)
        held_out[name] = clips[:: -(-len(clips) // HELD_OUT_CLIPS) or 1]
    return held_out


def _training_frames(folder: Recording) -> int:
    """Number of leading frames of a recording that training may use."""
    return len(folder) - len(folder) // HELD_OUT_DIVISOR


def clips_of(recordings: Sequence[Sequence[ClipFrame]], settings: ClipSettings) -> list[Clip]:
    """All runs of `settings.frames` consecutive frames between all of which the image moves enough."""
    clips: list[Clip] = []
    length = settings.frames
    for frames in recordings:
        moves = [
            median_image_motion(older.image, newer.image) >= settings.min_image_motion
            for older, newer in itertools.pairwise(frames)
        ]
        starts = range(len(frames) - length + 1)
        clips += [tuple(frames[i : i + length]) for i in starts if all(moves[i : i + length - 1])]
    return clips


def median_image_motion(older: np.ndarray, newer: np.ndarray) -> float:
    """Median length, px, of the optical flow (Farneback 2003) between two images: mostly that of the static scene."""
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (older, newer)]
    flow = cv2.calcOpticalFlowFarneback(grey[0], grey[1], np.empty(0), 0.5, 3, 15, 2, 5, 1.1, 0)
    return float(np.median(np.linalg.norm(flow, axis=2)))


def read_frames(folder: Recording, indices: Sequence[int], crop: CropSettings) -> list[ClipFrame]:
    """Frames of a recording, reduced to the size that crops need."""
    return [recorded_frame(sample, crop) for _, sample in readable(folder, indices)]


def recorded_frame(sample: Sample, crop: CropSettings) -> ClipFrame:
    """The rectified left image of a sample with its labels, reduced to the size that crops need."""
    image, camera = rectify(sample.left.image, sample.left.camera)
    moving = sample.moving_objects
    labels = np.zeros(image.shape[:2], np.uint8) if moving is None else moving.astype(np.uint8)
    width, height = crop.source_size
    shrink = max(width / camera.width, height / camera.height)
    if shrink < 1:
        size = (round(camera.width * shrink), round(camera.height * shrink))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
        camera = camera.resized(*size)
    return ClipFrame(image, labels, camera, sample.depth)


def render_recordings(
    source: Source, crop: CropSettings, settings: ClipSettings, seeds: Sequence[int]
) -> list[list[ClipFrame]]:
    """Render one short recording per seed, at the size that crops need."""
    render = partial(render_recording, source, crop, settings.moving_count)
    return parallel_map(render, seeds)


def render_recording(source: Source, crop: CropSettings, moving_count: int, seed: int) -> list[ClipFrame]:
    """Render `source.frames` frames of one scene."""
    width, height = (round(side) for side in crop.source_size)
    world = World(
        WorldSettings(
            kind=source.scene_kind,
            seed=seed,
            frames=source.frames,
            width=width,
            height=height,
            supersample=2,
            moving_count=moving_count,
            rate=source.rate,
        )
    )
    frames = []
    for index in range(source.frames):
        image, depth = world.render(index)
        labels = world.moving_objects(index).astype(np.uint8)
        frames.append(ClipFrame(image, labels, world.cameras["left"], depth))
    return frames
