"""Work is spread over processes without changing its results or their order."""

import os
from functools import partial

import numpy as np
import pytest

from depth_ros.training import parallel
from depth_ros.training.clips import rendered
from depth_ros.training.parallel import FEW, spread
from depth_ros.training.recipes import Source, recipe


def where(thing: int) -> tuple[int, int]:
    return thing, os.getpid()


def failing(thing: int) -> int:
    raise ValueError(f"thing {thing}")


def test_many_things_are_worked_on_elsewhere_and_keep_their_order(monkeypatch):
    monkeypatch.setattr(parallel, "available", lambda: 2)
    found = spread(where, range(5 * FEW))
    assert [thing for thing, _ in found] == list(range(5 * FEW))
    assert os.getpid() not in {process for _, process in found}


def test_few_things_are_worked_on_here(monkeypatch):
    monkeypatch.setattr(parallel, "available", lambda: 2)
    assert spread(where, range(FEW)) == [(thing, os.getpid()) for thing in range(FEW)]


def test_what_fails_elsewhere_fails_here(monkeypatch):
    monkeypatch.setattr(parallel, "available", lambda: 2)
    with pytest.raises(ValueError, match="thing 0"):
        spread(failing, range(2 * FEW))


def test_a_street_is_the_same_whichever_process_renders_it(monkeypatch):
    monkeypatch.setattr(parallel, "available", lambda: 2)
    monkeypatch.setattr(parallel, "FEW", 2)
    small = recipe("struct2depth_street")
    work = partial(rendered, Source("world:street", frames=1), small)
    elsewhere = spread(work, range(3))
    for seed, (moment,) in enumerate(elsewhere):
        (here,) = work(seed)
        assert (here.image == moment.image).all() and (here.labels == moment.labels).all()
        np.testing.assert_array_equal(here.depth, moment.depth)
        assert here.camera.width == moment.camera.width and (here.camera.K == moment.camera.K).all()
