"""The stereo variant of monodepth: pairs of any size, no standard deviation, no disparity range."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from depth_ros.card import load_model, read_card
from depth_ros.cli import main
from depth_ros.datatypes import Camera, Frame, StereoFrame
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.estimators.depth import DepthEstimator
from depth_ros.estimators.stereo.estimator import StereoEstimator, StereoSettings
from depth_ros.networks import monodepth
from depth_ros.world import World, WorldSettings, write_folder

EAGER = EngineSettings(backend="eager", precision="float32", device="cpu")
ARGUMENTS = ("--backend", "eager", "--device", "cpu", "--precision", "float32")


@pytest.fixture(scope="module")
def street(tmp_path_factory) -> Path:
    world = World(WorldSettings(kind="street", frames=2, width=200, height=120))
    return write_folder(world, tmp_path_factory.mktemp("data") / "street")


def stereo_frame(width: int = 200, height: int = 120) -> StereoFrame:
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    left, right = (Camera.pinhole(width, height, 150.0, 150.0, 99.5, 59.5, b) for b in (0.0, 0.3))
    return StereoFrame(Frame(7, "left", images[0], left), Frame(7, "right", images[1], right), 0.3)


def test_disparity_is_a_fraction_of_the_width_of_the_image(monodepth_stereo):
    pair = stereo_frame()
    estimator = StereoEstimator(str(monodepth_stereo), EAGER)
    found = estimator.estimate(pair)
    assert found.disparity.shape == (120, 200) and found.std is None
    assert (estimator.disparity_range, estimator.engine_status.name) == (0, "eager float32 200x120")
    small = [
        F.interpolate(
            torch.from_numpy(frame.image)[None].permute(0, 3, 1, 2).float(), (128, 256), mode="bilinear"
        )
        for frame in (pair.left, pair.right)
    ]
    model = load_model(read_card(monodepth_stereo))
    with torch.inference_mode():
        fraction = model.disparities(*(image.permute(0, 2, 3, 1) for image in small))[0][:, 0]
        expected = 200 * cv2.resize(fraction[0].numpy(), (200, 120))
    np.testing.assert_allclose(found.disparity, expected, rtol=2e-2)
    np.testing.assert_allclose(found.depth().depth, 150.0 * 0.3 / found.disparity, rtol=1e-5)


def test_a_disparity_range_cannot_be_set(monodepth_stereo):
    with pytest.raises(DepthRosError, match="stereo' of family 'monodepth' has no disparity range to set"):
        StereoEstimator(str(monodepth_stereo), EAGER, StereoSettings(disparity_range=64))


def test_pairs_are_evaluated_and_replayed(monodepth_stereo, street, tmp_path, capsys):
    result = tmp_path / "result.json"
    command = ["evaluate", "depth", "--model", str(monodepth_stereo), "--data", str(street), *ARGUMENTS]
    assert main([*command, "--json", str(result), "--report", str(tmp_path / "report.html")]) == 0
    metrics = json.loads(result.read_text())["metrics"]
    assert metrics["epe"] > 1 and metrics["density"] == 1.0 and "coverage" not in metrics
    assert (
        main(
            [
                "replay",
                str(street),
                "--model",
                str(monodepth_stereo),
                *ARGUMENTS,
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    assert "2 frames with ground truth" in capsys.readouterr().out


def test_post_processing_is_available_on_request(monodepth_single, monodepth_stereo, small_model):
    """It equals the combination of the depth of the image and of its mirrored image."""
    folder, pair = monodepth_single, stereo_frame(256, 128)
    plain = DepthEstimator(str(folder), EAGER).estimate(pair.left).depth
    settings = EngineSettings(backend="eager", precision="float32", device="cpu", post_process=True)
    found = DepthEstimator(str(folder), settings).estimate(pair.left).depth
    image = np.ascontiguousarray(pair.left.image[:, ::-1])
    mirrored = DepthEstimator(str(folder), EAGER).estimate(Frame(7, "left", image, pair.left.camera)).depth
    inverse = monodepth.post_process(
        torch.from_numpy(1 / plain), torch.from_numpy(1 / mirrored[:, ::-1].copy())
    )
    np.testing.assert_allclose(found, 1 / inverse.numpy(), rtol=1e-3)
    assert np.abs(found / plain - 1).max() > 0.01
    for model in (small_model, monodepth_stereo):
        with pytest.raises(
            DepthRosError, match="has no post-processing; families whose depth models have it: monod"
        ):
            (DepthEstimator if model == small_model else StereoEstimator)(str(model), settings)
