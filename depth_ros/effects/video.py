"""Effects on a whole clip, written as a video: defocus, people taken out, a virtual object."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from depth_ros.config import setting
from depth_ros.effects.clip import Moment, posed, read_clip, with_depth
from depth_ros.effects.defocus import defocus
from depth_ros.effects.inpaint import without_people
from depth_ros.effects.insert import in_front, place, with_object
from depth_ros.effects.parallax import scale_of, two_view
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError

EFFECTS = ("defocus", "remove", "insert")
CODECS = {".mp4": "mp4v", ".avi": "MJPG"}


@dataclass(frozen=True)
class EffectSettings:
    """Options of the three effects."""

    focus: float = setting(
        0.0, "distance in focus; 0 = what the middle of the first image has", "m", 0.0, 1000.0
    )
    aperture: float = setting(
        12.0, "radius of the blur at infinity, times the focus distance", "px m", 0.0, 1000.0
    )
    size: float = setting(0.3, "edge of the inserted crate", "m", 0.001, 100.0)
    distance: float = setting(
        0.0, "of the crate from the first camera; 0 = just in front of what is seen there", "m", 0.0, 1000.0
    )
    column: float = setting(0.5, "where the crate is in the first image, share of the width", "", 0.0, 1.0)
    row: float = setting(0.7, "where the crate is in the first image, share of the height", "", 0.0, 1.0)


def make_video(
    effect: str,
    source: Path,
    out: Path,
    model: str = "",
    settings: EffectSettings = EffectSettings(),
    poses: Path | None = None,
    masks: Path | None = None,
    limit: int = 0,
    engine_settings: EngineSettings = EngineSettings(),  # noqa: B008
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> tuple[int, float]:
    """Apply an effect to a bag or folder and write `out` (.mp4 or .avi); returns the images and the mean share.

    The share is of the holes that other images filled (remove) or of the object that shows (insert); 1 for defocus.
    model: whose depth to use; empty = recorded depth. poses, masks: see `clip.read_clip`. Depth up to scale is
    brought to the units of the poses by parallax, where there are poses. Raises DepthRosError if something is missing.
    """
    if effect not in EFFECTS:
        raise DepthRosError(f"effect is '{effect}'; allowed: {', '.join(EFFECTS)}")
    if out.suffix not in CODECS:
        raise DepthRosError(f"{out} must end with {' or '.join(CODECS)}")
    moments = read_clip(source, poses, masks, limit)
    if effect != "defocus":
        moments = posed(moments, source)
    moments = with_depths(moments, source, model, engine_settings)
    if effect == "remove" and not any(moment.people.any() for moment in moments):
        raise DepthRosError(f"{source} says nowhere where people are: give --masks, a folder of images")
    treat = _treatment(effect, moments, settings)
    images, shares = [], []
    for index in progress(range(len(moments))):
        image, share = treat(index)
        images.append(image)
        shares.append(share)
    write_video(out, images, rate_of(moments))
    return len(images), float(np.nanmean(shares)) if np.isfinite(shares).any() else 0.0


def _treatment(
    effect: str, moments: list[Moment], settings: EffectSettings
) -> Callable[[int], tuple[np.ndarray, float]]:
    """index -> image and share."""
    if effect == "remove":
        return partial(without_people, moments)
    if effect == "insert":
        column, row = settings.column, settings.row
        distance = settings.distance or in_front(moments[0], settings.size, column, row)
        scene = place(moments[0], settings.size, distance, column, row)
        return lambda index: with_object(moments[index], scene)
    focus = settings.focus or _middle(moments[0])

    def blurred(index: int) -> tuple[np.ndarray, float]:
        moment = moments[index]
        assert moment.depth is not None
        return defocus(moment.frame.image, moment.depth, focus, settings.aperture), 1.0

    return blurred


def _middle(moment: Moment) -> float:
    """m, median depth of the middle of an image; of all of it where the middle is unknown."""
    assert moment.depth is not None
    height, width = moment.depth.shape
    middle = moment.depth[height // 3 : -height // 3, width // 3 : -width // 3]
    known = (
        middle[np.isfinite(middle)] if np.isfinite(middle).any() else moment.depth[np.isfinite(moment.depth)]
    )
    return float(np.median(known)) if len(known) else 1.0


def with_depths(
    moments: list[Moment], source: Path, model: str, engine_settings: EngineSettings
) -> list[Moment]:
    """The moments with depth of a model, in the units of the poses, or with recorded depth if `model` is empty."""
    if not model:
        missing = [moment.name for moment in moments if moment.depth is None]
        if missing:
            raise DepthRosError(f"{source} has no depth for image '{missing[0]}': give --model")
        return moments
    from depth_ros.estimators.depth import DepthEstimator

    estimator = DepthEstimator(model, engine_settings)
    if estimator.card.scale == "affine_inverse":
        raise DepthRosError(
            f"model '{model}' knows depth only up to scale and shift: effects need a metric one"
        )
    found = [with_depth(moment, estimator) for moment in moments]
    if estimator.card.scale == "metric":
        return found
    scales = [scale_of(moment.depth, two_view(found, i)) for i, moment in enumerate(found)]  # type: ignore[arg-type]
    known = [scale for scale in scales if scale is not None]
    usual = float(np.median(known)) if known else 1.0
    return [
        replace(moment, depth=moment.depth * (scale or usual))  # type: ignore[operator,arg-type]
        for moment, scale in zip(found, scales)
    ]


def rate_of(moments: list[Moment]) -> float:
    """Images per second of a clip, 1 to 60."""
    gaps = np.diff([moment.frame.stamp for moment in moments])
    usual = float(np.median(gaps)) if len(gaps) else 1e8
    return float(np.clip(1e9 / usual if usual > 0 else 10.0, 1.0, 60.0))


def write_video(out: Path, images: list[np.ndarray], rate: float) -> None:
    """Write images (H, W, 3) uint8 RGB of one size. Raises DepthRosError if OpenCV cannot."""
    height, width = (side // 2 * 2 for side in images[0].shape[:2])  # most players want even sides
    out.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*CODECS[out.suffix]), rate, (width, height))
    if not writer.isOpened():
        raise DepthRosError(
            f"{out} cannot be written: OpenCV has no {CODECS[out.suffix]}; try another ending"
        )
    for image in images:
        writer.write(cv2.cvtColor(np.ascontiguousarray(image[:height, :width]), cv2.COLOR_RGB2BGR))
    writer.release()
