"""Plane supervision: planes stay exact in crops; recorded depth gets fitted planes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_ros.networks.blocks.planes import pixel_rays, plane_depths
from depth_ros.training.data.example import Example
from depth_ros.training.data.items import UnusableItem
from depth_ros.training.data.source import DataFolders
from depth_ros.training.dataset import CropDataset
from depth_ros.training.recipes import CropSettings, Source, find_recipe
from depth_ros.training.supervision.planes import plane_targets, with_planes

RECIPE = replace(
    find_recipe("planes_indoor"),
    crop=CropSettings(128, 64, max_roll=15.0),
    sources=(Source("world:room", count=1),),
)


@pytest.fixture(scope="module")
def example():
    return RECIPE.supervision.load_training_data(RECIPE.sources, RECIPE.crop, DataFolders(Path()))[0]


@pytest.mark.parametrize("seed", range(4))
def test_the_planes_of_a_crop_have_its_depth(example, seed):
    item = RECIPE.supervision.crop_item(example, RECIPE.crop, np.random.default_rng(seed))
    planes, labels = torch.from_numpy(item["planes"]), torch.from_numpy(np.ascontiguousarray(item["labels"]))
    assert planes.shape == (20, 3) and labels.shape == (64, 128) and labels.max() < 20
    valid = torch.isfinite(planes).all(1)
    assert set(labels.unique().tolist()) - {-1} == set(range(int(valid.sum()))) and valid.sum() >= 3
    directions = pixel_rays(torch.from_numpy(item["intrinsics"])[None], (64, 128))
    depths = plane_depths(planes.nan_to_num(nan=1e3)[None], directions, 100.0)[0]
    composed = depths.gather(0, labels.clamp(min=0)[None].long())[0].numpy()
    depth = np.ascontiguousarray(item["depth"])
    on = (labels.numpy() >= 0) & np.isfinite(depth)
    relative = np.abs(composed - depth)[on] / depth[on]
    assert on.mean() > 0.5 and np.median(relative) < 0.01 and np.percentile(relative, 90) < 0.06


def test_pixels_beyond_the_maximum_number_of_planes_belong_to_no_plane(example):
    few = plane_targets(example.planes, 2)
    assert few["planes"].shape == (2, 3) and set(np.unique(few["labels"])) == {-1, 0, 1}
    areas = [(few["labels"] == k).sum() for k in (0, 1)]
    assert areas[0] >= areas[1]


def test_a_crop_has_the_entries_that_the_loss_takes(example):
    item = CropDataset([example], RECIPE)[3]
    assert {key: tuple(value.shape) for key, value in item.items()} == {
        "image": (64, 128, 3), "depth": (64, 128), "weight": (64, 128), "intrinsics": (3, 3),
        "labels": (64, 128), "planes": (20, 3),
    }  # fmt: skip


def test_planes_room_does_not_augment(example):
    recipe = find_recipe("planes_room")
    crop = replace(recipe.crop, width=320, height=240, zoom=1.0)
    for seed in range(3):
        item = recipe.supervision.crop_item(example, crop, np.random.default_rng(seed))
        np.testing.assert_array_equal(item["image"], example.image)
        np.testing.assert_array_equal(item["intrinsics"], example.camera.K.astype(np.float32))


def test_recorded_depth_gets_fitted_planes_if_it_is_planar(data):
    sources = (Source("clip", part="all"),)
    example = RECIPE.supervision.load_training_data(sources, RECIPE.crop, DataFolders(data))[0]
    assert len(example.planes.equations) >= 3 and (example.planes.labels >= 0).mean() > 0.5
    noise = np.random.default_rng(0).normal(0, 1, example.depth.shape).astype(np.float32)
    noisy = Example(example.image, example.camera, example.depth + noise, example.weight)
    with pytest.raises(UnusableItem, match="planes cover less than 50%"):
        with_planes(noisy)
