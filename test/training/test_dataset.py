"""The data set of a training run."""

import logging
import pickle

import cv2
import numpy as np
import pytest
import torch
from small_recipes import depth_recipe

from depth_ros.errors import DepthRosError
from depth_ros.recordings import DamagedFrame
from depth_ros.training.data.examples import load_examples
from depth_ros.training.data.items import UnusableItem
from depth_ros.training.data.source import DataFolders
from depth_ros.training.dataset import CropDataset, default_workers, load_batches
from depth_ros.training.process_group import SINGLE_PROCESS, ProcessGroup


class NumberedItems:
    """Supervision whose items are numbers."""

    def crop_item(self, item, crop, rng):
        return {"number": torch.tensor(item).numpy()}


class Unusable:
    """Items 0 to 7 of which only some can be used."""

    def __init__(self, usable, error=UnusableItem) -> None:
        self.usable, self.error = usable, error

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> int:
        if index in self.usable:
            return index
        raise self.error(f"{index} is of no use")


@pytest.fixture(scope="module")
def examples(data):
    return load_examples(depth_recipe().sources, DataFolders(data))


def test_a_crop_depends_on_its_index_and_the_seed_alone(examples):
    one, other = CropDataset(examples, depth_recipe()), CropDataset(examples, depth_recipe())
    one[3]
    torch.testing.assert_close(one[5]["image"], other[5]["image"], rtol=0, atol=0)
    assert not torch.equal(one[5]["image"], one[4]["image"])


def test_another_seed_crops_an_example_elsewhere(examples):
    crops = [CropDataset([examples[0]], depth_recipe(seed=seed))[0]["intrinsics"] for seed in (0, 1)]
    assert not torch.equal(*crops)


def test_every_epoch_uses_each_example_once_in_another_order():
    crops = CropDataset(range(8), depth_recipe(supervision=NumberedItems()))
    assert len(crops) == 12
    epochs = [[int(crops[epoch * 8 + i]["number"]) for i in range(8)] for epoch in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(8))] * 2 and epochs[0] != epochs[1]


def numbers(crops: CropDataset, first: int = 0) -> list[int]:
    return [int(crops[first + i]["number"]) for i in range(8)]


def test_in_place_of_an_unusable_item_the_next_of_the_epoch_is_taken():
    recipe = depth_recipe(supervision=NumberedItems(), steps=100)
    order = numbers(CropDataset(range(8), recipe))
    found = numbers(CropDataset(Unusable({0, 1, 2, 5, 6, 7}), recipe))
    expected = [next(n for n in order[i:] + order if n not in (3, 4)) for i in range(8)]
    assert found == expected != order


def test_without_a_usable_item_training_stops_with_the_reason():
    crops = CropDataset(Unusable(()), depth_recipe(supervision=NumberedItems()))
    with pytest.raises(DepthRosError, match=r"nothing can be learned from 8 training items .* is of no use"):
        crops[0]


def test_a_damaged_frame_is_named_once(caplog):
    crops = CropDataset(Unusable({0}, DamagedFrame), depth_recipe(supervision=NumberedItems()))
    with caplog.at_level(logging.WARNING, "depth_ros"):
        assert set(numbers(crops)) == {0}
    assert sorted(record.getMessage() for record in caplog.records) == [
        f"skipped a damaged frame: {number} is of no use" for number in range(1, 8)
    ]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_are_the_same_however_many_workers_load_them(examples, workers):
    crops = CropDataset(examples, depth_recipe())
    batches = list(load_batches(crops, range(1, 4), SINGLE_PROCESS, workers))
    assert len(batches) == 3
    for step, batch in zip(range(1, 4), batches, strict=True):
        for i in range(2):
            torch.testing.assert_close(batch["image"][i], crops[2 * step + i]["image"], rtol=0, atol=0)


def test_workers_do_not_wait_for_threads_that_a_fork_has_lost(examples):
    threads = cv2.getNumThreads()
    cv2.setNumThreads(4)
    try:
        image = np.zeros((2000, 2000, 3), np.uint8)
        cv2.GaussianBlur(cv2.resize(image, (1000, 1000)), (0, 0), 3)  # starts the threads
        crops = CropDataset(examples, depth_recipe())
        assert len(list(load_batches(crops, range(2), SINGLE_PROCESS, 2))) == 2
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(threads)


def test_an_error_in_a_worker_keeps_its_text():
    crops = CropDataset(Unusable(()), depth_recipe(supervision=NumberedItems()))
    with pytest.raises(DepthRosError, match=r"^nothing can be learned from 8 training items"):
        list(load_batches(crops, range(2), SINGLE_PROCESS, 1))


def test_a_data_set_can_be_sent_to_processes_that_are_not_forked(examples):
    crops = CropDataset(examples, depth_recipe())
    copy = pickle.loads(pickle.dumps(crops))
    torch.testing.assert_close(copy[3]["image"], crops[3]["image"], rtol=0, atol=0)


def test_one_processor_is_left_to_training(monkeypatch):
    for processors, processes, workers in ((1, 1, 1), (2, 1, 1), (6, 1, 5), (64, 1, 8), (8, 2, 3)):
        monkeypatch.setattr("os.sched_getaffinity", lambda process, n=processors: set(range(n)))
        assert default_workers(ProcessGroup(0, processes, "cpu")) == workers
