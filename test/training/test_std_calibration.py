"""Calibration of predicted standard deviations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from depth_ros.datatypes import Camera, Frame
from depth_ros.networks import compact
from depth_ros.recordings import Sample
from depth_ros.training import loop
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.source import DataFolders
from depth_ros.training.recipes import Source, find_recipe
from depth_ros.training.std_calibration import std_factor


class Flat(torch.nn.Module):
    """Depth of 4 m everywhere, with a standard deviation of 0.1 m."""

    deviations = (1,)

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor, intrinsics: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        depth = torch.full(image.shape[:3], 4.0)
        return depth, torch.full_like(depth, 0.1)


def test_the_factor_makes_normal_errors_be_covered_as_nominal() -> None:
    """Errors have a standard deviation of 0.3 m, three times the predicted one; a pixel without depth is left out."""
    rng = np.random.default_rng(0)
    depth = (4 + 0.3 * rng.standard_normal((48, 64))).astype(np.float32)
    depth[0, 0] = np.nan
    frame = Frame(
        1, "camera", np.zeros((48, 64, 3), np.uint8), Camera.pinhole(64, 48, 50.0, 50.0, 31.5, 23.5)
    )
    samples = {"here": [Sample("1", frame, depth=depth), Sample("2", frame)]}
    assert std_factor(Flat(), samples, CropSettings(64, 48)) == pytest.approx(3.0, rel=0.05)


def test_every_recording_counts_the_same() -> None:
    """Nine images with small errors do not hide one of another recording with large ones."""
    rng = np.random.default_rng(0)
    camera = Camera.pinhole(64, 48, 50.0, 50.0, 31.5, 23.5)

    def sample(error: float) -> Sample:
        depth = (4 + error * rng.standard_normal((48, 64))).astype(np.float32)
        return Sample("1", Frame(1, "camera", np.zeros((48, 64, 3), np.uint8), camera), depth=depth)

    one = std_factor(Flat(), {"a": [sample(0.1)], "b": [sample(0.5)]}, CropSettings(64, 48))
    nine = std_factor(
        Flat(), {"a": [sample(0.1) for _ in range(9)], "b": [sample(0.5)]}, CropSettings(64, 48)
    )
    assert one > 1.5 and nine == pytest.approx(one, rel=0.1)


def test_a_trained_model_gets_the_factor_of_the_recipe(data) -> None:
    recipe = dataclasses.replace(find_recipe("mono"), calibration=(Source("clip", part="calibration"),))
    recipe = dataclasses.replace(recipe, crop=CropSettings(64, 32))
    torch.manual_seed(0)
    model = compact.Model(compact.Settings(std=True, std_scale=5.0))
    loop.calibrate(model, recipe, DataFolders(data))
    first = model.settings.std_scale
    loop.calibrate(model, recipe, DataFolders(data))
    assert model.settings.std_scale == first != 5.0
