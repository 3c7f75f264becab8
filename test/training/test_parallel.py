"""parallel_map: same results in the same order, computed by other processes."""

import os
from functools import partial

import numpy as np
import pytest

from depth_ros.training import parallel
from depth_ros.training.data.clips import render_recording
from depth_ros.training.parallel import MAX_SERIAL_ITEMS, parallel_map
from depth_ros.training.recipes import CropSettings, Source


@pytest.fixture(autouse=True)
def _two_processors(monkeypatch):
    monkeypatch.setattr(parallel, "processor_count", lambda: 2)


def item_and_process(item: int) -> tuple[int, int]:
    return item, os.getpid()


def failing(item: int) -> int:
    raise ValueError(f"item {item}")


def test_many_items_are_processed_elsewhere_and_keep_their_order():
    results = parallel_map(item_and_process, range(5 * MAX_SERIAL_ITEMS))
    assert [item for item, _ in results] == list(range(5 * MAX_SERIAL_ITEMS))
    assert os.getpid() not in {process for _, process in results}


def test_few_items_are_processed_here():
    results = parallel_map(item_and_process, range(MAX_SERIAL_ITEMS))
    assert results == [(item, os.getpid()) for item in range(MAX_SERIAL_ITEMS)]


def test_an_exception_of_another_process_is_raised_here():
    with pytest.raises(ValueError, match="item 0"):
        parallel_map(failing, range(2 * MAX_SERIAL_ITEMS))


def test_every_process_renders_the_same_street(monkeypatch):
    monkeypatch.setattr(parallel, "MAX_SERIAL_ITEMS", 2)
    source, crop = Source("world:street", frames=1), CropSettings(112, 32)
    render = partial(render_recording, source, crop, 3)
    for seed, (frame,) in enumerate(parallel_map(render, range(3))):
        (here,) = render(seed)
        assert (here.image == frame.image).all() and (here.labels == frame.labels).all()
        np.testing.assert_array_equal(here.depth, frame.depth)
        assert here.camera.width == frame.camera.width and (here.camera.K == frame.camera.K).all()
