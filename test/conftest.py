"""Shared fixtures: recorded data, a small model and an engine cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of recorded data: $DEPTH_ROS_DATA, or shared/data next to the repository. Skips the test without it."""
    folder = os.environ.get("DEPTH_ROS_DATA")
    root = Path(folder) if folder else Path(__file__).resolve().parents[2] / "shared/data"
    if not root.is_dir():
        pytest.skip(f"no recorded data in {root}: set DEPTH_ROS_DATA to its folder")
    return root


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a `compact` model at 128x64 with random weights, written by the real export. Read-only."""
    import torch

    from depth_ros.networks import compact
    from depth_ros.training.export import export
    from depth_ros.training.recipes import CropSettings, Recipe, Source

    torch.manual_seed(0)
    recipe = Recipe(
        name="small", family="compact", crop=CropSettings(128, 64), sources=(Source("world:street", count=1),),
        validation=(), description="a test", licence="Apache-2.0", terms="", settings={},
    )  # fmt: skip
    return export(compact.Model(compact.Settings()), recipe, tmp_path_factory.mktemp("models") / "small")


def monodepth_model(folder: Path, **settings) -> Path:
    """Write a model of family monodepth at 256x128, stretched, with an eighth of the channels and random weights."""
    import torch

    from depth_ros.card import Card
    from depth_ros.networks import monodepth
    from depth_ros.training.export import save_model

    torch.manual_seed(0)
    settings |= {"width_divisor": 8}
    model = monodepth.Model(monodepth.Settings(**settings)).eval()
    monodepth.initialise(model)
    card = Card(folder.name, model.task, "monodepth", 256, 128, "metric", "", "", fit="stretch", settings=settings,
                path=folder)  # fmt: skip
    save_model(model, card)
    return folder


@pytest.fixture(scope="session")
def monodepth_single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small monodepth model for single images. Read-only."""
    return monodepth_model(tmp_path_factory.mktemp("models") / "single")


@pytest.fixture(scope="session")
def monodepth_stereo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small monodepth model for pairs. Read-only."""
    return monodepth_model(tmp_path_factory.mktemp("models") / "stereo", stereo=True)


@pytest.fixture()
def engine_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the engine cache, empty at the start of each test."""
    monkeypatch.setenv("DEPTH_ROS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture()
def shared_engine_cache(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The engine cache of the whole session, for tests that need engines but do not test how they are built."""
    monkeypatch.setenv("DEPTH_ROS_CACHE", str(session_cache))
    return session_cache
