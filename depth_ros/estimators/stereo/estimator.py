"""Disparity, and with it metric depth, of a stereo pair: by a network or by semi-global matching."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from depth_ros.card import Card, find_card, load_model, model_traits
from depth_ros.config import setting
from depth_ros.datatypes import Camera, Disparity, StereoFrame
from depth_ros.engine import Engine, EngineProvider, EngineSettings, EngineStatus, ModelEngines, open_engine
from depth_ros.engine.image_path import DeviceImage, ImagePath, OpenCvPath
from depth_ros.errors import DepthRosError
from depth_ros.estimators.stereo.semi_global import (
    DISPARITY_STD,
    DISPARITY_STEP,
    SEMI_GLOBAL,
    SGBM_MODES,
    SemiGlobalMatcher,
)

DEFAULT_DISPARITY_RANGE = 192
"""px; the disparity range of semi-global matching where none is set."""


Match = tuple[np.ndarray, np.ndarray | None, np.ndarray]


@dataclass(frozen=True)
class StereoSettings:
    """How pairs are matched."""

    disparity_range: int = setting(
        0,
        "Number of disparities searched, a multiple of 32; increase it for near objects. 0 uses the model's own.",
        "px of the matched image", 0, 512,
    )  # fmt: skip
    scale: float = setting(
        1.0,
        "Scale at which images are matched: below 1 is faster, above 1 resolves finer edges of small images.",
        "", 0.1, 2.0,
    )  # fmt: skip
    mode: str = setting("3way", "Path directions of semi-global matching.", choices=tuple(SGBM_MODES))
    fill: bool = setting(False, "Fill invalid pixels of semi-global matching from the background.")


class _Matcher(Protocol):
    """Disparity and its standard deviation, if it is known, (height, width) float32 px, of a pair matched at width x
    height px, and the rectified left image at the size of the camera. disparity_range, step: see `StereoEstimator`."""

    disparity_range: int
    step: float

    @property
    def status(self) -> EngineStatus: ...

    def match(self, pair: StereoFrame, width: int, height: int) -> Match: ...


class StereoEstimator:
    """StereoFrame -> Disparity with one model, or `semi_global`, at the size of the images.

    provider: as in DepthEstimator. Raises DepthRosError if the model is unknown, damaged or not a stereo model.
    """

    def __init__(
        self,
        model: str,
        settings: EngineSettings = EngineSettings(),  # noqa: B008
        stereo: StereoSettings = StereoSettings(),
        provider: EngineProvider = open_engine,
    ) -> None:
        if stereo.disparity_range % 32:
            raise DepthRosError(
                f"'disparity_range' is {stereo.disparity_range} px; it must be a multiple of 32"
            )
        self.model, self.stereo = model, stereo
        self.card: Card | None = None
        self._matcher: _Matcher
        if model == SEMI_GLOBAL:
            self._matcher = _SemiGlobal(stereo)
        else:
            self.card = stereo_card(model, stereo.disparity_range)
            self._matcher = _Network(self.card, settings, provider)

    @property
    def disparity_range(self) -> int:
        """px of the matched image; disparities are smaller. 0 = they are limited by the width of the image only."""
        return self._matcher.disparity_range

    @property
    def step(self) -> float:
        """px; the resolution of the disparity."""
        return self._matcher.step

    @property
    def engine_status(self) -> EngineStatus:
        """The engine, or the mode of semi-global matching, that served the last pair, and what is being built."""
        return self._matcher.status

    def estimate(self, frame: StereoFrame) -> Disparity:
        """Disparity of the rectified left image, at its size; `StereoSettings` may scale what is matched."""
        camera = frame.left.camera.rectified()
        width, height = camera.width, camera.height
        size = (round(width * self.stereo.scale), round(height * self.stereo.scale))
        disparity, std, image = self._matcher.match(frame, *size)
        if size != (width, height):
            disparity = resized_disparity(disparity, width, height)
            std = None if std is None else resized_disparity(std, width, height)
        return Disparity(
            frame.left.stamp, frame.left.frame_id, disparity, camera, image, frame.baseline,
            camera.cx - frame.right.camera.rectified().cx, std,
        )  # fmt: skip

    def prepare(self, width: int, height: int) -> None:
        """Open the engine for images of width x height px, if a network is used."""
        if isinstance(self._matcher, _Network):
            self._matcher.engine(width, height)


class _SemiGlobal:
    """Semi-global matching; its standard deviation is a constant."""

    step = DISPARITY_STEP

    def __init__(self, stereo: StereoSettings) -> None:
        self.disparity_range = stereo.disparity_range or DEFAULT_DISPARITY_RANGE
        self._matcher = SemiGlobalMatcher(self.disparity_range, stereo.mode, stereo.fill)

    @property
    def status(self) -> EngineStatus:
        name = f"OpenCV semi-global matching, {self._matcher.mode}, {self.disparity_range} px"
        return EngineStatus(name, f"model is '{SEMI_GLOBAL}'")

    def match(self, pair: StereoFrame, width: int, height: int) -> Match:
        path, camera = OpenCvPath(), pair.left.camera
        left, right = (path.rectified(frame) for frame in (pair.left, pair.right))
        disparity = self._matcher(*(_resized(path, each, camera, width, height) for each in (left, right)))
        return disparity, np.full_like(disparity, DISPARITY_STD), left


class _Network:
    """A stereo network; images are padded to the next size that it takes."""

    step = 1 / 64

    def __init__(self, card: Card, settings: EngineSettings, provider: EngineProvider) -> None:
        load_model(card)  # a damaged model fails here, not at the first image
        self.disparity_range = int(card.settings.get("disparity_range", 0))
        self._engines = ModelEngines(card, settings, provider)
        self._multiple = model_traits(card).size_multiple

    @property
    def status(self) -> EngineStatus:
        return self._engines.status

    def engine(self, width: int, height: int) -> Engine:
        """The engine for images of width x height px."""
        return self._engines.of_size(width + -width % self._multiple, height + -height % self._multiple)

    def match(self, pair: StereoFrame, width: int, height: int) -> Match:
        engine, camera = self.engine(width, height), pair.left.camera
        path = engine.path
        left, right = (path.rectified(frame) for frame in (pair.left, pair.right))
        matched = (_resized(path, image, camera, width, height) for image in (left, right))
        padded = (path.padded(image, engine.width, engine.height) for image in matched)
        *results, left_image = engine.results(*padded, images=[left])
        disparity, *stds = (result[:height, :width] for result in results)
        return disparity, stds[0] if stds else None, left_image


def _resized(
    path: ImagePath[DeviceImage], image: DeviceImage, camera: Camera, width: int, height: int
) -> DeviceImage:
    """An image of `camera` at width x height px."""
    if (camera.width, camera.height) == (width, height):
        return image
    return path.resized(image, width, height, enlarging=cv2.INTER_CUBIC)


def resized_disparity(disparity: np.ndarray, width: int, height: int) -> np.ndarray:
    """A disparity (h, w) px at width x height, in px of that size."""
    gain = np.float32(width / disparity.shape[1])
    return gain * cv2.resize(disparity, (width, height), interpolation=cv2.INTER_LINEAR)


def is_stereo(model: str) -> bool:
    """Whether a model, given by name or path, takes pairs. Raises DepthRosError if there is no such model."""
    return model == SEMI_GLOBAL or find_card(model).task == "stereo_depth"


def stereo_card(model: str, disparity_range: int = 0) -> Card:
    """The card of a stereo model, with another disparity range if one is given."""
    card = find_card(model)
    if card.task != "stereo_depth":
        raise DepthRosError(
            f"model '{model}' is for task '{card.task}'; a 'stereo_depth' model or '{SEMI_GLOBAL}' is needed"
        )
    if not disparity_range:
        return card
    if "disparity_range" not in card.settings:
        raise DepthRosError(
            f"model '{model}' of family '{card.family}' has no disparity range to set: leave 'disparity_range' at 0"
        )
    return dataclasses.replace(card, settings={**card.settings, "disparity_range": disparity_range})
