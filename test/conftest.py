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
