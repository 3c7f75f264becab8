"""The depth estimator: sizes, cameras and engines follow the images."""

import shutil
import time
from dataclasses import replace

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


def test_pixels_beyond_the_range_of_the_model_are_invalid_and_known_to_be_far(small_model, engine_cache):
    estimator = DepthEstimator(str(small_model), EAGER)
    near = estimator.estimate(frame())
    assert not near.far.any()
    focal_length = 0.6 * 256 * 200 / np.median(near.depth)
    found = estimator.estimate(frame(camera=Camera.pinhole(256, 128, focal_length, focal_length, 128, 64)))
    assert 0.2 < found.far.mean() < 0.8 and np.array_equal(found.far, np.isnan(found.depth))
    assert (near.depth[found.far] >= np.median(near.depth)).all()


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


@pytest.fixture(scope="module")
def two_view_model(tmp_path_factory):
    """Folder of a model that takes masks of people and parallax beside the image, with random weights."""
    import torch

    from depth_ros.networks import mannequin
    from depth_ros.training.export import export
    from depth_ros.training.recipes import CropSettings, Recipe, Source
    from depth_ros.training.supervision.depth import DepthSupervision

    torch.manual_seed(0)
    recipe = Recipe(
        name="two", family="mannequin", crop=CropSettings(64, 32), sources=(Source("world:street", count=1),),
        validation=(), description="a test", licence="Apache-2.0", terms="",
        supervision=DepthSupervision("up_to_scale"),
    )  # fmt: skip
    model = mannequin.Model(mannequin.Settings(inputs="parallax_mask", width_divisor=16))
    model.network.seq[0].weight.data[:, 3:] *= 100  # that the result depends on them
    return export(model, recipe, tmp_path_factory.mktemp("model") / "two")


def test_extra_inputs_reach_the_network_and_missing_ones_are_reported(two_view_model, engine_cache, caplog):
    import torch

    from depth_ros.card import find_card, load_model

    card = find_card(str(two_view_model))
    assert card.extra_inputs == ["people", "parallax"]
    people = np.zeros((64, 128), np.float32)
    people[:, 64:] = 1
    parallax = np.linspace(-1, 1, 128, dtype=np.float32)[None].repeat(64, 0)
    estimator = DepthEstimator(str(two_view_model), EAGER)
    whole = replace(frame(128, 64), extra_inputs={"parallax": parallax, "people": people})
    depth = estimator.estimate(whole)
    assert not estimator.missing and not caplog.messages and "missing" not in estimator.engine_status.reason
    channels = np.stack([people[::2, ::2], parallax[:, 1::2][::2]])  # the network's size is half
    with torch.inference_mode():
        expected = load_model(card)(
            torch.from_numpy(depth.image)[None], torch.eye(3)[None], torch.from_numpy(channels)[None]
        )[0].numpy()
    np.testing.assert_allclose(depth.depth, expected, rtol=0.05)
    assert np.median(np.abs(depth.depth / expected - 1)) < 0.003
    partly = replace(whole, extra_inputs={"people": people})
    changed = estimator.estimate(partly).depth
    estimator.estimate(frame(128, 64))
    assert np.median(np.abs(changed / expected - 1)) > 0.003
    assert estimator.missing == {"parallax": 2, "people": 1}
    text = "missing inputs, zeros in their place: parallax in"
    assert [m for m in caplog.messages if text in m] == [f"two: {text} 1 of 2 frames"]
    assert estimator.engine_status.reason.endswith(f"{text} 2 of 3 frames, people in 1 of 3 frames")


def test_card_must_name_the_extra_inputs(two_view_model, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(two_view_model, copy)
    text = (copy / "card.yaml").read_text()
    (copy / "card.yaml").write_text(text.replace("extra_inputs:\n- people\n- parallax\n", ""))
    with pytest.raises(DepthRosError, match=r"extra_inputs is \[\], but .* takes \['people', 'parallax'\]"):
        DepthEstimator(str(copy), EAGER)


def test_standard_deviation_of_the_model_comes_with_depth(small_model, tmp_path, engine_cache):
    from depth_ros.card import find_card
    from depth_ros.networks import compact
    from depth_ros.training.export import save_model

    card = find_card(str(small_model))
    settings = {"std": True, "std_scale": 1.5, "folded": False}
    save_model(
        compact.Model(compact.Settings(**settings)).eval(),
        replace(card, settings=settings, path=tmp_path / "model"),
    )
    depth = DepthEstimator(str(tmp_path / "model"), EAGER).estimate(frame())
    assert depth.std is not None and depth.std.shape == depth.depth.shape
    relative = depth.std / depth.depth
    assert np.median(relative) == pytest.approx(1.5 * np.exp(compact.LOG_STD_OFFSET), rel=0.2)
    assert DepthEstimator(str(small_model), EAGER).estimate(frame()).std is None
