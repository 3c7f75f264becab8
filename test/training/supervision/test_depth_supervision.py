"""Depth supervision learns metric depth from metres alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.source import DataFolders, Source
from depth_ros.training.supervision.depth import DepthSupervision
from depth_ros.world import World, WorldSettings, write_folder


@pytest.mark.parametrize("scale", ["metric", "up_to_scale"])
def test_depth_of_unknown_scale_teaches_depth_up_to_scale_alone(scale, tmp_path, monkeypatch):
    write_folder(World(WorldSettings(kind="room", frames=5, width=64, height=48)), tmp_path / "clip")
    source, folders = Source("clip"), DataFolders(tmp_path)
    recording = source.open(folders)
    monkeypatch.setattr(recording, "contents", dataclasses.replace(recording.contents, metric=False))
    load = lambda: DepthSupervision(scale).load_training_data((source,), CropSettings(32, 32), folders)  # noqa: E731
    if scale == "metric":
        with pytest.raises(DepthRosError, match="clip has depth of unknown scale"):
            load()
    else:
        assert len(load()) == 4 and np.isfinite(load()[0].depth).any()
