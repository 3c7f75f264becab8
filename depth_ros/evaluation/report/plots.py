"""Colour images (H, W, 3) uint8 RGB of depth, disparity, errors and planes, and their encoding for HTML."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from depth_ros.plane_fitting import mask_contours, plane_colour

INVALID_COLOUR = (226, 226, 222)
"""Colour of invalid pixels."""
MAX_RELATIVE_ERROR = 0.5
"""Relative error at the end of its colour scale."""


def depth_range(depths: list[np.ndarray]) -> tuple[float, float]:
    """(near, far) m of a colour scale: the 2nd and 98th percentile of the valid pixels."""
    valid = np.concatenate([depth[np.isfinite(depth) & (depth > 0)].ravel()[::7] for depth in depths])
    if not len(valid):
        return 1.0, 10.0
    near, far = np.percentile(valid, [2, 98])
    return float(near), float(max(far, 1.05 * near))


def depth_image(depth: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """Colours of depth (H, W) m, near bright and far dark, on a logarithmic scale."""
    near, far = span
    with np.errstate(invalid="ignore", divide="ignore"):
        value = 1 - np.log(depth / near) / np.log(far / near)
    return _apply_colormap(value, cv2.COLORMAP_INFERNO)


def disparity_image(disparity: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """Colours of disparity (H, W) px on the same scale, from the smallest to the largest value of `span`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.log(disparity / span[0]) / np.log(span[1] / span[0])
    return _apply_colormap(
        np.where(np.isfinite(disparity), np.nan_to_num(value, neginf=0.0), np.nan), cv2.COLORMAP_INFERNO
    )


def error_image(depth: np.ndarray, ground_truth: np.ndarray) -> np.ndarray:
    """Colours of the relative error |d - g| / g, white = 0, dark red = `MAX_RELATIVE_ERROR` or more."""
    return error_colours(np.abs(depth - ground_truth) / ground_truth / MAX_RELATIVE_ERROR)


def error_colours(value: np.ndarray) -> np.ndarray:
    """Colours (..., 3) of values 0 to 1 of the error scale."""
    stops = np.array([[250, 249, 245], [253, 212, 120], [226, 74, 51], [103, 0, 31]], float)
    position = np.clip(np.nan_to_num(value), 0, 1) * (len(stops) - 1)
    low = np.minimum(position.astype(int), len(stops) - 2)
    weight = (position - low)[..., None]
    colours = (stops[low] * (1 - weight) + stops[low + 1] * weight).astype(np.uint8)
    colours[~np.isfinite(value)] = INVALID_COLOUR
    return colours


def _apply_colormap(value: np.ndarray, colormap: int) -> np.ndarray:
    levels = (np.clip(np.nan_to_num(value), 0, 1) * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, colormap), cv2.COLOR_BGR2RGB)
    colours[~np.isfinite(value)] = INVALID_COLOUR
    return colours


def plane_image(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Overlay of plane labels (h, w), -1 = none, on an image (H, W, 3): tinted and outlined in `plane_colour`."""
    height, width = image.shape[:2]
    labels = cv2.resize(labels.astype(np.int32), (width, height), interpolation=cv2.INTER_NEAREST)
    colours = np.array([plane_colour(k) for k in range(labels.max() + 1)] + [(128, 128, 128)], np.float32)
    tinted = 0.65 * image + 0.35 * colours[labels]
    overlay = np.where((labels >= 0)[..., None], tinted, 0.8 * image).astype(np.uint8)
    for k in range(labels.max() + 1):
        borders = mask_contours(labels == k, min_area=0.001)
        colour = plane_colour(k)
        cv2.polylines(overlay, borders, True, colour, max(2, width // 200), cv2.LINE_AA)
    return overlay


def reduce_depth(depth: np.ndarray, width: int) -> np.ndarray:
    """Depth (H, W) reduced to at most `width` px: each pixel is the mean inverse depth of the valid pixels it covers.

    Sparse ground truth stays visible, where plain resizing would thin it out.
    """
    if depth.shape[1] <= width:
        return depth
    size = (width, max(1, round(depth.shape[0] * width / depth.shape[1])))
    valid = np.isfinite(depth) & (depth > 0)
    inverse = np.divide(1.0, depth, out=np.zeros(depth.shape, np.float32), where=valid)
    weight = cv2.resize(valid.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(inverse.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.divide(weight, total, out=np.full(total.shape, np.nan, np.float32), where=total > 0)


def data_url(image: np.ndarray, kind: str = "jpeg") -> str:
    """Data URL of an image, for self-contained reports. kind: jpeg for photographs, png for colour scales."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 86] if kind == "jpeg" else []
    _, data = cv2.imencode("." + kind, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return f"data:image/{kind};base64," + base64.b64encode(data.tobytes()).decode()
