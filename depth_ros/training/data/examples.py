"""Examples: recorded or rendered images with ground-truth depth, held in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from depth_ros.datatypes import Camera, Planes
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.baselines.mean_inverse_depth import MeanInverseDepth
from depth_ros.geometry import rectify, rectify_depth
from depth_ros.recordings import Sample, open_recording, readable
from depth_ros.recordings.sample import with_common_principal_point
from depth_ros.recordings.split import held_out, training
from depth_ros.training.data.source import Source
from depth_ros.training.parallel import parallel_map
from depth_ros.world import World, WorldSettings

SKY_DEPTH = 400.0
"""Depth of rendered sky, m: beyond the range of published depth, but finite, so that it can be learned."""
SKY_WEIGHT = 0.3
"""Loss weight of rendered sky."""
IMAGE_SIZES = {"street": (640, 192), "room": (320, 240)}
"""Width and height of rendered images, px."""
MIN_GRADIENT = 12.0
"""Mean horizontal Sobel response, grey levels, below which stereo matches are discarded as untextured."""
OCCLUDED_DEPTH_RATIO = 0.8
"""Where the matched depth is below this fraction of the transferred one, the transferred point is background that shows
through the gaps of sparse foreground, and is discarded."""


@dataclass(frozen=True)
class Example:
    """One image to learn from. image: (H, W, 3) uint8 RGB, rectified. right: the right image, or None.

    depth: (H, W) float32 m, NaN = invalid. weight: (H, W) float32 loss weight, 1 = measured, 0 = invalid.
    fx_baseline: m px, disparity = fx_baseline / depth where there is a right image.
    planes: planes of the image, exact for rendered scenes, or None.
    """

    image: np.ndarray
    camera: Camera
    depth: np.ndarray
    weight: np.ndarray
    right: np.ndarray | None = None
    fx_baseline: float = 0.0
    planes: Planes | None = None


MakeRightExample = Callable[[Sample, float], Example]
"""(sample, stereo weight) -> example of the right view."""


def load_examples(sources: Iterable[Source], data: Path) -> list[Example]:
    """Load all examples of the sources, each `Source.repeat` times. Raises DepthRosError if there are none."""
    examples: list[Example] = []
    for source in sources:
        found = rendered_examples(source) if source.is_rendered else list(recorded_examples(source, data))
        examples += found * source.repeat
    if not examples:
        raise DepthRosError(f"no training examples below {data}: check the folders and sources of the recipe")
    return examples


def held_out_samples(folders: Iterable[str], data: Path) -> dict[str, list[Sample]]:
    """The held-out samples of each validation folder (see `recordings.split`)."""
    samples = {}
    for name in folders:
        folder = open_recording(data / name)
        samples[name] = [sample for _, sample in readable(folder, held_out(folder))]
    return samples


def recorded_examples(
    source: Source, data: Path, make_right: MakeRightExample | None = None
) -> Iterator[Example]:
    """Yield the examples of a recorded folder, those of right views included if the source asks for them.

    make_right: builds the example of a right view; `right_view_example` if None.
    """
    make_right = make_right or right_view_example
    folder = open_recording(data / source.folder)
    if folder.contents.predicted_depth:
        raise DepthRosError(
            f"{source.folder} holds depth that a model predicted: it is no ground truth; train on measured depth"
        )
    indices = range(len(folder)) if source.part == "all" else training(folder)
    for _, stored in readable(folder, indices):
        sample = with_common_principal_point(stored)
        yield left_view_example(sample, source.stereo_weight)
        if source.right_view and sample.right is not None and sample.depth is not None:
            yield make_right(sample, source.stereo_weight)


def left_view_example(sample: Sample, stereo_weight: float) -> Example:
    """The left image with its ground truth; stereo matches of the given weight fill the gaps if it is above 0."""
    image, camera = rectify(sample.left.image, sample.left.camera)
    right = None if sample.right is None else rectify(sample.right.image, sample.right.camera)[0]
    depth = np.full(image.shape[:2], np.nan, np.float32)
    if sample.depth is not None:
        depth, _ = rectify_depth(sample.depth, sample.left.camera)
    weight = np.isfinite(depth).astype(np.float32)
    if stereo_weight > 0 and right is not None and sample.right is not None:
        matched = sample.fx_baseline / match_stereo(image, right)
        fill_weight = np.where(np.isfinite(matched), stereo_weight, 0)
        weight = np.where(weight > 0, weight, fill_weight).astype(np.float32)
        depth = np.where(np.isfinite(depth), depth, matched).astype(np.float32)
    return Example(image, camera, depth, weight, right, float(sample.fx_baseline))


def right_view_example(sample: Sample, stereo_weight: float) -> Example:
    """The right image with the ground truth of the left one transferred to it; occluded pixels stay invalid."""
    assert sample.right is not None and sample.depth is not None
    disparity = sample.fx_baseline / sample.depth
    rows, columns = np.nonzero(np.isfinite(disparity))
    values = disparity[rows, columns]
    order = np.argsort(values)  # nearest points last: they overwrite farther ones
    rows, values = rows[order], values[order]
    target = np.rint(columns[order] - values).astype(int)
    inside = target >= 0
    depth = np.full_like(sample.depth, np.nan)
    depth[rows[inside], target[inside]] = sample.fx_baseline / values[inside]
    image = sample.right.image
    weight = np.isfinite(depth).astype(np.float32)
    if stereo_weight > 0:  # in the mirrored pair the right image is the left one
        matched = match_stereo(image[:, ::-1].copy(), sample.left.image[:, ::-1].copy())[:, ::-1]
        filled = sample.fx_baseline / matched
        occluded = np.isfinite(depth) & (filled < OCCLUDED_DEPTH_RATIO * depth)
        depth = np.where(np.isfinite(depth) & ~occluded, depth, filled).astype(np.float32)
        weight = np.where((weight > 0) & ~occluded, 1.0, stereo_weight * np.isfinite(filled))
        weight = weight.astype(np.float32)
    return Example(image, sample.right.camera.rectified(), depth, weight)


def match_stereo(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Disparity (H, W) float32 px of the left image by semi-global matching.

    NaN where the left-right check fails and where there is no texture (sky, overexposure: spurious matches).
    """
    matcher = cv2.StereoSGBM.create(
        minDisparity=1, numDisparities=128, blockSize=5, P1=8 * 75, P2=32 * 75, disp12MaxDiff=1,
        uniquenessRatio=10, speckleWindowSize=100, speckleRange=2, mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )  # fmt: skip
    disparity = matcher.compute(left, right).astype(np.float32) / 16
    gradient = np.abs(cv2.Sobel(cv2.cvtColor(left, cv2.COLOR_RGB2GRAY), cv2.CV_32F, 1, 0))
    return np.where((disparity >= 1) & (cv2.blur(gradient, (15, 15)) > MIN_GRADIENT), disparity, np.nan)


def rendered_examples(source: Source) -> list[Example]:
    """Render `source.count` images, each of another scene."""
    return parallel_map(partial(_render_example, source.scene_kind), range(source.count))


def _render_example(kind: str, seed: int) -> Example:
    """One image of a rendered scene with exact depth and planes; the focal length depends on the seed."""
    width, height = IMAGE_SIZES[kind]
    focal = width * float(np.random.default_rng(seed).uniform(0.5, 0.95))
    world = World(WorldSettings(kind=kind, seed=seed, width=width, height=height, frames=1, focal=focal))
    sample = world[0]
    assert sample.depth is not None
    sky = ~np.isfinite(sample.depth)
    depth = np.where(sky, SKY_DEPTH, sample.depth).astype(np.float32)
    weight = np.where(sky, SKY_WEIGHT, 1.0).astype(np.float32)
    right = None if sample.right is None else sample.right.image
    return Example(sample.left.image, sample.left.camera, depth, weight, right, planes=world.planes(0))


def mean_inverse_depth(examples: Iterable[Example]) -> np.ndarray | None:
    """Mean of f / Z, px/m, (24, 80) float16, over all measured pixels; None if there are none."""
    measured = [
        np.where(example.weight >= 1, example.depth, np.nan) / example.camera.fx for example in examples
    ]
    if not any(np.isfinite(depth).any() for depth in measured):
        return None
    mean = MeanInverseDepth.from_depths(measured).predict(24, 80)
    return None if mean is None else (1 / mean).astype(np.float16)
