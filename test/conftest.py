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
