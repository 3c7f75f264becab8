"""Fixtures that all rooms use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the recorded data: $DEPTH_ROS_DATA, or shared/data beside the repository."""
    given = os.environ.get("DEPTH_ROS_DATA")
    root = Path(given) if given else Path(__file__).resolve().parents[2] / "shared/data"
    if not root.is_dir():
        pytest.skip(f"no recorded data at {root}: set DEPTH_ROS_DATA to the folder that holds it")
    return root


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a `compact` model with random weights at 128x64: real files, real code, nothing learned."""
    import torch

    from depth_ros.networks import compact
    from depth_ros.training.export import export
    from depth_ros.training.recipes import Recipe, Source

    torch.manual_seed(0)
    recipe = Recipe(
        name="small", family="compact", width=128, height=64, sources=(Source("world:street", count=1),),
        validation=(), description="a test", licence="Apache-2.0", terms="", settings={},
    )  # fmt: skip
    return export(compact.Model(compact.Settings()), recipe, tmp_path_factory.mktemp("models") / "small")


@pytest.fixture()
def engine_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty engine cache for one test."""
    monkeypatch.setenv("DEPTH_ROS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
