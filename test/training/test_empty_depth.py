"""Validation on images of which some have no known depth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_ros.datatypes import Camera, Frame
from depth_ros.recordings import Sample
from depth_ros.training.crop import CropSettings
from depth_ros.training.depth_validation import validate_depth

CAMERA = Camera.pinhole(64, 48, 50.0, 50.0, 31.5, 23.5)


class TwoMetres(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image, K):
        return torch.full(image.shape[:3], 2.0)


def sample(depth: float) -> Sample:
    frame = Frame(1, "camera", np.zeros((48, 64, 3), np.uint8), CAMERA)
    return Sample("", frame, depth=np.full((48, 64), depth, np.float32))


def test_images_without_known_depth_do_not_count():
    held_out = {"some": [sample(2.5), sample(np.nan), sample(np.nan)], "none": [sample(np.nan)]}
    metrics = validate_depth(TwoMetres(), held_out, CropSettings(64, 48), "metric")
    assert metrics["some abs_rel"] == pytest.approx(0.2)
    assert not any(name.startswith("none") for name in metrics)
