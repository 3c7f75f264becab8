"""The data set of a training run."""

import pytest
import torch
from small_recipes import depth_recipe

from depth_ros.training.data.examples import load_examples
from depth_ros.training.dataset import CropDataset


@pytest.fixture(scope="module")
def examples(data):
    return load_examples(depth_recipe().sources, data)


def test_a_crop_depends_on_its_index_and_the_seed_alone(examples):
    one, other = CropDataset(examples, depth_recipe()), CropDataset(examples, depth_recipe())
    one[3]
    torch.testing.assert_close(one[5]["image"], other[5]["image"], rtol=0, atol=0)
    assert not torch.equal(one[5]["image"], one[4]["image"])


def test_another_seed_crops_an_example_elsewhere(examples):
    crops = [CropDataset(examples[:1], depth_recipe(seed=seed))[0]["intrinsics"] for seed in (0, 1)]
    assert not torch.equal(*crops)


def test_every_epoch_uses_each_example_once_in_another_order():
    class NumberedItems:
        """Supervision whose items are numbers."""

        def crop_item(self, item, crop, rng):
            return {"number": torch.tensor(item).numpy()}

    crops = CropDataset(range(8), depth_recipe(supervision=NumberedItems()))
    assert len(crops) == 12
    epochs = [[int(crops[epoch * 8 + i]["number"]) for i in range(8)] for epoch in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(8))] * 2 and epochs[0] != epochs[1]
