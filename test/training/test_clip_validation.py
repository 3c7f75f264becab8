"""Validation of models that learn from video."""

from pathlib import Path

import numpy as np
import pytest
import torch

from depth_ros.training.clip_validation import clip_metrics, validate_clips
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.clip import ClipSettings
from depth_ros.training.data.clips import load_training_clips
from depth_ros.training.data.source import DataFolders
from depth_ros.training.recipes import Source
from depth_ros.world import World, WorldSettings

CROP = CropSettings(192, 64, zoom=1.0)


class PerfectModels(torch.nn.ModuleDict):
    """Ground-truth depth in thirds of a metre, and ground-truth motion in the same unit."""

    def __init__(self, depth: np.ndarray, T: np.ndarray) -> None:
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.depth = torch.from_numpy(depth).nan_to_num(400.0)[None]
        self.T = torch.from_numpy(T).float()[None] * torch.tensor([[1, 1, 1, 3]] * 4)

    def __getitem__(self, task):
        return {"depth": lambda image, K: 3 * self.depth, "ego_motion": lambda images, K: self.T}[task]


@pytest.fixture(scope="module")
def clip():
    source = Source("world:street", count=1, frames=3)
    clips = load_training_clips((source,), CROP, ClipSettings(min_image_motion=0.1), DataFolders(Path()))
    assert len(clips) == 1
    return clips[0]


@pytest.fixture(scope="module")
def motions():
    world = World(WorldSettings(kind="street", frames=3, width=192, height=64))
    return np.stack([np.linalg.inv(world.pose(i)) @ world.pose(i + 1) for i in (0, 1)])


def test_a_perfect_model_has_no_depth_error_and_a_small_photometric_error(clip, motions):
    metrics = clip_metrics(PerfectModels(clip[1].depth, motions), clip, CROP)
    assert metrics["abs_rel"] < 0.01 and metrics["photometric"] < 0.6


def test_a_wrong_motion_and_wrong_depth_of_moving_objects_are_measured(clip, motions):
    moving = clip[1].labels > 0
    assert moving.any()
    depth = np.where(moving, 1.1 * clip[1].depth, clip[1].depth)
    metrics = clip_metrics(PerfectModels(depth, np.stack([np.eye(4)] * 2)), clip, CROP)
    assert metrics["photometric"] == pytest.approx(1, abs=0.05)  # no motion: nothing is warped
    assert metrics["abs_rel moving"] == pytest.approx(0.1, abs=0.02)
    assert metrics["abs_rel"] < 0.5 * metrics["abs_rel moving"]


def test_metrics_are_means_over_the_clips_of_a_folder(clip, motions):
    models = PerfectModels(clip[1].depth, motions)
    alone, result = clip_metrics(models, clip, CROP), validate_clips(models, {"hall": [clip, clip]}, CROP)
    assert result == {f"hall {key}": pytest.approx(value) for key, value in alone.items()}
