"""One augmented crop of an example, and batches of them. Item i is always the same, so that runs resume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from depth_ros.datatypes import Planes
from depth_ros.networks.planenet import PLANES
from depth_ros.plane_fitting import seen
from depth_ros.training.examples import Example
from depth_ros.training.recipes import Recipe
from depth_ros.world.pairs import Pairs, eyes, misrectified


class Crops(Dataset):
    """An endless, seeded sequence of crops: item i depends on (recipe.seed, i) alone."""

    def __init__(self, examples: Sequence[Any], recipe: Recipe) -> None:
        self.examples, self.recipe = examples, recipe

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.batch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        recipe, count = self.recipe, len(self.examples)
        epoch, place = divmod(index, count)
        order = np.random.default_rng((recipe.seed, epoch)).permutation(count)
        random = np.random.default_rng((recipe.seed, epoch, place))
        example = self.examples[order[place]]
        if recipe.supervision == "video":
            from depth_ros.training.clips import clip_crop

            return _tensors(clip_crop(example, recipe, random))
        if isinstance(example, Pairs):
            left, right, disparity = example.pair(random, recipe.width, recipe.height)
            return _tensors({"image": left, "right": right, "disparity": disparity})
        if recipe.supervision == "disparity":
            return _tensors(pair_crop(example, recipe, random))
        if recipe.supervision == "stereo":
            return _tensors(pair(example, recipe))
        return _tensors(crop(example, recipe, random))


def crop(example: Example, recipe: Recipe, random: np.random.Generator) -> dict[str, np.ndarray]:
    """A random window of the example, resized to the recipe's size, perhaps mirrored, in other colours."""
    if recipe.roll:
        example = rolled(example, float(random.uniform(-recipe.roll, recipe.roll)))
    height, width = example.image.shape[:2]
    aspect = recipe.width / recipe.height
    widest = min(width, height * aspect)
    window_width = widest / random.uniform(1.0, recipe.zoom)
    w, h = round(window_width), round(window_width / aspect)
    left, top = int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1))
    window = np.s_[top : top + h, left : left + w]
    size = (recipe.width, recipe.height)
    method = cv2.INTER_AREA if w > recipe.width else cv2.INTER_LINEAR
    image = cv2.resize(example.image[window], size, interpolation=method)
    depth = cv2.resize(example.depth[window], size, interpolation=cv2.INTER_NEAREST_EXACT)
    weight = cv2.resize(example.weight[window], size, interpolation=cv2.INTER_NEAREST_EXACT)
    K = example.camera.cropped(left, top, w, h).resized(*size).K.astype(np.float32)
    planes = example.planes
    if planes is not None:
        labels = cv2.resize(planes.labels[window], size, interpolation=cv2.INTER_NEAREST_EXACT)
        planes = replace(planes, labels=labels)
    if recipe.mirror and random.random() < 0.5:
        image, depth, weight = image[:, ::-1], depth[:, ::-1], weight[:, ::-1]
        K[0, 2] = recipe.width - 1 - K[0, 2]
        if planes is not None:
            planes = Planes(planes.labels[:, ::-1], planes.equations * [-1, 1, 1, 1])
    image = recolour(image, random) if recipe.recolour else image
    found = {"image": image, "depth": depth, "weight": weight, "intrinsics": K}
    if recipe.supervision == "planes":
        found |= plane_truth(planes, recipe.settings.get("planes", PLANES))
    return found


SMALLEST = 0.01
"""Smallest plane that an image teaches, as a share of it."""


def plane_truth(planes: Planes | None, most: int) -> dict[str, np.ndarray]:
    """labels (H, W) int32, -1 = none, and planes (most, 3) float32: the normals away from the camera times their
    distances, m, the largest first, NaN = none. What planes beyond those cover counts as no plane."""
    assert planes is not None, "recipes with supervision 'planes' need examples with planes"
    planes = seen(planes.labels, planes.equations, SMALLEST)
    vectors = np.full((most, 3), np.nan, np.float32)
    first = planes.equations[:most]
    vectors[: len(first)] = -first[:, :3] * first[:, 3:]
    return {"labels": np.where(planes.labels < most, planes.labels, -1), "planes": vectors}


def rolled(example: Example, degrees: float) -> Example:
    """The example as a camera turned about its optical axis sees it: depth along the axis does not change."""
    camera = example.camera
    size = (camera.width, camera.height)
    turn = cv2.getRotationMatrix2D((camera.cx, camera.cy), degrees, 1.0)
    image = cv2.warpAffine(
        example.image, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    depth = cv2.warpAffine(example.depth, turn, size, flags=cv2.INTER_NEAREST, borderValue=float("nan"))
    weight = cv2.warpAffine(example.weight, turn, size, flags=cv2.INTER_NEAREST, borderValue=0.0)
    planes = example.planes
    if planes is not None:
        labels = cv2.warpAffine(
            planes.labels.astype(np.float32), turn, size, flags=cv2.INTER_NEAREST, borderValue=-1.0
        )
        equations = planes.equations.copy()
        equations[:, :2] = equations[:, :2] @ turn[:, :2].T
        planes = Planes(labels.astype(np.int32), equations)
    return replace(example, image=image, depth=depth, weight=weight, planes=planes)


def recolour(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Other gamma, brightness, contrast, white balance and saturation; sometimes grey; sometimes blurred."""
    levels = np.linspace(0, 1, 256)[None] ** random.uniform(0.75, 1.3)
    levels = levels * random.uniform(0.7, 1.3) * random.uniform(0.9, 1.1, (3, 1))
    levels = (levels - 0.45) * random.uniform(0.8, 1.25) + 0.45
    table = (levels.clip(0, 1) * 255).astype(np.uint8)
    image = cv2.LUT(np.ascontiguousarray(image), table.T.reshape(1, 256, 3))
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    saturation = 0.0 if random.random() < 0.08 else random.uniform(0.6, 1.3)
    image = cv2.addWeighted(image, saturation, grey, 1 - saturation, 0)
    if random.random() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.5, 1.2))
    return image


def pair(example: Example, recipe: Recipe) -> dict[str, np.ndarray]:
    """A stereo pair at the recipe's size; the family's own `augment` works on the batch."""
    assert example.right is not None, "recipes with supervision 'stereo' need sources with two eyes"
    size = (recipe.width, recipe.height)
    left, right = (
        cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (example.image, example.right)
    )
    intrinsics = example.camera.resized(*size).K.astype(np.float32)
    return {"image": left, "right": right, "intrinsics": intrinsics}


def pair_crop(example: Example, recipe: Recipe, random: np.random.Generator) -> dict[str, np.ndarray]:
    """The same random window of both eyes, enlarged or reduced, with the disparity (px of the crop) of the left."""
    assert example.right is not None
    height, width = example.image.shape[:2]
    scale = random.uniform(max(0.8, recipe.height / height, recipe.width / width), recipe.zoom)
    w, h = round(recipe.width / scale), round(recipe.height / scale)
    left, top = int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1))
    window, size = np.s_[top : top + h, left : left + w], (recipe.width, recipe.height)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    disparity = example.fx_baseline / example.depth[window] * np.float32(recipe.width / w)
    state, images = random.bit_generator.state, []
    for image in (example.image, example.right):
        random.bit_generator.state = state  # the same colours in both eyes
        images.append(recolour(cv2.resize(image[window], size, interpolation=method), random))
    one, other = eyes(images[0], images[1], random)
    return {
        "image": one,
        "right": misrectified(other, random),
        "disparity": cv2.resize(disparity, size, interpolation=cv2.INTER_NEAREST_EXACT),
    }


def _tensors(item: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in item.items()}
