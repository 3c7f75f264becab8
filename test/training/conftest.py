"""Data and threads of the training tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from depth_ros.world import World, WorldSettings, write_folder


@pytest.fixture(scope="session", autouse=True)
def _single_thread() -> Iterator[None]:
    """One thread: several threads that share a busy core take many times as long for networks this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data folder with one recording, "clip": ten rendered frames of a room, in stereo."""
    root = tmp_path_factory.mktemp("data")
    write_folder(World(WorldSettings(kind="room", frames=10, width=128, height=96)), root / "clip")
    return root
