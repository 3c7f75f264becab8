"""Examples: recorded or rendered images with the depth that training may learn from, held in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from depth_ros.datasets import Sample, open_folder
from depth_ros.datasets.split import training
from depth_ros.datatypes import Camera, Planes
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.baselines.mean_inverse_depth import MeanInverseDepth
from depth_ros.geometry import rectify
from depth_ros.plane_fitting import fit_planes
from depth_ros.training.parallel import spread
from depth_ros.training.recipes import Source
from depth_ros.world.pairs import Pairs

SKY = 400.0
"""Metres given to rendered sky: far enough to be published as unknown, near enough to be learned."""
TEXTURES = 60
"""At most so many images of a source are cut into textures."""
TEXTURE = 12.0
"""Mean horizontal Sobel response, grey levels, below which a match between the eyes is not believed."""
COVERAGE = 0.5
"""Share of the known pixels that planes must cover for an image to teach planes (PlaneNet, section 5)."""


@dataclass(frozen=True)
class Example:
    """One image to learn from. image: (H, W, 3) uint8 RGB, rectified. right: the other eye, or None.

    depth: (H, W) float32 m, NaN = unknown. weight: (H, W) float32 trust in each known pixel.
    fx_baseline: px m, disparity = fx_baseline / depth where there is a right eye.
    planes: of the image, exact where it is rendered, else fitted to the depth; or None.
    """

    image: np.ndarray
    camera: Camera
    depth: np.ndarray
    weight: np.ndarray
    right: np.ndarray | None = None
    fx_baseline: float = 0.0
    planes: Planes | None = None


def load(sources: Iterable[Source], data: Path) -> list[Example]:
    """All examples of the sources, each as often as its source says."""
    examples: list[Example] = []
    for source in sources:
        found = _rendered(source) if source.folder.startswith("world:") else list(_recorded(source, data))
        examples += found * source.repeat
    if not examples:
        raise DepthRosError(f"nothing to train on below {data}")
    return examples


def load_planes(sources: Iterable[Source], data: Path) -> list[Example]:
    """The examples that have planes, with them."""
    examples = load(sources, data)
    found = zip(examples, spread(planes_of, examples), strict=True)
    return [replace(example, planes=planes) for example, planes in found if planes is not None]


def planes_of(example: Example) -> Planes | None:
    """The planes that the example has, else those fitted to its depth; None where too little of it is planar."""
    if example.planes is not None:
        return example.planes
    found = fit_planes(example.depth, example.camera)
    known = np.isfinite(example.depth).sum()
    enough = (found.labels >= 0).sum() >= COVERAGE * max(known, 1)
    return found if enough else None


def load_pairs(sources: Iterable[Source], data: Path) -> list[Example | Pairs]:
    """Recorded pairs with truth, and the generator of others as often as it is to be asked in an epoch."""
    pairs, textures, generated = [], [], 0
    for source in sources:
        if source.folder == "world:pairs":
            generated += source.count
            continue
        found = list(_recorded(source, data, mirrored))
        pairs += [example for example in found if example.right is not None and example.weight.any()]
        textures += [example.image for example in found[:: max(1, len(found) // TEXTURES)]]
    return [*pairs, *[Pairs(textures)] * generated]


def _recorded(source: Source, data: Path, right: Callable | None = None) -> Iterator[Example]:
    """right: what makes an example of the right eye, if the source learns from it; `right_example_of` if None."""
    right = right or right_example_of
    folder = open_folder(data / source.folder)
    indices = range(len(folder)) if source.part == "all" else training(folder)
    for index in indices:
        sample = folder[index]
        yield example_of(sample, source.stereo)
        if source.right_eye and sample.right is not None and sample.depth is not None:
            yield right(sample, source.stereo)


def example_of(sample: Sample, stereo: float) -> Example:
    """The left image with its truth, filled by stereo matching of the given weight where there is none."""
    image, camera = rectify(sample.left.image, sample.left.camera)
    right = None if sample.right is None else rectify(sample.right.image, sample.right.camera)[0]
    depth = np.full(image.shape[:2], np.nan, np.float32) if sample.depth is None else sample.depth
    weight = np.isfinite(depth).astype(np.float32)
    if stereo > 0 and right is not None and sample.right is not None:
        matched = sample.fx_baseline / match(image, right)
        weight = np.where(weight > 0, weight, np.where(np.isfinite(matched), stereo, 0)).astype(np.float32)
        depth = np.where(np.isfinite(depth), depth, matched).astype(np.float32)
    return Example(image, camera, depth, weight, right, float(sample.fx_baseline))


def right_example_of(sample: Sample, stereo: float) -> Example:
    """The right image with the left truth carried over: nearer points win, covered ones stay unknown."""
    assert sample.right is not None and sample.depth is not None
    disparity = sample.fx_baseline / sample.depth
    rows, columns = np.nonzero(np.isfinite(disparity))
    values = disparity[rows, columns]
    order = np.argsort(values)  # written last = nearest
    rows, values = rows[order], values[order]
    target = np.rint(columns[order] - values).astype(int)
    inside = target >= 0
    depth = np.full_like(sample.depth, np.nan)
    depth[rows[inside], target[inside]] = sample.fx_baseline / values[inside]
    image = sample.right.image
    weight = np.isfinite(depth).astype(np.float32)
    if stereo > 0:  # mirrored, the right eye is the left one
        matched = match(image[:, ::-1].copy(), sample.left.image[:, ::-1].copy())[:, ::-1]
        filled = sample.fx_baseline / matched
        hidden = np.isfinite(depth) & (filled < 0.8 * depth)  # background seen through sparse foreground
        depth = np.where(np.isfinite(depth) & ~hidden, depth, filled).astype(np.float32)
        weight = np.where((weight > 0) & ~hidden, 1.0, stereo * np.isfinite(filled)).astype(np.float32)
    return Example(image, sample.right.camera.rectified(), depth, weight)


def mirrored(sample: Sample, stereo: float) -> Example:
    """The pair as a mirror shows it: its left eye is the right one, with what was measured of that (stereo: see
    `right_example_of`; what is matched is left out). The camera's
    centre is as it was: disparity alone is learned from pairs."""
    assert sample.right is not None
    right = right_example_of(sample, stereo)
    measured = right.weight >= 1
    left = rectify(sample.left.image, sample.left.camera)[0]
    return Example(
        right.image[:, ::-1], right.camera, np.where(measured, right.depth, np.float32(np.nan))[:, ::-1],
        measured[:, ::-1].astype(np.float32), left[:, ::-1], float(sample.fx_baseline),
    )  # fmt: skip


def match(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Disparity (H, W) float32 px of the left image by semi-global matching.

    NaN where the eyes disagree and where there is nothing to match (sky, overexposure: made-up disparities).
    """
    matcher = cv2.StereoSGBM.create(
        minDisparity=1, numDisparities=128, blockSize=5, P1=8 * 75, P2=32 * 75, disp12MaxDiff=1,
        uniquenessRatio=10, speckleWindowSize=100, speckleRange=2, mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )  # fmt: skip
    disparity = matcher.compute(left, right).astype(np.float32) / 16
    steps = np.abs(cv2.Sobel(cv2.cvtColor(left, cv2.COLOR_RGB2GRAY), cv2.CV_32F, 1, 0))
    return np.where((disparity >= 1) & (cv2.blur(steps, (15, 15)) > TEXTURE), disparity, np.nan)


def _rendered(source: Source) -> list[Example]:
    return spread(partial(_scene, source.folder.partition(":")[2]), range(source.count))


def _scene(kind: str, seed: int) -> Example:
    """One image of a rendered street or room, with a focal length of its own."""
    from depth_ros.world import World, WorldSettings

    width, height = {"street": (640, 192), "room": (320, 240)}[kind]
    focal = width * float(np.random.default_rng(seed).uniform(0.5, 0.95))
    world = World(WorldSettings(kind=kind, seed=seed, width=width, height=height, frames=1, focal=focal))
    sample = world[0]
    assert sample.depth is not None
    sky = ~np.isfinite(sample.depth)
    depth = np.where(sky, SKY, sample.depth).astype(np.float32)
    weight = np.where(sky, 0.3, 1.0).astype(np.float32)
    right = None if sample.right is None else sample.right.image
    return Example(sample.left.image, sample.left.camera, depth, weight, right, planes=world.planes(0))


def typical(examples: Iterable[Example]) -> np.ndarray | None:
    """Mean of f / Z, px/m, (24, 80) float16, over all pixels that were measured; None if there are none."""
    measured = [
        np.where(example.weight >= 1, example.depth, np.nan) / example.camera.fx for example in examples
    ]
    if not any(np.isfinite(depth).any() for depth in measured):
        return None
    mean = MeanInverseDepth.of(measured).predict(24, 80)
    return None if mean is None else (1 / mean).astype(np.float16)
