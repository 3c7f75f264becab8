"""A model as a function of images: `depth_ros.load_model`."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros import load_model
from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError

IMAGE = np.random.default_rng(1).integers(0, 255, (96, 128, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    return load_model("mono", backend="eager", device="cpu")


def test_distances_are_proportional_to_the_focal_length(model):
    narrow, wide = (model(IMAGE, fov=fov) for fov in (40, 80))
    ratio = np.tan(np.radians(40)) / np.tan(np.radians(20))
    assert np.nanmedian(narrow.depth / wide.depth) == pytest.approx(ratio, rel=0.02)
    camera = Camera.pinhole(128, 96, 64 / np.tan(np.radians(20)), 64 / np.tan(np.radians(20)), 63.5, 47.5)
    assert np.array_equal(model(IMAGE, camera=camera).depth, narrow.depth, equal_nan=True)
    assert model.card.scale == "metric"


@pytest.mark.parametrize(("image", "options", "problem"), [
    (IMAGE, {}, "fov .* or camera is required"),
    (IMAGE.astype(np.float32), {"fov": 60}, "the image is float32"),
    (IMAGE[..., 0], {"fov": 60}, r"it must be uint8 \(height, width, 3\)"),
    (IMAGE, {"camera": Camera.pinhole(64, 48, 50, 50, 31.5, 23.5)}, "is calibrated for 64x48"),
])  # fmt: skip
def test_wrong_inputs_are_refused(model, image, options, problem):
    with pytest.raises(DepthRosError, match=problem):
        model(image, **options)


def test_unknown_and_unsuitable_models_are_refused():
    with pytest.raises(DepthRosError, match="no_such_model"):
        load_model("no_such_model")
    with pytest.raises(DepthRosError, match="'stereo_depth'"):
        load_model("stereo")
