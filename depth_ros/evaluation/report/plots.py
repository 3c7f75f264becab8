"""Depth and its error as pictures (H, W, 3) uint8 RGB, and pictures as text."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from depth_ros.plane_fitting import contours, plane_colour

UNKNOWN = (226, 226, 222)
"""Colour of pixels without a value."""
LARGEST_ERROR = 0.5
"""Relative error at the end of its colour scale."""


def depth_range(depths: list[np.ndarray]) -> tuple[float, float]:
    """m, the range that a colour scale should span: all but the outermost 2 % of the known pixels."""
    known = np.concatenate([depth[np.isfinite(depth) & (depth > 0)].ravel()[::7] for depth in depths])
    if not len(known):
        return 1.0, 10.0
    near, far = np.percentile(known, [2, 98])
    return float(near), float(max(far, 1.05 * near))


def depth_picture(depth: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """Depth (H, W) m in colours, near warm and far dark; equal steps of colour are equal ratios of depth."""
    near, far = span
    with np.errstate(invalid="ignore", divide="ignore"):
        value = 1 - np.log(depth / near) / np.log(far / near)
    return _coloured(value, cv2.COLORMAP_INFERNO)


def disparity_picture(disparity: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """Disparity (H, W) px in the same colours, from the smallest to the largest of `span`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.log(disparity / span[0]) / np.log(span[1] / span[0])
    return _coloured(
        np.where(np.isfinite(disparity), np.nan_to_num(value, neginf=0.0), np.nan), cv2.COLORMAP_INFERNO
    )


def error_picture(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Relative error |d - g| / g, white = 0, dark red = `LARGEST_ERROR` or more."""
    return error_colours(np.abs(depth - truth) / truth / LARGEST_ERROR)


def error_colours(value: np.ndarray) -> np.ndarray:
    """Colours (..., 3) of shares 0 to 1 of the error scale."""
    stops = np.array([[250, 249, 245], [253, 212, 120], [226, 74, 51], [103, 0, 31]], float)
    place = np.clip(np.nan_to_num(value), 0, 1) * (len(stops) - 1)
    low = np.minimum(place.astype(int), len(stops) - 2)
    share = (place - low)[..., None]
    colours = (stops[low] * (1 - share) + stops[low + 1] * share).astype(np.uint8)
    colours[~np.isfinite(value)] = UNKNOWN
    return colours


def _coloured(value: np.ndarray, colormap: int) -> np.ndarray:
    levels = (np.clip(np.nan_to_num(value), 0, 1) * 255).astype(np.uint8)
    picture = cv2.cvtColor(cv2.applyColorMap(levels, colormap), cv2.COLOR_BGR2RGB)
    picture[~np.isfinite(value)] = UNKNOWN
    return picture


def plane_picture(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The image (H, W, 3) with planes (h, w), -1 = none, tinted and outlined, each in its `plane_colour`."""
    height, width = image.shape[:2]
    labels = cv2.resize(labels.astype(np.int32), (width, height), interpolation=cv2.INTER_NEAREST)
    colours = np.array([plane_colour(k) for k in range(labels.max() + 1)] + [(128, 128, 128)], np.float32)
    tinted = 0.65 * image + 0.35 * colours[labels]
    picture = np.where((labels >= 0)[..., None], tinted, 0.8 * image).astype(np.uint8)
    for k in range(labels.max() + 1):
        borders = contours(labels == k, smallest=0.001)
        colour = plane_colour(k)
        cv2.polylines(picture, borders, True, colour, max(2, width // 200), cv2.LINE_AA)
    return picture


def shrunk(depth: np.ndarray, width: int) -> np.ndarray:
    """Depth (H, W) at most `width` px wide: each pixel the mean inverse depth of those known in its place.

    Sparse truth stays visible, where plain resizing would thin it out.
    """
    if depth.shape[1] <= width:
        return depth
    size = (width, max(1, round(depth.shape[0] * width / depth.shape[1])))
    known = np.isfinite(depth) & (depth > 0)
    inverse = np.divide(1.0, depth, out=np.zeros(depth.shape, np.float32), where=known)
    weight = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(inverse.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.divide(weight, total, out=np.full(total.shape, np.nan, np.float32), where=total > 0)


def encoded(picture: np.ndarray, kind: str = "jpeg") -> str:
    """A data URL of a picture, for pages that stand alone. kind: jpeg for photographs, png for scales."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 86] if kind == "jpeg" else []
    _, data = cv2.imencode("." + kind, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    return f"data:image/{kind};base64," + base64.b64encode(data.tobytes()).decode()
