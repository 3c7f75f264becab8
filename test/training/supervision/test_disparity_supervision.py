"""Disparity supervision: recorded, mirrored and generated pairs with their disparity."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from depth_ros.recordings import open_recording
from depth_ros.training.colours import jitter_colours
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.source import DataFolders
from depth_ros.training.recipes import Source
from depth_ros.training.supervision import disparity
from depth_ros.training.supervision.disparity import DisparitySupervision, load_pairs, mirrored_pair_example
from depth_ros.world import World, WorldSettings

CROP = CropSettings(128, 64, zoom=1.5)


@pytest.fixture(scope="module")
def sample():
    return World(WorldSettings(kind="street", frames=1, width=256, height=96))[0]


def matching_error(left: np.ndarray, right: np.ndarray, disparity: np.ndarray, offset: float) -> float:
    """Mean colour difference of the pixels that a disparity plus an offset matches."""
    rows, columns = np.nonzero(np.isfinite(disparity))
    targets = np.rint(columns - disparity[rows, columns] - offset).astype(int)
    inside = (targets >= 0) & (targets < left.shape[1])
    matched = right[rows[inside], targets[inside]].astype(int)
    return np.abs(matched - left[rows[inside], columns[inside]]).mean()


def test_a_mirrored_pair_matches_at_its_disparity(sample):
    example = mirrored_pair_example(sample, stereo_weight=0.1)
    disparity = example.fx_baseline / example.depth
    valid = np.isfinite(disparity)
    assert valid.mean() > 0.4 and np.array_equal(valid, example.weight > 0)
    errors = [matching_error(example.image, example.right, disparity, offset) for offset in (0, -4, 4)]
    assert errors[0] < 0.7 * min(errors[1:])


def test_rendered_scenes_are_pairs_that_match_at_their_disparity():
    example = load_pairs((Source("world:room", count=1),), DataFolders(Path()))[0]
    disparity = example.fx_baseline / example.depth
    errors = [matching_error(example.image, example.right, disparity, offset) for offset in (0, -4, 4)]
    assert errors[0] < 0.7 * min(errors[1:])


def test_a_crop_of_a_recorded_pair_matches_at_its_disparity(data, monkeypatch):
    monkeypatch.setattr(disparity, "jitter_colours", lambda image, rng: image)
    monkeypatch.setattr(disparity, "vary_photometry", lambda left, right, rng: (left, right))
    items = load_pairs((Source("clip"),), DataFolders(data))
    supervision = DisparitySupervision()
    for seed in range(4):
        item = supervision.crop_item(items[0], CropSettings(96, 64), np.random.default_rng(seed))
        assert item["image"].shape == item["right"].shape == (64, 96, 3)
        errors = [
            matching_error(item["image"], item["right"], item["disparity"], offset) for offset in (0, -4, 4)
        ]
        assert errors[0] < 0.8 * min(errors[1:])


def test_disparity_is_in_pixels_of_the_crop(data):
    item = load_pairs((Source("clip"),), DataFolders(data))[0]
    item = replace(item, depth=np.full_like(item.depth, item.fx_baseline / 10))
    crop = CropSettings(64, 48, zoom=0.8)  # the smallest scale: a window of 80 x 60 px
    cropped = DisparitySupervision().crop_item(item, crop, np.random.default_rng(0))
    np.testing.assert_allclose(cropped["disparity"], 8, rtol=1e-5)


def test_both_images_of_a_pair_get_the_same_colours(data, monkeypatch):
    item = load_pairs((Source("clip"),), DataFolders(data))[0]
    jittered = []

    def record(image, rng):
        jittered.append(jitter_colours(image, rng))
        return jittered[-1]

    monkeypatch.setattr(disparity, "jitter_colours", record)
    same = replace(item, right=item.image)
    DisparitySupervision().crop_item(same, CropSettings(96, 64), np.random.default_rng(1))
    np.testing.assert_array_equal(jittered[0], jittered[1])


def test_generated_pairs_take_textures_of_recorded_images_and_are_new_each_time(data):
    items = load_pairs((Source("clip"), Source("world:pairs", count=3)), DataFolders(data))
    generator = items[10]
    assert len(items) == 8 + 3 and items[8] is generator
    assert len(generator.textures) == 8
    supervision = DisparitySupervision()
    one, other = (supervision.crop_item(generator, CROP, np.random.default_rng(seed)) for seed in (0, 1))
    assert one["image"].shape == (64, 128, 3) and one["disparity"].shape == (64, 128)
    assert (one["image"] != other["image"]).any()


def test_a_recording_of_one_camera_lends_textures_only(data, tmp_path):
    alone = tmp_path / "alone"
    shutil.copytree(data / "clip", alone)
    shutil.rmtree(alone / "right")
    items = load_pairs((Source("alone"), Source("world:pairs", count=1)), DataFolders(tmp_path))
    assert len(items) == 1 and len(items[0].textures) == 8
    np.testing.assert_array_equal(items[0].textures[3], open_recording(alone)[3].left.image)
