"""Disparity, and by it metric depth, from a pair: a network or semi-global matching, under one face."""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
from dataclasses import dataclass

import cv2
import numpy as np

from depth_ros.card import Card, find_card, load_model, size_multiple
from depth_ros.config import setting
from depth_ros.datatypes import Disparity, Frame, StereoFrame
from depth_ros.engine import Engine, EngineSettings, open_engine
from depth_ros.errors import DepthRosError
from depth_ros.estimators.stereo.semi_global import MODES, SEMI_GLOBAL, STD, STEP, SemiGlobal
from depth_ros.geometry import rectify

log = logging.getLogger("depth_ros.estimators")

RANGE = 192
"""px; the range of semi-global matching where none is given."""
FLYING = 2.0
"""px; pixels so far from the surfaces on either side of them belong to neither, see `between_surfaces`."""
ROWS = 0.02
"""Of the height: the eyes of a rectified pair have the same focal length and row of the centre, up to this."""


@dataclass(frozen=True)
class StereoSettings:
    """How pairs are matched."""

    disparity_range: int = setting(
        0, "largest disparity + 1, a multiple of 32; 0 = the model's own", "px of the matched image", 0, 512
    )
    scale: float = setting(
        1.0,
        "images are matched at so many times their size: below 1 faster, above 1 small images show finer edges",
        "", 0.1, 2.0,
    )  # fmt: skip
    mode: str = setting("3way", "paths of semi-global matching", choices=tuple(MODES))
    fill: bool = setting(False, "semi-global matching fills what it does not know with what is behind")


def rectified_pair(left: Frame, right: Frame) -> StereoFrame:
    """Both images rectified. Raises DepthRosError where they, or their cameras, make no pair."""
    if left.image.shape != right.image.shape:
        sizes = [f"{frame.image.shape[1]}x{frame.image.shape[0]}" for frame in (left, right)]
        raise DepthRosError(
            f"the eyes have unequal sizes, {sizes[0]} left and {sizes[1]} right: set both alike"
        )
    cameras = [frame.camera.rectified() for frame in (left, right)]
    baseline = cameras[1].baseline - cameras[0].baseline
    if baseline == 0:
        raise DepthRosError(
            "P[3] of the right camera_info is 0, so there is no baseline: it must be -fx * baseline, as "
            "camera_calibration writes it for a stereo pair"
        )
    if baseline < 0:
        raise DepthRosError(
            f"the baseline is {baseline:.3f} m (P[3] of the camera_infos): the right camera is on the left, "
            "the eyes are swapped"
        )
    rows = [abs(cameras[0].fy - cameras[1].fy), abs(cameras[0].cy - cameras[1].cy)]
    if max(rows) > ROWS * cameras[0].height or abs(cameras[0].fx / cameras[1].fx - 1) > ROWS:
        raise DepthRosError(
            f"P of the eyes differs: fx {cameras[0].fx:.1f} and {cameras[1].fx:.1f}, fy {cameras[0].fy:.1f} and "
            f"{cameras[1].fy:.1f}, cy {cameras[0].cy:.1f} and {cameras[1].cy:.1f}; calibrate them as a pair"
        )
    frames = []
    for frame in (left, right):
        image, camera = rectify(frame.image, frame.camera)
        frames.append(dataclasses.replace(frame, image=image, camera=camera))
    return StereoFrame(frames[0], frames[1], baseline)


def confidence(std: np.ndarray) -> np.ndarray:
    """Probability that the error is below 1 px, of a standard deviation that holds 68 % of the errors.

    Errors fall off exponentially, as Laplace's: 1 - 0.32 ** (1 / std).
    """
    return 1 - np.exp(np.float32(math.log(0.32)) / std)


def between_surfaces(disparity: np.ndarray, step: float) -> np.ndarray:
    """(H, W) bool: pixels at an edge that float between the surfaces, `step` px nearer than what is farthest
    and `step` px farther than what is nearest among the 5x5 around them. They would fly in a cloud."""
    window = np.ones((5, 5), np.uint8)
    known = np.isfinite(disparity)
    low = cv2.erode(np.where(known, disparity, np.inf).astype(np.float32), window)
    high = cv2.dilate(np.where(known, disparity, -np.inf).astype(np.float32), window)
    return known & (disparity - low > step) & (high - disparity > step)


def enlarged(disparity: np.ndarray, width: int, height: int) -> np.ndarray:
    """A disparity (h, w) px at width x height, in px of that size."""
    gain = np.float32(width / disparity.shape[1])
    return gain * cv2.resize(disparity, (width, height), interpolation=cv2.INTER_LINEAR)


class StereoEstimator:
    """StereoFrame -> Disparity with one model, or `semi_global`, at the size of the images.

    background: a size without an engine is served by eager PyTorch while a thread builds one.
    Raises DepthRosError if the model is unknown, damaged or no stereo model.
    """

    def __init__(
        self,
        model: str,
        settings: EngineSettings = EngineSettings(),  # noqa: B008
        stereo: StereoSettings = StereoSettings(),
        background: bool = False,
    ) -> None:
        if stereo.disparity_range % 32:
            raise DepthRosError(
                f"'disparity_range' is {stereo.disparity_range} px; it must be a multiple of 32"
            )
        self.model, self.stereo = model, stereo
        self._settings, self._background = settings, background
        self._engines: dict[tuple[int, int], Engine] = {}
        self._engine: Engine | None = None
        self._building = 0
        self.card: Card | None = None
        self._classical: SemiGlobal | None = None
        if model == SEMI_GLOBAL:
            self.disparity_range = stereo.disparity_range or RANGE
            self._classical = SemiGlobal(self.disparity_range, stereo.mode, stereo.fill)
            return
        self.card = stereo_card(model, stereo.disparity_range)
        self.disparity_range = int(self.card.settings["disparity_range"])
        load_model(self.card)  # a damaged model fails here, not at the first image
        self._multiple = size_multiple(self.card)

    @property
    def building(self) -> bool:
        """Whether a thread is at work on an engine that will take over."""
        return self._building > 0

    @property
    def step(self) -> float:
        """px: about the smallest difference of disparities that means something."""
        return STEP if self._classical else 1 / 64

    @property
    def engine_name(self) -> str:
        """What served the last pair: backend, precision and size, or the mode of semi-global matching."""
        if self._classical:
            return f"OpenCV semi-global matching, {self._classical.mode}, {self.disparity_range} px"
        return self._engine.name if self._engine else "no engine yet"

    @property
    def reason(self) -> str:
        """Why it is that engine."""
        if self._classical:
            return f"model is '{SEMI_GLOBAL}'"
        return self._engine.reason if self._engine else "no image has come yet"

    def estimate(self, frame: StereoFrame) -> Disparity:
        """Disparity of the left image, at its size; images may be matched at another, see `StereoSettings`."""
        left, right = frame.left.image, frame.right.image
        height, width = left.shape[:2]
        size = (round(width * self.stereo.scale), round(height * self.stereo.scale))
        if size != (width, height):
            method = cv2.INTER_AREA if self.stereo.scale < 1 else cv2.INTER_CUBIC
            left, right = (cv2.resize(x, size, interpolation=method) for x in (left, right))
        disparity, std = self._match(left, right)
        if size != (width, height):
            disparity = enlarged(disparity, width, height)
            std = None if std is None else enlarged(std, width, height)
        camera = frame.left.camera
        return Disparity(
            frame.left.stamp, frame.left.frame_id, disparity, camera, frame.left.image, frame.baseline,
            camera.cx - frame.right.camera.cx, std,
        )  # fmt: skip

    def _match(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Disparity and standard deviation (H, W) px of two images of the same size."""
        if self._classical:
            disparity = self._classical(left, right)
            return disparity, np.full_like(disparity, STD)
        height, width = left.shape[:2]
        engine = self.prepare(width, height)
        below, beside = engine.height - height, engine.width - width
        border = cv2.BORDER_REPLICATE
        pair = (cv2.copyMakeBorder(x, 0, below, 0, beside, border) for x in (left, right))
        disparity, std = (x[:height, :width] for x in engine.results(*pair))
        return disparity, std

    def prepare(self, width: int, height: int) -> Engine:
        """The engine for images of width x height px, which are padded to multiples that it can take."""
        if (width, height) not in self._engines:
            self._engines[width, height] = self._open(width, height)
        self._engine = self._engines[width, height]
        return self._engine

    def _open(self, width: int, height: int) -> Engine:
        assert self.card
        size = (width + -width % self._multiple, height + -height % self._multiple)
        if not self._background or self._settings.backend == "eager":
            return open_engine(self.card, *size, self._settings)
        self._building += 1
        build = threading.Thread(target=self._build, args=(self.card, (width, height), size), daemon=True)
        build.start()
        eager = EngineSettings(backend="eager", precision="float32", device=self._settings.device)
        return open_engine(self.card, *size, eager)

    def _build(self, card: Card, key: tuple[int, int], size: tuple[int, int]) -> None:
        try:
            self._engines[key] = open_engine(card, *size, self._settings)
        except DepthRosError as error:
            log.error("stays on eager PyTorch: %s", error)
        finally:
            self._building -= 1


def is_stereo(model: str) -> bool:
    """Whether a model, given by name or path, takes pairs. Raises DepthRosError if there is no such model."""
    return model == SEMI_GLOBAL or find_card(model).task == "stereo_depth"


def stereo_card(model: str, disparity_range: int = 0) -> Card:
    """The card of a stereo model, with another disparity range if one is given."""
    card = find_card(model)
    if card.task != "stereo_depth":
        raise DepthRosError(
            f"model '{model}' does '{card.task}'; a 'stereo_depth' model or '{SEMI_GLOBAL}' is needed"
        )
    if not disparity_range:
        return card
    return dataclasses.replace(card, settings={**card.settings, "disparity_range": disparity_range})
