"""Engines: every backend that is installed reproduces eager float32; what is wrong is rebuilt or passed over."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from depth_ros.card import read_card
from depth_ros.engine import BACKENDS, EngineSettings, backend, cache, engine_size, open_engine
from depth_ros.errors import DepthRosError

HERE = [name for name in BACKENDS if not backend(name).unavailable("cpu")]
K = np.array([[77.0, 0, 63.5], [0, 77, 31.5], [0, 0, 1]])
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)


@pytest.fixture()
def card(small_model, engine_cache):
    return read_card(small_model)


def open_(card, name, precision="auto"):
    return open_engine(card, 128, 64, EngineSettings(backend=name, precision=precision, device="cpu"))


def manifest_file(engine_cache, name):
    return next(engine_cache.glob(f"*-{name}-*/manifest.json"))


@pytest.mark.parametrize("name", HERE)
def test_every_backend_agrees_with_eager(card, name):
    expected = open_(card, "eager", "float32")(IMAGE, K)
    for precision in backend(name).precisions("cpu"):
        engine = open_(card, name, precision)
        assert (engine.backend, engine.precision) == (name, precision), engine.reason
        found = engine(IMAGE, K)
        assert found.shape == (64, 128) and found.dtype == np.float32
        limit = 1e-4 if precision == "float32" else 0.01
        assert np.median(np.abs(found - expected) / expected) < limit


def test_auto_takes_the_first_that_is_there(card):
    engine = open_(card, "auto")
    assert engine.backend == next(name for name in BACKENDS if name in HERE)
    assert "built" in engine.reason


def test_second_opening_is_from_the_cache(card):
    first = open_(card, "openvino", "float32")
    second = open_(card, "openvino", "float32")
    assert "built" in first.reason and "from the cache" in second.reason
    np.testing.assert_array_equal(first(IMAGE, K), second(IMAGE, K))


def test_corrupt_engine_is_rebuilt_with_the_reason(card, engine_cache):
    open_(card, "openvino", "float32")
    file = next(engine_cache.glob("*/engine.bin"))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    engine = open_(card, "openvino", "float32")
    assert engine.backend == "openvino"
    assert "damaged (engine.bin has changed)" in engine.reason


def test_corrupt_manifest_is_rebuilt(card, engine_cache):
    open_(card, "openvino", "float32")
    manifest_file(engine_cache, "openvino").write_text("{")
    assert "damaged" in open_(card, "openvino", "float32").reason


@pytest.mark.parametrize("key", ["versions", "device", "code"])
def test_changed_machine_or_version_is_rebuilt_with_the_reason(card, engine_cache, key):
    open_(card, "openvino", "float32")
    file = manifest_file(engine_cache, "openvino")
    file.write_text(json.dumps({**json.loads(file.read_text()), key: "another"}))
    assert f"{key} was another" in open_(card, "openvino", "float32").reason


BUILD_SLOWLY = """
import sys, time
from depth_ros.card import find_card
from depth_ros.engine import EngineSettings, backend, open_engine
module = backend("openvino")
build = module.build
module.build = lambda *arguments: (build(*arguments), time.sleep(60))
open_engine(find_card(sys.argv[1]), 128, 64, EngineSettings(backend="openvino", precision="float32", device="cpu"))
"""


def test_build_killed_half_way_leaves_nothing_usable(card, engine_cache):
    process = subprocess.Popen([sys.executable, "-c", BUILD_SLOWLY, str(card.path)])
    deadline = time.monotonic() + 100
    while not list(engine_cache.glob("*.new/precision")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert list(engine_cache.glob("*.new/engine.xml")), "the build was under way"
    engine = open_(card, "openvino", "float32")
    assert engine.backend == "openvino"
    assert "there was none in the cache" in engine.reason


def test_wrong_engine_is_passed_over_visibly(card, monkeypatch, caplog):
    module = backend("openvino")
    real = module.load

    def wrong(folder, device):
        run = real(folder, device)
        return lambda image, K: run(image, K) * 1.05

    monkeypatch.setattr(module, "load", wrong)
    engine = open_(card, "openvino", "float32")
    assert (engine.backend, engine.precision) == ("eager", "float32")
    assert "openvino float32: differs from eager float32 on the check image (median 5.00 %" in engine.reason
    assert "passed over" in caplog.text


def test_engine_that_gives_nan_is_passed_over(card, monkeypatch):
    module = backend("openvino")
    monkeypatch.setattr(
        module, "load", lambda folder, device: lambda image, K: torch.full((1, 64, 128), torch.nan)
    )
    assert "known to one side only" in open_(card, "openvino", "float32").reason


def test_backend_that_cannot_build_is_passed_over(card, monkeypatch):
    def build(model, inputs, folder):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(backend("openvino"), "build", build)
    engine = open_(card, "openvino", "float32")
    assert engine.backend == "eager" and "openvino float32: no such operator" in engine.reason


def test_named_backend_that_is_missing_is_an_error(card):
    with pytest.raises(DepthRosError, match="'torch_tensorrt' cannot be used: it needs an NVIDIA GPU"):
        open_(card, "torch_tensorrt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_missing_gpu_is_an_error(card):
    with pytest.raises(DepthRosError, match="'cuda' was asked for"):
        open_engine(card, 128, 64, EngineSettings(device="cuda"))


@pytest.mark.parametrize(
    ("camera", "expected"),
    [((1242, 375), (224, 64)), ((640, 480), (128, 96)), ((128, 64), (128, 64)), ((480, 640), (96, 128))],
)
def test_engine_has_the_shape_of_the_image_and_about_the_pixels_of_the_card(card, camera, expected):
    size = engine_size(card, *camera)
    assert size == expected
    assert 0.5 < size[0] * size[1] / (128 * 64) < 1.8
    assert size[0] / size[1] == pytest.approx(camera[0] / camera[1], rel=0.06)


def test_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("DEPTH_ROS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_root() == tmp_path / "depth_ros"
