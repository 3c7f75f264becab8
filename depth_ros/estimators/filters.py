"""Filters of depth as functions of values: nodes, replay and evaluation apply the same ones."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from depth_ros.config import setting
from depth_ros.datatypes import Depth
from depth_ros.errors import DepthRosError

RELATIVE_TOLERANCE = 0.1
"""Error of depth from one camera, as a fraction of it, of which `depth/confidence` is the probability."""
DISPARITY_TOLERANCE = 1.0
"""px; the same for depth from stereo, as error of the disparity."""
MIN_DISPARITY_STEP = 1.0
"""px of disparity to the surfaces on both sides, from which a pixel of stereo depth may fly: less is noise."""


@dataclass(frozen=True)
class FilterSettings:
    """Which pixels and points are kept."""

    min_confidence: float = setting(
        0.0,
        "Minimum confidence (see `depth/confidence`); less certain pixels are invalid. Needs a model with standard "
        "deviations.",
        "", 0.0, 1.0, dynamic=True,
    )  # fmt: skip
    flying_pixels: float = setting(
        0.15,
        "Minimum step of inverse depth to the surfaces on both sides, as a fraction, from which a pixel at an edge is "
        "removed as a flying pixel. 0 keeps them.",
        "", 0.0, 1.0, dynamic=True,
    )  # fmt: skip
    min_depth: float = setting(
        0.0, "Minimum depth; nearer pixels are invalid.", "m", 0.0, 10000.0, dynamic=True
    )  # fmt: skip
    max_depth: float = setting(
        1000.0, "Maximum depth; farther pixels are published as NaN (0 in 16UC1).", "m", 0.1, 10000.0, dynamic=True
    )  # fmt: skip
    image_border: float = setting(
        0.0, "Width of the border that is invalid on all sides, as a fraction of the image's width.", "", 0.0, 0.4,
        dynamic=True,
    )  # fmt: skip
    body_mask: str = setting(
        "",
        "Pixels that show the robot itself and are invalid: path of an image of the rectified view that is not black "
        "there, or polygons 'x,y x,y x,y; ...' in fractions of the image's width and height.",
        dynamic=True,
    )
    base_frame: str = setting(
        "",
        "Frame of the height band and the region, located by TF: x forward, z up. Required by these and by `scan` "
        "unless `scan_frame` is set.",
        dynamic=True,
    )
    min_height: float = setting(
        -1000.0, "Minimum z in base_frame of the points of `points_filtered` and `scan`.", "m", -1000.0, 1000.0,
        dynamic=True,
    )  # fmt: skip
    max_height: float = setting(
        1000.0, "Maximum z in base_frame of the points of `points_filtered` and `scan`.", "m", -1000.0, 1000.0,
        dynamic=True,
    )  # fmt: skip
    region: str = setting(
        "",
        "Rectangle 'x_min x_max y_min y_max' (m) in base_frame outside of which `points_filtered` and `scan` have no "
        "points. Empty for none.",
        dynamic=True,
    )

    @property
    def needs_base_frame(self) -> bool:
        """Whether points are selected by their position in `base_frame`."""
        default = FilterSettings
        heights = (self.min_height, self.max_height) != (default.min_height, default.max_height)
        return heights or bool(self.region)


def confidence(std: np.ndarray, tolerance: np.ndarray | float = 1.0) -> np.ndarray:
    """Probability of an error below the tolerance, for standard deviations that cover 68 % of the errors.

    Assumes Laplacian errors: 1 - 0.32 ** (tolerance / std).
    """
    return 1 - np.exp(np.float32(math.log(0.32)) * tolerance / std)


def confidence_image(depth: Depth) -> np.ndarray | None:
    """(H, W) float32 probability of an error of the disparity below 1 px (stereo), or of the depth below 10 %.

    0 where the depth is invalid. None if the depth has no standard deviation.
    """
    if depth.std is None:
        return None
    z = depth.depth
    if depth.baseline:
        tolerance = z * z * np.float32(DISPARITY_TOLERANCE / (depth.camera.fx * depth.baseline))
    else:
        tolerance = z * np.float32(RELATIVE_TOLERANCE)
    with np.errstate(divide="ignore"):
        found = confidence(depth.std, tolerance)
    np.copyto(found, 0, where=~np.isfinite(found))
    return found


def flying_pixel_mask(inverse_depth: np.ndarray, relative_step: float, min_step: float = 0.0) -> np.ndarray:
    """(H, W) bool: edge pixels between two surfaces. In a point cloud they would float in the air.

    They are more than a step in front of the farthest and behind the nearest valid pixel of their 5x5 neighbourhood.
    inverse_depth: (H, W) in 1/m or px of disparity. relative_step: fraction of it; min_step: in its unit.
    """
    q, window = np.asarray(inverse_depth, np.float32), np.ones((5, 5), np.uint8)
    invalid = ~np.isfinite(q)
    near, far = q.copy(), q.copy()
    np.copyto(near, -np.inf, where=invalid)
    np.copyto(far, np.inf, where=invalid)
    low, high = cv2.erode(far, window), cv2.dilate(near, window)
    # In place: large temporary arrays cost more than the arithmetic.
    lower = np.multiply(q, np.float32(1 - relative_step), out=far)
    upper = np.multiply(q, np.float32(1 + relative_step), out=near)
    if min_step:
        np.minimum(lower, q - np.float32(min_step), out=lower)
        np.maximum(upper, q + np.float32(min_step), out=upper)
    flying = low < lower  # False where q is NaN
    flying &= high > upper
    return flying


def kept_pixels(depth: Depth, settings: FilterSettings) -> np.ndarray:
    """(H, W) bool: pixels that pass confidence, flying pixels, range, border and body mask.

    Raises DepthRosError if `body_mask` is neither an image nor polygons.
    """
    z = depth.depth
    keep = (z >= settings.min_depth) & (z <= settings.max_depth)
    if settings.min_confidence and depth.std is not None:
        certainty = confidence_image(depth)
        assert certainty is not None
        keep &= certainty >= settings.min_confidence
    if settings.flying_pixels:
        keep &= ~_flying(depth, settings.flying_pixels)
    return keep & visible_pixels(z.shape[0], z.shape[1], settings)


def _flying(depth: Depth, relative_step: float) -> np.ndarray:
    """`flying_pixel_mask` of a depth image."""
    with np.errstate(divide="ignore"):
        inverse = np.reciprocal(depth.depth)
    min_step = MIN_DISPARITY_STEP / (depth.camera.fx * depth.baseline) if depth.baseline else 0.0
    return flying_pixel_mask(inverse, relative_step, min_step)


def visible_pixels(height: int, width: int, settings: FilterSettings) -> np.ndarray:
    """(height, width) bool: pixels within the border that do not show the robot; read-only."""
    return _visible_pixels(height, width, settings.image_border, settings.body_mask)


@functools.lru_cache(maxsize=16)
def _visible_pixels(height: int, width: int, border: float, body_mask: str) -> np.ndarray:
    margin = round(border * width)
    visible = np.zeros((height, width), np.uint8)
    visible[margin : height - margin, margin : width - margin] = 1
    if body_mask:
        visible[_body_pixels(height, width, body_mask) > 0] = 0
    found = visible > 0
    found.flags.writeable = False
    return found


def _body_pixels(height: int, width: int, body_mask: str) -> np.ndarray:
    """(height, width) uint8, not zero where the robot is."""
    if Path(body_mask).is_file():
        image = cv2.imread(body_mask, cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise DepthRosError(f"body_mask '{body_mask}' is not an image that OpenCV reads: use PNG")
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    pixels = np.zeros((height, width), np.uint8)
    for polygon in _polygons(body_mask):
        corners = polygon * [width, height] - 0.5
        cv2.fillPoly(pixels, [np.rint(corners).astype(np.int32)], 1)
    return pixels


def _polygons(text: str) -> Iterator[np.ndarray]:
    """Corners (N, 2) of the polygons in a text."""
    for part in text.split(";"):
        try:
            corners = np.array([[float(value) for value in pair.split(",")] for pair in part.split()])
        except ValueError:
            corners = np.empty(0)
        if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not (abs(corners) <= 2).all():
            raise DepthRosError(
                f"body_mask '{text}' is neither a file nor polygons: write the path of an image, or at least three "
                "corners 'x,y x,y x,y' in fractions of the image, e.g. '0,0.9 1,0.9 1,1 0,1'"
            )
        yield corners


def filtered(depth: Depth, settings: FilterSettings) -> Depth:
    """The depth with NaN where it does not pass the filters of pixels, see `kept_pixels`."""
    kept = depth.depth.copy()
    np.copyto(kept, np.nan, where=~kept_pixels(depth, settings))
    return replace(depth, depth=kept)


def points_in_region(points: np.ndarray, T_base_camera: np.ndarray, settings: FilterSettings) -> np.ndarray:
    """(N,) bool: points (N, 3) m of the camera within the height band and the region of `base_frame`.

    Raises DepthRosError if `region` is not a rectangle.
    """
    R, t = T_base_camera[:3, :3].astype(np.float32), T_base_camera[:3, 3].astype(np.float32)
    height = points @ R[2] + t[2]
    inside = (height >= settings.min_height) & (height <= settings.max_height)
    if settings.region:
        bounds = rectangle(settings.region)
        for axis in (0, 1):
            values = points @ R[axis] + t[axis]
            inside &= (values >= bounds[2 * axis]) & (values <= bounds[2 * axis + 1])
    return inside


def rectangle(text: str) -> tuple[float, ...]:
    """x_min, x_max, y_min, y_max of the setting `region`. Raises DepthRosError if it has another form."""
    try:
        bounds = tuple(float(value) for value in text.split())
    except ValueError:
        bounds = ()
    if len(bounds) != 4 or not (bounds[0] < bounds[1] and bounds[2] < bounds[3]):
        raise DepthRosError(
            f"region '{text}' is not a rectangle: write 'x_min x_max y_min y_max' in metres, e.g. '0 5 -2 2'"
        )
    return bounds


def no_depth_reason(depth: np.ndarray, settings: FilterSettings) -> str:
    """Why no pixel of a depth image is left. depth: (H, W) m, before the filters."""
    valid = depth[np.isfinite(depth)]
    if not valid.size:
        return "no pixel has a valid depth: is the camera covered, or do left and right image not match?"
    if valid.min() > settings.max_depth:
        return (
            f"all depth is beyond max_depth ({settings.max_depth:g} m), the median at {np.median(valid):.4g} m: check "
            "focal length and baseline in camera_info, or raise max_depth"
        )
    return (
        "the filters remove every pixel: lower min_confidence or min_depth, raise flying_pixels or max_depth, or check "
        "image_border and body_mask"
    )
