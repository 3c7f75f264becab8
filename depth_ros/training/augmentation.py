"""Augmentation of training images: random crops, rolls, mirroring and colour jitter."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from depth_ros.datatypes import Planes
from depth_ros.training.colours import COLOURS
from depth_ros.training.crop import CropSettings, Window, centre_window, random_window
from depth_ros.training.data.clip import Clip
from depth_ros.training.data.example import Example
from depth_ros.training.extra_inputs import cut_inputs, rolled_inputs


def crop_example(
    example: Example, crop: CropSettings, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], Planes | None]:
    """A random crop of an example, rolled, resized, mirrored and recoloured as `crop` says, and its planes.

    Returns image (H, W, 3) uint8, depth and weight (H, W) float32, intrinsics (3, 3) float32 and, of an example with
    extra inputs, extra (C, H, W) float32 by name.
    """
    if crop.max_roll:
        example = roll_example(example, float(rng.uniform(-crop.max_roll, crop.max_roll)))
    height, width = example.image.shape[:2]
    window = random_window(width, height, crop, rng)
    method = cv2.INTER_AREA if window.width > crop.width else cv2.INTER_LINEAR
    image = cv2.resize(example.image[window.pixels], crop.size, interpolation=method)
    depth, weight = (
        cv2.resize(values[window.pixels], crop.size, interpolation=cv2.INTER_NEAREST_EXACT)
        for values in (example.depth, example.weight)
    )
    K = example.camera.cropped(*window).resized(*crop.size).K.astype(np.float32)
    planes = example.planes
    if planes is not None:
        labels = planes.labels[window.pixels]
        labels = cv2.resize(labels, crop.size, interpolation=cv2.INTER_NEAREST_EXACT)
        planes = replace(planes, labels=labels)
    mirror = crop.mirror and rng.random() < 0.5
    if mirror:
        image, depth, weight = image[:, ::-1], depth[:, ::-1], weight[:, ::-1]
        K[0, 2] = crop.width - 1 - K[0, 2]
        if planes is not None:
            planes = Planes(planes.labels[:, ::-1], planes.equations * [-1, 1, 1, 1])
    image = COLOURS[crop.colours](image, rng)
    item = {"image": image, "depth": depth, "weight": weight, "intrinsics": K}
    if example.extra_inputs:
        item["extra"] = cut_inputs(example.extra_inputs, window, crop, mirror)
    return item, planes


def random_clip_crop(clip: Clip, crop: CropSettings, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The same random window of all frames, resized, mirrored and with the same change of colours.

    Returns images (N, H, W, 3), labels (N, H, W) and their categories (256,), uint8, and intrinsics (3, 3) float32 px
    by name.
    """
    camera = clip[0].camera
    window = random_window(camera.width, camera.height, crop, rng)
    item = _cut_clip(clip, window, crop)
    if crop.mirror and rng.random() < 0.5:
        item["images"], item["labels"] = (item[key][:, :, ::-1] for key in ("images", "labels"))
        item["intrinsics"][0, 2] = crop.width - 1 - item["intrinsics"][0, 2]
    images = item["images"]
    column = images.reshape(-1, *images.shape[2:])  # frames below each other get the same colours
    item["images"] = COLOURS[crop.colours](column, rng).reshape(images.shape)
    return item


def centre_clip_crop(clip: Clip, crop: CropSettings) -> dict[str, np.ndarray]:
    """The widest window in the centre of all frames, resized, with the entries of `random_clip_crop`."""
    camera = clip[0].camera
    return _cut_clip(clip, centre_window(camera.width, camera.height, crop), crop)


def _cut_clip(clip: Clip, window: Window, crop: CropSettings) -> dict[str, np.ndarray]:
    method = cv2.INTER_AREA if window.width > crop.width else cv2.INTER_LINEAR
    images = [cv2.resize(frame.image[window.pixels], crop.size, interpolation=method) for frame in clip]
    labels = [
        cv2.resize(frame.labels[window.pixels], crop.size, interpolation=cv2.INTER_NEAREST_EXACT)
        for frame in clip
    ]
    K = clip[0].camera.cropped(*window).resized(*crop.size).K.astype(np.float32)
    categories = np.zeros(256, np.uint8) if clip[0].categories is None else clip[0].categories
    return {"images": np.stack(images), "labels": np.stack(labels), "categories": categories, "intrinsics": K}


def roll_example(example: Example, degrees: float) -> Example:
    """The example after a rotation of the camera about its optical axis, which leaves depth unchanged."""
    camera = example.camera
    size = (camera.width, camera.height)
    rotation = cv2.getRotationMatrix2D((camera.cx, camera.cy), degrees, 1.0)
    image = cv2.warpAffine(
        example.image, rotation, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    depth = cv2.warpAffine(example.depth, rotation, size, flags=cv2.INTER_NEAREST, borderValue=float("nan"))
    weight = cv2.warpAffine(example.weight, rotation, size, flags=cv2.INTER_NEAREST, borderValue=0.0)
    planes = example.planes
    if planes is not None:
        labels = cv2.warpAffine(
            planes.labels.astype(np.float32), rotation, size, flags=cv2.INTER_NEAREST, borderValue=-1.0
        )
        equations = planes.equations.copy()
        equations[:, :2] = equations[:, :2] @ rotation[:, :2].T
        planes = Planes(labels.astype(np.int32), equations)
    inputs = rolled_inputs(example.extra_inputs, rotation)
    return replace(example, image=image, depth=depth, weight=weight, planes=planes, extra_inputs=inputs)
