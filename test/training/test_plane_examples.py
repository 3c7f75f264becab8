"""What planes_indoor learns from: planes stay true when cropped, mirrored, rolled; recorded depth gets some."""

import dataclasses

import numpy as np
import pytest
import torch

from depth_ros.networks.blocks.planes import pixel_rays, plane_depths
from depth_ros.training.augment import Crops, crop
from depth_ros.training.examples import Example, load_planes, planes_of
from depth_ros.training.recipes import Source, recipe
from depth_ros.world import World, WorldSettings, write_folder

SMALL = dataclasses.replace(
    recipe("planes_indoor"), width=128, height=64, sources=(Source("world:room", count=1),)
)


@pytest.fixture(scope="module")
def example():
    (found,) = load_planes(SMALL.sources, None)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_depth_of_the_planes_is_the_depth_of_the_crop(example, seed):
    item = crop(example, SMALL, np.random.default_rng(seed))
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


def test_items_are_those_that_the_loss_takes(example):
    item = Crops([example], SMALL)[3]
    assert {key: tuple(value.shape) for key, value in item.items()} == {
        "image": (64, 128, 3), "depth": (64, 128), "weight": (64, 128), "intrinsics": (3, 3),
        "labels": (64, 128), "planes": (20, 3),
    }  # fmt: skip


def test_a_known_room_is_seen_as_it_is(example):
    """planes_room neither mirrors nor turns nor recolours: its crops are windows of the image."""
    known = dataclasses.replace(recipe("planes_room"), width=320, height=240, zoom=1.0)
    for seed in range(3):
        item = crop(example, known, np.random.default_rng(seed))
        np.testing.assert_array_equal(item["image"], example.image)
        np.testing.assert_array_equal(item["intrinsics"], example.camera.K.astype(np.float32))


def test_recorded_depth_gets_fitted_planes_if_it_is_planar(tmp_path):
    write_folder(World(WorldSettings(kind="room", frames=2, width=160, height=120)), tmp_path / "clip")
    (found, *_) = load_planes((Source("clip", part="all"),), tmp_path)
    assert len(found.planes.equations) >= 3 and (found.planes.labels >= 0).mean() > 0.5
    rough = found.depth + np.random.default_rng(0).normal(0, 1, found.depth.shape).astype(np.float32)
    assert planes_of(Example(found.image, found.camera, rough, found.weight)) is None
