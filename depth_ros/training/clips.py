"""Clips: a few neighbouring frames of one camera, for families that learn from video alone.

A clip in which the camera stands still teaches that everything is far away, and is left out.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from depth_ros.datasets import Sample, open_folder
from depth_ros.datasets.split import PART
from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify
from depth_ros.training.augment import recolour
from depth_ros.training.parallel import spread
from depth_ros.training.recipes import Recipe, Source

UNSEEN_WORLDS, UNSEEN_SEED, UNSEEN_CLIPS = 6, 2_000_000, 18
"""Rendered streets that validation sees, the seed from which on they are numbered, and clips of each folder at most."""


@dataclass(frozen=True)
class Moment:
    """One frame. image: (H, W, 3) uint8 RGB, rectified. labels: (H, W) uint8 ids of moving objects, 0 = static.

    depth: (H, W) float32 m where the recording has it, for validation alone.
    """

    image: np.ndarray
    labels: np.ndarray
    camera: Camera
    depth: np.ndarray | None = None


Clip = tuple[Moment, ...]
"""Neighbours in time, oldest first, all of one camera and size."""


def load_clips(recipe: Recipe, data: Path) -> list[Clip]:
    """All clips that training may see. Raises DepthRosError if there are none in which the camera moves."""
    clips: list[Clip] = []
    for source in recipe.sources:
        clips += clips_of(source, recipe, data) * source.repeat
    if not clips:
        names = ", ".join(source.folder for source in recipe.sources)
        raise DepthRosError(
            f"no clip of {recipe.frames} frames with a moving camera in {names}: give longer recordings, or lower "
            f"the recipe's least_motion, now {recipe.least_motion} px"
        )
    return clips


def unseen_clips(recipe: Recipe, data: Path) -> dict[str, list[Clip]]:
    """Some clips of each validation folder that training never sees: of other worlds, of the last fifth of a
    recording that it learns from, or of a whole one that it does not.
    """
    found = {}
    for name in recipe.validation:
        clips = clips_of(Source(name, frames=5), recipe, data, unseen=True)
        found[name] = clips[:: -(-len(clips) // UNSEEN_CLIPS) or 1]
    return found


def clips_of(source: Source, recipe: Recipe, data: Path, unseen: bool = False) -> list[Clip]:
    """The clips of one source, of frames at a size from which the recipe's crops are taken."""
    if source.folder.startswith("world:"):
        seeds = range(UNSEEN_SEED, UNSEEN_SEED + UNSEEN_WORLDS) if unseen else range(source.count)
        recordings = spread(partial(rendered, source, recipe), seeds)
    else:
        folder = open_folder(data / source.folder)
        last = len(folder) - len(folder) // PART
        known = any(source.folder == each.folder for each in recipe.sources)
        if unseen:
            indices = range(last if known else 0, len(folder))
        else:
            indices = range(len(folder) if source.part == "all" else last)
        recordings = [[moment(folder[index], recipe) for index in indices]]
    return [clip for frames in recordings for clip in moving_clips(frames, recipe)]


def moving_clips(frames: list[Moment], recipe: Recipe) -> list[Clip]:
    """Every run of `recipe.frames` neighbours between all of which the image moves enough."""
    steps = [motion(a.image, b.image) >= recipe.least_motion for a, b in itertools.pairwise(frames)]
    count = recipe.frames
    starts = range(len(frames) - count + 1)
    return [tuple(frames[i : i + count]) for i in starts if all(steps[i : i + count - 1])]


def motion(older: np.ndarray, newer: np.ndarray) -> float:
    """Median length, px, of the optical flow (Farneback 2003) between two images: what the scene does, not cars."""
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (older, newer)]
    flow = cv2.calcOpticalFlowFarneback(grey[0], grey[1], np.empty(0), 0.5, 3, 15, 2, 5, 1.1, 0)
    return float(np.median(np.linalg.norm(flow, axis=2)))


def moment(sample: Sample, recipe: Recipe) -> Moment:
    """A recorded frame, no larger than the widest crop needs."""
    image, camera = rectify(sample.left.image, sample.left.camera)
    labels = np.zeros(image.shape[:2], np.uint8) if sample.moving is None else sample.moving.astype(np.uint8)
    shrink = max(recipe.width * recipe.zoom / camera.width, recipe.height * recipe.zoom / camera.height)
    if shrink < 1:
        size = (round(camera.width * shrink), round(camera.height * shrink))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
        camera = camera.resized(*size)
    return Moment(image, labels, camera, sample.depth)


def rendered(source: Source, recipe: Recipe, seed: int) -> list[Moment]:
    """A short clip of the built-in world, rendered at the size that is needed."""
    from depth_ros.world import World, WorldSettings

    width, height = (round(side * recipe.zoom) for side in (recipe.width, recipe.height))
    kind = source.folder.partition(":")[2]
    settings = WorldSettings(
        kind=kind,
        seed=seed,
        frames=source.frames,
        width=width,
        height=height,
        supersample=2,
        moving=recipe.moving,
        rate=source.rate,
    )
    world, found = World(settings), []
    for index in range(source.frames):
        image, depth = world.render(index)
        found.append(Moment(image, world.moving(index).astype(np.uint8), world.cameras["left"], depth))
    return found


def clip_crop(clip: Clip, recipe: Recipe, random: np.random.Generator | None = None) -> dict[str, np.ndarray]:
    """One window of all frames at the recipe's size, zoomed, mirrored and recoloured alike, with its camera.

    images (N, H, W, 3) and labels (N, H, W) uint8, intrinsics (3, 3). Without `random` it is the widest window, in
    the middle, as it is.
    """
    camera, size = clip[0].camera, (recipe.width, recipe.height)
    left, top, w, h = window(camera, recipe, random)
    place = np.s_[top : top + h, left : left + w]
    method = cv2.INTER_AREA if w > recipe.width else cv2.INTER_LINEAR
    images = [cv2.resize(frame.image[place], size, interpolation=method) for frame in clip]
    labels = [cv2.resize(frame.labels[place], size, interpolation=cv2.INTER_NEAREST_EXACT) for frame in clip]
    K = camera.cropped(left, top, w, h).resized(*size).K.astype(np.float32)
    if random is not None and recipe.mirror and random.random() < 0.5:
        images, labels = ([frame[:, ::-1] for frame in frames] for frames in (images, labels))
        K[0, 2] = recipe.width - 1 - K[0, 2]
    stack = np.concatenate(images)  # one below the other: the same colours for all
    stack = recolour(stack, random) if random is not None and recipe.recolour else stack
    return {"images": stack.reshape(len(clip), *images[0].shape), "labels": np.stack(labels), "intrinsics": K}


def window(camera: Camera, recipe: Recipe, random: np.random.Generator | None) -> tuple[int, int, int, int]:
    """Left, top, width and height of a crop with the recipe's aspect."""
    aspect = recipe.width / recipe.height
    widest = min(camera.width, camera.height * aspect)
    wide = widest / (1.0 if random is None else random.uniform(1.0, recipe.zoom))
    w, h = round(wide), min(round(wide / aspect), camera.height)
    if random is None:
        return (camera.width - w) // 2, (camera.height - h) // 2, w, h
    return int(random.integers(0, camera.width - w + 1)), int(random.integers(0, camera.height - h + 1)), w, h
