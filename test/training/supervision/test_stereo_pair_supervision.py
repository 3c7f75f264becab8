"""Stereo pair supervision: whole pairs at the size of the crop."""

from dataclasses import replace

import numpy as np
import pytest

from depth_ros.training.data.examples import load_examples
from depth_ros.training.data.items import UnusableItem
from depth_ros.training.data.source import DataFolders
from depth_ros.training.recipes import CropSettings, Source
from depth_ros.training.supervision.stereo_pairs import StereoPairSupervision, with_right_image


def test_a_pair_is_resized_as_a_whole(data):
    example = load_examples((Source("clip"),), DataFolders(data))[0]
    item = StereoPairSupervision().crop_item(example, CropSettings(64, 48), np.random.default_rng(0))
    assert item["image"].shape == item["right"].shape == (48, 64, 3)
    np.testing.assert_allclose(item["intrinsics"], example.camera.resized(64, 48).K, rtol=1e-6)
    assert (item["image"] != item["right"]).any()


def test_an_image_without_a_right_image_is_an_error(data):
    example = load_examples((Source("clip"),), DataFolders(data))[0]
    with pytest.raises(UnusableItem, match="needs sources with two cameras"):
        with_right_image(replace(example, right=None))
