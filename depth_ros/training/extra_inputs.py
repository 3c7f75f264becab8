"""What augmentation does to the inputs that a network takes beside the image."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from depth_ros.parallax import KEYPOINTS
from depth_ros.training.crop import CropSettings, Window

Inputs = Mapping[str, np.ndarray]
"""(H, W) float32 by name, see `Frame.extra_inputs`."""


def rolled_inputs(inputs: Inputs, rotation: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs of an image after a rotation about a point, (2, 3) as OpenCV takes it; 0 outside. Flow is rotated."""
    rolled = {
        name: cv2.warpAffine(values, rotation, values.shape[::-1], flags=cv2.INTER_NEAREST)
        for name, values in inputs.items()
    }
    if "flow_x" in rolled and "flow_y" in rolled:
        x, y = rolled["flow_x"], rolled["flow_y"]
        (xx, xy), (yx, yy) = rotation[:, :2].astype(np.float32)
        rolled["flow_x"], rolled["flow_y"] = xx * x + xy * y, yx * x + yy * y
    return rolled


def cut_inputs(inputs: Inputs, window: Window, crop: CropSettings, mirror: bool) -> np.ndarray:
    """(C, H, W) float32 in the given order: the inputs in a window of the image, resized to the nearest pixel, mirrored
    if the image is."""
    cut = []
    for name, values in inputs.items():
        channel = cv2.resize(values[window.pixels], crop.size, interpolation=cv2.INTER_NEAREST_EXACT)
        cut.append(mirrored_input(name, channel) if mirror else channel)
    return np.stack(cut)


def mirrored_input(name: str, values: np.ndarray) -> np.ndarray:
    """An input of the mirrored image: flow in x changes its sign, and left joints (even numbers) become right ones."""
    values = values[:, ::-1]
    if name == "flow_x":
        return -values
    if name == "keypoints":
        joints = np.rint(values * KEYPOINTS).astype(np.int32)
        return (np.where(joints > 1, joints ^ 1, joints) / KEYPOINTS).astype(np.float32)
    return values
