"""Effects on a whole clip, written as a video: defocus, removal of people, insertion of a virtual object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from depth_ros.config import setting
from depth_ros.effects.clip import ClipImage, ClipOptions, estimated_depth, open_clip, require_poses
from depth_ros.effects.defocus import defocus
from depth_ros.effects.inpaint import remove_people
from depth_ros.effects.insert import free_distance, insert_object, place_crate
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.two_view import two_view_inputs
from depth_ros.parallax import scale_to_parallax
from depth_ros.recordings import Recording
from depth_ros.recordings.two_view_inputs import TwoViewInputs

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}

Effect = Callable[[int], tuple[np.ndarray, float]]
"""Index of an image -> the changed image (H, W, 3) uint8 RGB and a fraction, see `make_video`."""


@dataclass(frozen=True)
class EffectSettings:
    """Settings of the effects."""

    focus: float = setting(
        0.0, "Focus distance; 0: median depth at the centre of the first image", "m", 0.0, 1000.0
    )
    aperture: float = setting(
        12.0, "Radius of the blur at infinity times the focus distance", "px m", 0.0, 1000.0
    )
    size: float = setting(0.3, "Edge length of the inserted crate", "m", 0.001, 100.0)
    distance: float = setting(
        0.0, "Distance of the crate from the first camera; 0: just in front of the scene", "m", 0.0, 1000.0
    )
    column: float = setting(
        0.5, "Position of the crate in the first image, fraction of the width", "", 0.0, 1.0
    )
    row: float = setting(
        0.7, "Position of the crate in the first image, fraction of the height", "", 0.0, 1.0
    )


@dataclass(frozen=True)
class VideoOptions:
    """Inputs and settings of a video. model: estimates the depth; empty: recorded depth is used."""

    clip: ClipOptions = field(default_factory=ClipOptions)
    effect: EffectSettings = EffectSettings()
    model: str = ""
    engine: EngineSettings = field(default_factory=EngineSettings)


def make_video(
    effect: str,
    source: Path,
    out: Path,
    options: VideoOptions = VideoOptions(),
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> tuple[int, float]:
    """Apply an effect of `EFFECTS` to a bag or folder and write `out` (.mp4 or .avi).

    Returns the number of images and a mean fraction: of the hole that was filled from other images (remove), of the
    object that is visible (insert), or 1 (defocus). Up-to-scale depth is scaled to the units of the poses by parallax,
    where there are poses. Raises DepthRosError if required data is missing.
    """
    if effect not in EFFECTS:
        raise DepthRosError(f"effect is '{effect}'; allowed: {', '.join(EFFECTS)}")
    if out.suffix not in CODECS:
        raise DepthRosError(f"{out} must end with {' or '.join(CODECS)}")
    recording, clip = open_clip(source, options.clip)
    if effect != "defocus":
        clip = require_poses(clip, source)
    clip = with_depth(clip, recording, options)
    if effect == "remove" and not any(image.people.any() for image in clip):
        raise DepthRosError(f"{source} has no masks of people or moving objects: give --masks FOLDER")
    apply = EFFECTS[effect](clip, options.effect)
    images, fractions = [], []
    for index in progress(range(len(clip))):
        image, fraction = apply(index)
        images.append(image)
        fractions.append(fraction)
    write_video(out, images, frame_rate(clip))
    return len(images), float(np.nanmean(fractions)) if np.isfinite(fractions).any() else 0.0


def _defocus(clip: Sequence[ClipImage], settings: EffectSettings) -> Effect:
    focus = settings.focus or _central_depth(clip[0])

    def apply(index: int) -> tuple[np.ndarray, float]:
        image = clip[index]
        assert image.depth is not None
        return defocus(image.frame.image, image.depth, focus, settings.aperture), 1.0

    return apply


def _remove(clip: Sequence[ClipImage], settings: EffectSettings) -> Effect:
    return partial(remove_people, clip)


def _insert(clip: Sequence[ClipImage], settings: EffectSettings) -> Effect:
    size, column, row = settings.size, settings.column, settings.row
    distance = settings.distance or free_distance(clip[0], size, column, row)
    scene = place_crate(clip[0], size, distance, column, row)
    return lambda index: insert_object(clip[index], scene)


EFFECTS: dict[str, Callable[[Sequence[ClipImage], EffectSettings], Effect]] = {
    "defocus": _defocus,
    "remove": _remove,
    "insert": _insert,
}


def _central_depth(image: ClipImage) -> float:
    """Median depth (m) of the central third of an image, or of the whole image if that has no valid depth."""
    assert image.depth is not None
    height, width = image.depth.shape
    centre = image.depth[height // 3 : -height // 3, width // 3 : -width // 3]
    depth = centre if np.isfinite(centre).any() else image.depth
    valid = depth[np.isfinite(depth)]
    return float(np.median(valid)) if len(valid) else 1.0


def with_depth(clip: list[ClipImage], recording: Recording, options: VideoOptions) -> list[ClipImage]:
    """The clip with depth of the model in the units of the poses, or with recorded depth if `model` is empty."""
    if not options.model:
        missing = [image.name for image in clip if image.depth is None]
        if missing:
            raise DepthRosError(f"the recording has no depth for image '{missing[0]}': give --model")
        return clip
    from depth_ros.estimators.depth import DepthEstimator

    estimator = DepthEstimator(options.model, options.engine)
    if estimator.card.scale == "affine_inverse":
        raise DepthRosError(
            f"model '{options.model}' estimates depth up to scale and shift; effects require a metric or "
            "up-to-scale model"
        )
    names, is_metric = estimator.card.extra_inputs, estimator.card.scale == "metric"
    two_view = two_view_inputs(recording, names, options.engine) if names else TwoViewInputs(recording)
    depths, scales = list[np.ndarray](), list[float | None]()
    for image in clip:
        frame = two_view[image.index].left if names else image.frame
        depths.append(estimated_depth(frame, estimator))
        parallax = None if is_metric else two_view.parallax(image.index)
        scales.append(scale_to_parallax(depths[-1], parallax))
    known = [scale for scale in scales if scale is not None]
    median = float(np.median(known)) if known else 1.0
    return [
        replace(image, depth=depth * (scale or median))
        for image, depth, scale in zip(clip, depths, scales, strict=True)
    ]


def frame_rate(clip: Sequence[ClipImage]) -> float:
    """Images per second of a clip, 1 to 60."""
    periods = np.diff([image.frame.stamp for image in clip])
    median = float(np.median(periods)) if len(periods) else 1e8
    return float(np.clip(1e9 / median if median > 0 else 10.0, 1.0, 60.0))


def write_video(out: Path, images: list[np.ndarray], rate: float) -> None:
    """Write images (H, W, 3) uint8 RGB of equal size. Raises DepthRosError if OpenCV cannot."""
    height, width = (side // 2 * 2 for side in images[0].shape[:2])  # most players require an even size
    out.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*CODECS[out.suffix]), rate, (width, height))
    if not writer.isOpened():
        raise DepthRosError(
            f"could not write {out}: OpenCV has no encoder {CODECS[out.suffix]}; use {' or '.join(CODECS)}"
        )
    for image in images:
        writer.write(cv2.cvtColor(np.ascontiguousarray(image[:height, :width]), cv2.COLOR_RGB2BGR))
    writer.release()
