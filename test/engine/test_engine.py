"""Engines: every installed backend reproduces eager float32; what is wrong is rebuilt or passed over."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_ros.card import Card, read_card
from depth_ros.engine import BACKENDS, EngineSettings, backend, builder, engine_size, pool, store
from depth_ros.engine.store import EngineRequest
from depth_ros.errors import DepthRosError

INSTALLED = [name for name in BACKENDS if not backend(name).unavailable("cpu")]
K = np.array([[77.0, 0, 63.5], [0, 77, 31.5], [0, 0, 1]])
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)


@pytest.fixture()
def card(small_model, engine_cache):
    """The card of a small model, whose engines are not in the cache."""
    return read_card(small_model)


def open_engine(card, name, precision="auto"):
    """Opened by a pool of its own, as by a process that has just started."""
    settings = EngineSettings(backend=name, precision=precision, device="cpu")
    return pool.EnginePool().open(card, 128, 64, settings)


def request(card):
    return EngineRequest(card, 128, 64, "openvino", "float32", "cpu")


@pytest.mark.parametrize("name", INSTALLED)
def test_every_backend_agrees_with_eager_float32(small_model, shared_engine_cache, name):
    card = read_card(small_model)
    expected = open_engine(card, "eager", "float32")(IMAGE, K)
    for precision in backend(name).precisions("cpu"):
        engine = open_engine(card, name, precision)
        assert (engine.backend, engine.precision) == (name, precision), engine.reason
        found = engine(IMAGE, K)
        assert found.shape == (64, 128) and found.dtype == np.float32
        limit = 1e-4 if precision == "float32" else 0.01
        assert np.median(np.abs(found - expected) / expected) < limit


def test_auto_takes_the_first_installed_backend_and_then_its_stored_engine(card):
    first, second = open_engine(card, "auto"), open_engine(card, "auto")
    assert first.backend == next(name for name in BACKENDS if name in INSTALLED)
    assert "built, because there was none in the cache" in first.reason and "from the cache" in second.reason
    np.testing.assert_array_equal(first(IMAGE, K), second(IMAGE, K))


def test_engines_are_neither_traced_nor_compiled_in_this_process(card, monkeypatch):
    def fails(*_, **__):
        raise AssertionError("built in the parent process")

    monkeypatch.setattr(torch.export, "export", fails)
    monkeypatch.setattr(backend("openvino"), "build", fails)
    assert open_engine(card, "openvino", "float32").backend == "openvino"


def truncate(folder: Path) -> None:
    file = folder / "engine.bin"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def break_manifest(folder: Path) -> None:
    (folder / store.MANIFEST).write_text("{")


def set_key(key: str):
    def change(folder: Path) -> None:
        file = folder / store.MANIFEST
        file.write_text(json.dumps({**json.loads(file.read_text()), key: "another"}))

    return change


@pytest.fixture(scope="module")
def built(small_model, tmp_path_factory):
    """Cache folder with one engine, built once for the tests that damage a copy of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEPTH_ROS_CACHE", str(tmp_path_factory.mktemp("built")))
        assert builder.build(request(read_card(small_model)), "").startswith("built")
        return request(read_card(small_model)).folder


@pytest.fixture()
def stored(card, built):
    """The folder of an engine in the cache of this test."""
    return shutil.copytree(built, request(card).folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (truncate, "damaged (engine.bin has changed)"),
        (break_manifest, "damaged"),
        (set_key("versions"), "versions was another"),
        (set_key("device"), "device was another"),
        (set_key("code"), "code was another"),
    ],
)
def test_an_unusable_engine_is_recognised(card, stored, change, reason):
    assert store.problem_with(request(card)) == ""
    change(stored)
    assert reason in store.problem_with(request(card))


def test_an_unusable_engine_is_rebuilt_with_the_reason(card, stored):
    truncate(stored)
    engine = open_engine(card, "openvino", "float32")
    assert engine.backend == "openvino"
    assert "built, because the one in the cache is damaged (engine.bin has changed)" in engine.reason


def test_a_stored_engine_that_does_not_load_is_rebuilt_once(card, stored):
    (stored / "engine.xml").write_text("<net/>")
    manifest = json.loads((stored / store.MANIFEST).read_text())
    manifest["files"]["engine.xml"] = store.checksum(stored / "engine.xml")  # whole, but not an engine
    (stored / store.MANIFEST).write_text(json.dumps(manifest))
    engine = open_engine(card, "openvino", "float32")
    assert engine.backend == "openvino" and "built, because" in engine.reason


PATCHED_BUILDER = """
import depth_ros.engine.openvino_backend as module
from depth_ros.engine import builder
{code}
builder.main()
"""
"""The program of the build process with one function of the compiler replaced; process and store are the real ones."""


@pytest.fixture()
def in_build_process(monkeypatch):
    def run(code: str) -> None:
        monkeypatch.setattr(builder, "COMMAND", ("-c", PATCHED_BUILDER.format(code=code)))

    return run


def test_a_wrong_engine_is_passed_over_visibly_and_not_built_again(card, in_build_process, caplog):
    in_build_process(
        "load = module.load\n"
        "def wrong(folder, device):\n"
        "    run = load(folder, device)\n"
        "    return lambda image, K: run(image, K) * 1.05\n"
        "module.load = wrong"
    )
    for _ in range(2):
        engine = open_engine(card, "openvino", "float32")
        assert (engine.backend, engine.precision) == ("eager", "float32")
        assert (
            "openvino float32: differs from eager float32 on the check image (median 5.00 %" in engine.reason
        )
    assert "passed over" in caplog.text
    assert store.problem_with(request(card)) == ""  # the verdict is stored
    assert not (request(card).folder / "engine.bin").exists()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def build(*_): raise RuntimeError('no such operator')\nmodule.build = build", "no such operator"),
        ("import os\nmodule.build = lambda *_: os.abort()", "the build process ended by signal 6"),
        ("import torch\nmodule.load = lambda *_: lambda image, K: torch.full((1, 64, 128), torch.nan)",
         "valid in one result only"),
    ],
)  # fmt: skip
def test_a_backend_that_fails_or_crashes_is_passed_over(card, in_build_process, code, reason):
    in_build_process(code)
    engine = open_engine(card, "openvino", "float32")
    assert engine.backend == "eager" and f"openvino float32: {reason}" in engine.reason.replace("differs from eager "
        "float32 on the check image (100.0 % of the values are ", "")  # fmt: skip


def test_a_killed_build_leaves_nothing_usable(card, in_build_process):
    in_build_process(
        "import os\nbuild = module.build\n"
        "def killed(*arguments):\n    build(*arguments)\n    os.kill(os.getpid(), 9)\n"
        "module.build = killed"
    )
    with pytest.raises(builder.BuildError, match="ended by signal 9"):
        builder.build(request(card), "")
    unfinished = request(card).folder.with_name(request(card).folder.name + ".new")
    assert (unfinished / "engine.xml").is_file(), "the build was under way"
    assert store.problem_with(request(card)) == "there was none in the cache"


def test_an_edited_source_that_the_model_reaches_changes_the_key(tmp_path, monkeypatch):
    import depth_ros

    package = tmp_path / "depth_ros"
    shutil.copytree(Path(depth_ros.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(depth_ros, "__file__", str(package / "__init__.py"))
    before = {name: store.source_checksum(name, "openvino") for name in ("sfmlearner", "compact")}
    edited = package / "networks/blocks/dispnet.py"
    edited.write_text(edited.read_text() + "\n# edited\n")
    assert store.source_checksum("sfmlearner", "openvino") != before["sfmlearner"]
    assert store.source_checksum("compact", "openvino") == before["compact"]
    int8 = package / "engine/int8.py"
    int8.write_text(int8.read_text() + "\n# edited\n")
    assert store.source_checksum("compact", "openvino") != before["compact"]


def test_models_that_differ_in_settings_have_engines_of_their_own(card):
    other = replace(card, settings={**card.settings, "offset": 1.0})
    assert request(card).folder != request(other).folder


def test_a_named_backend_that_is_missing_is_an_error(card):
    with pytest.raises(DepthRosError, match="'torch_tensorrt' cannot be used: it needs an NVIDIA GPU"):
        open_engine(card, "torch_tensorrt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_an_error(card):
    with pytest.raises(DepthRosError, match="'cuda' was requested"):
        pool.open_engine(card, 128, 64, EngineSettings(device="cuda"))


@pytest.mark.parametrize(
    ("camera", "expected"),
    [((1242, 375), (224, 64)), ((640, 480), (128, 96)), ((128, 64), (128, 64)), ((480, 640), (96, 128))],
)
def test_the_engine_has_the_aspect_ratio_of_the_image_and_about_the_pixels_of_the_card(
    card, camera, expected
):
    size = engine_size(card, *camera)
    assert size == expected
    assert 0.5 < size[0] * size[1] / (128 * 64) < 1.8
    assert size[0] / size[1] == pytest.approx(camera[0] / camera[1], rel=0.06)


@pytest.mark.parametrize(
    ("fit", "size", "camera", "expected"),
    [
        ({"fit": "stretch"}, (512, 256), (1242, 375), (848, 256)),
        ({"fit": "stretch"}, (416, 128), (1242, 375), (424, 128)),
        ({"fit": "stretch"}, (416, 128), (640, 480), (416, 312)),
        ({"fit": "stretch"}, (416, 128), (320, 96), (320, 96)),
        ({"fit": "stretch", "region": [0.09375, 0.25, 0.90625, 0.75]}, (416, 128), (2048, 1024), (512, 256)),
        ({"fit": "crop", "region": [0.025, 0.025, 0.975, 0.975]}, (304, 228), (640, 480), (320, 240)),
        ({"fit": "width"}, (512, 288), (1280, 720), (512, 288)),
        ({"fit": "width"}, (512, 288), (640, 480), (512, 384)),
    ],
)
def test_an_engine_of_one_input_size_has_the_aspect_ratio_of_the_image_and_the_pixels_of_the_input(
    card, fit, size, camera, expected
):
    card = replace(card, width=size[0], height=size[1], **fit)
    assert engine_size(card, *camera) == expected


def test_the_fit_decides_the_engine():
    """Of two models that differ in nothing else, neither gets the engine of the other."""
    cards = [
        Card("a", "depth", "monodepth", 512, 256, "metric", "", "0" * 64, fit=fit, region=region)
        for fit, region in (("aspect", [0, 0, 1, 1]), ("stretch", [0, 0, 1, 1]), ("stretch", [0, 0, 1, 0.8]))
    ]
    requests = [EngineRequest(card, 848, 256, "inductor", "float32", "cpu") for card in cards]
    assert len({request.folder for request in requests}) == 3
    copy = EngineRequest.from_json(requests[2].to_json())
    assert copy.manifest() == requests[2].manifest() != requests[1].manifest()


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("DEPTH_ROS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.cache_root() == tmp_path / "depth_ros"
