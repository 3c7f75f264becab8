"""Doubts about depth, from several images: a floor at the wrong height, and large standard deviations."""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from depth_ros.datatypes import Depth
from depth_ros.estimators.odometry.scale import ScaleSettings
from depth_ros.estimators.odometry.scale_sources import ground_plane
from depth_ros.geometry import back_project

INTERVAL = 1.0
"""s between two images that are measured."""
MEASUREMENTS = 10
"""Most recent measurements, of which the median counts."""
MIN_MEASUREMENTS = 5
"""Measurements before a doubt."""
MAX_AGE = 30.0
"""s, after which a measurement is forgotten."""
MIN_FLOOR_RATIO, MAX_FLOOR_RATIO = 0.75, 1.33
"""Depth of the floor, as a fraction of the expected one, beyond which it is doubted: models of one camera are often off
by a fifth in a scene that they know."""
MAX_PITCH_ERROR = 2.0
"""deg, error of the camera's tilt in TF that is no doubt about depth."""
MIN_CAMERA_HEIGHT = 0.05
"""m; the floor is not measured by cameras that are lower."""
MAX_RELATIVE_STD = 0.4
"""Standard deviation as a fraction of the depth, median of the image, above which the model is unsure of it. `mono` and
`mono_driving` predict 0.07 to 0.27 for scenes like those of their training."""
MAX_RISE = 45.0
"""deg, of a part of the floor: that of wrong depth is steep."""
POINTS = 2000
"""Approximate number of points that are measured."""
SETTINGS = ScaleSettings()


@dataclass(frozen=True)
class Floor:
    """What is known of the floor before it is seen. frame: on it. T_frame_camera: (4, 4)."""

    frame: str
    T_frame_camera: np.ndarray

    @property
    def height(self) -> float:
        """m, of the camera."""
        return float(self.T_frame_camera[2, 3])


@dataclass(frozen=True)
class FloorDepth:
    """ratio: depth of the floor as a fraction of the expected one. pitch_error: its change by `MAX_PITCH_ERROR`."""

    ratio: float
    pitch_error: float

    @property
    def is_doubtful(self) -> bool:
        """Whether the ratio is wrong even if the tilt of the camera is."""
        return (
            self.ratio + self.pitch_error < MIN_FLOOR_RATIO or self.ratio - self.pitch_error > MAX_FLOOR_RATIO
        )


def floor_depth(depth: Depth, floor: Floor) -> FloorDepth | None:
    """Depth of the floor in one image, of that half of it that is nearest to the camera; None if none is visible.

    The floor is the `ground_plane`. The distance of this plane to the camera is no measure: where depth is too small,
    the floor is bent, and its plane steep. The height of the camera above its points is one: at every pixel it is as
    wrong as the depth. A plane above the floor, e.g. a table, is not measured if the floor is visible, too.
    """
    if floor.height < MIN_CAMERA_HEIGHT:
        return None
    small, up = _sampled(depth), floor.T_frame_camera[2, :3]
    points = back_project(small.depth, small.camera)
    level = np.where(_is_level(points, up), small.depth, np.float32(np.nan))
    found = ground_plane(replace(small, depth=level), up, SETTINGS)
    if found is None:
        return None
    drops = -(found[1] @ up) / floor.height
    distances = np.sqrt(np.maximum((found[1] ** 2).sum(1) - (drops * floor.height) ** 2, 0))
    near = distances <= np.median(distances)
    ratio = float(np.median(drops[near]))
    if ratio < MIN_FLOOR_RATIO:
        at_floor = -(points @ up) > MIN_FLOOR_RATIO * floor.height
        if at_floor.mean() > SETTINGS.min_ground_fraction:
            return None
    error = math.tan(math.radians(MAX_PITCH_ERROR)) * float(np.median(distances[near])) / floor.height
    return FloorDepth(ratio, error)


def _sampled(depth: Depth) -> Depth:
    """About `POINTS` pixels of a depth image."""
    step = max(1, round(math.sqrt(depth.depth.size / POINTS)))
    z = depth.depth[step // 2 :: step, step // 2 :: step]
    return replace(depth, depth=z, camera=depth.camera.resized(z.shape[1], z.shape[0]), std=None, far=None)


def _is_level(points: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(H, W) bool: points (H, W, 3) on surfaces that rise by less than MAX_RISE from one row to the next. Without this
    test, a level plane could be fitted to the noise of a wall."""
    steps = points[2:] - points[:-2]
    rise, length = np.abs(steps @ up), np.linalg.norm(steps, axis=-1)
    level = np.zeros(points.shape[:2], bool)
    level[1:-1] = rise < math.sin(math.radians(MAX_RISE)) * length  # False for NaN
    return level


def relative_std(depth: Depth) -> float | None:
    """Median of the standard deviation as a fraction of the depth; None without standard deviations."""
    if depth.std is None:
        return None
    ratio = (depth.std / depth.depth)[::4, ::4]
    ratio = ratio[np.isfinite(ratio)]
    return float(np.median(ratio)) if ratio.size else None


class DepthDoubts:
    """Measures an image now and then, and names what looks wrong in most of those of the last seconds.

    Times are in s, of any clock. values: of the last seconds, for diagnostics.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all images, e.g. those of another model."""
        self._floors = deque[tuple[float, FloorDepth]](maxlen=MEASUREMENTS)
        self._stds = deque[tuple[float, float]](maxlen=MEASUREMENTS)
        self._measured = -math.inf
        self._floor: Floor | None = None
        self.values: dict[str, object] = {}

    def is_due(self, time: float) -> bool:
        """Whether an image of this time is to be measured."""
        return not 0 <= time - self._measured < INTERVAL

    def measure(self, time: float, estimated: Depth, kept: Depth, floor: Floor | None) -> None:
        """Measure one image, before and after the filters. floor: None if its place is not known."""
        if floor is None or self._floor is None or floor.frame != self._floor.frame:
            self._floors.clear()
        self._measured, self._floor = time, floor
        found = floor_depth(kept, floor) if floor else None
        if found:
            self._floors.append((time, found))
        if (std := relative_std(estimated)) is not None:
            self._stds.append((time, std))
        for recent in (self._floors, self._stds):
            while recent and not 0 <= time - recent[0][0] <= MAX_AGE:
                recent.popleft()
        self.values = {}
        if self._floors:
            self.values["depth of the floor / expected"] = f"{self._ratio():.2f}"
        elif floor:
            self.values["depth of the floor / expected"] = "unknown: no floor in view"
        if self._stds:
            self.values["standard deviation / depth"] = f"{self._std():.2f}"

    def _ratio(self) -> float:
        return statistics.median(each.ratio for _, each in self._floors)

    def _std(self) -> float:
        return statistics.median(value for _, value in self._stds)

    def texts(self, model: str, is_stereo: bool) -> dict[str, str]:
        """Warnings for users by what they are about: floor, std. model: what to call it, e.g. "model 'mono'"."""
        doubtful = sum(each.is_doubtful for _, each in self._floors)
        found = {}
        if self._floor and len(self._floors) >= MIN_MEASUREMENTS and 2 * doubtful > len(self._floors):
            found["floor"] = self._floor_text(self._floor, model, is_stereo)
        if len(self._stds) >= MIN_MEASUREMENTS and (std := self._std()) > MAX_RELATIVE_STD:
            found["std"] = (
                f"{model} is unsure of these images: the standard deviation is {100 * std:.0f} % of the depth "
                "(median of the pixels): choose a model for such scenes, or set min_confidence"
            )
        return found

    def _floor_text(self, floor: Floor, model: str, is_stereo: bool) -> str:
        ratio = self._ratio()
        error = f"{100 * abs(ratio - 1):.0f} % too {'small' if ratio < 1 else 'large'}"
        geometry = "the baseline" if is_stereo else "the focal length"
        return (
            f"the floor lies at {ratio:.2f} of the camera's height ({floor.height:.2f} m above '{floor.frame}' by TF): "
            f"depth is probably {error} here: {model} does not know such scenes, or {geometry} in camera_info "
            f"or the transform is wrong, or '{floor.frame}' is not on the floor"
        )
