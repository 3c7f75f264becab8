"""The depth estimator: sizes, cameras and engines follow the images."""

import time

import numpy as np
import pytest
import yaml

from depth_ros.datatypes import Camera, Frame
from depth_ros.engine import EngineSettings, serve_engine
from depth_ros.errors import DepthRosError
from depth_ros.estimators.depth import DepthEstimator

EAGER = EngineSettings(backend="eager", precision="float32", device="cpu")


def frame(width=256, height=128, camera=None):
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    camera = camera or Camera.pinhole(width, height, 0.6 * width, 0.6 * width, width / 2, height / 2)
    return Frame(1_000_000_007, "camera_optical_frame", image, camera)


def test_result_belongs_to_its_frame(small_model, engine_cache):
    depth = DepthEstimator(str(small_model), EAGER).estimate(frame())
    assert (depth.stamp, depth.frame_id) == (1_000_000_007, "camera_optical_frame")
    assert depth.depth.shape == depth.image.shape[:2] == (64, 128)
    assert (depth.camera.width, depth.camera.height) == (128, 64)
    assert depth.camera.fx == pytest.approx(0.6 * 128)


def test_depth_is_metric_on_any_focal_length(small_model, engine_cache):
    """The same pixels seen by a lens of twice the focal length are twice as far away."""
    estimator = DepthEstimator(str(small_model), EAGER)
    short = estimator.estimate(frame()).depth
    long = estimator.estimate(frame(camera=Camera.pinhole(256, 128, 307.2, 307.2, 128, 64))).depth
    np.testing.assert_allclose(long, 2 * short, rtol=1e-4)


def test_size_may_change_in_mid_stream(small_model, engine_cache):
    estimator = DepthEstimator(str(small_model), EAGER)
    assert estimator.estimate(frame()).depth.shape == (64, 128)
    assert estimator.estimate(frame(200, 200)).depth.shape == (96, 96)
    assert estimator.estimate(frame()).depth.shape == (64, 128)


def test_background_serves_at_once_and_then_faster(small_model, engine_cache):
    estimator = DepthEstimator(str(small_model), EngineSettings(device="cpu"), provider=serve_engine)
    first = estimator.estimate(frame()).depth
    assert estimator.engine_status.name.startswith("eager")
    deadline = time.monotonic() + 120
    while estimator.engine_status.name.startswith("eager") and time.monotonic() < deadline:
        last = estimator.estimate(frame()).depth
    assert not estimator.engine_status.name.startswith("eager"), estimator.engine_status.reason
    assert np.median(np.abs(last - first) / first) < 0.01


def test_distorted_image_is_rectified(small_model, engine_cache):
    K = np.array([[150.0, 0, 128], [0, 150, 64], [0, 0, 1]])
    P = np.array([[120.0, 0, 128, 0], [0, 120, 64, 0], [0, 0, 1, 0]])
    camera = Camera(256, 128, K, P, np.eye(3), (-0.3, 0.1, 0.0, 0.0, 0.0))
    depth = DepthEstimator(str(small_model), EAGER).estimate(frame(camera=camera))
    assert depth.camera.fx == pytest.approx(60.0) and depth.camera.is_rectified


def test_damaged_weights_fail_at_once(small_model, tmp_path):
    import shutil

    copy = shutil.copytree(small_model, tmp_path / "small")
    (copy / "weights.safetensors").write_bytes(b"half")
    with pytest.raises(DepthRosError, match="damaged"):
        DepthEstimator(str(copy))


def test_other_tasks_are_refused(small_model, tmp_path):
    import shutil

    copy = shutil.copytree(small_model, tmp_path / "small")
    content = yaml.safe_load((copy / "card.yaml").read_text())
    (copy / "card.yaml").write_text(yaml.safe_dump({**content, "task": "ego_motion"}))
    with pytest.raises(DepthRosError, match="is for task 'ego_motion'; a 'depth' model is needed"):
        DepthEstimator(str(copy))
