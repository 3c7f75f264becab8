"""Items on a Ray cluster of this machine."""

from __future__ import annotations

from functools import partial

import pytest
from test_processes import assert_squares, items, killed

from depth_ros.errors import DepthRosError
from depth_ros.parallel import RayCluster, WorkItem

ray = pytest.importorskip("ray", reason="ray is not installed: pip install ray")


@pytest.fixture()
def stopped():
    yield
    ray.shutdown()


def test_one_killed_worker_costs_nothing_and_its_item_is_counted_once(tmp_path, stopped):
    finished = []
    cluster = RayCluster("local")
    given = items(tmp_path, WorkItem("once", partial(killed, tmp_path, 1)))
    outcomes = cluster.map(given, lambda: finished.append(1))
    assert_squares(outcomes, tmp_path)
    assert outcomes["once"].result == {"square": 99**2} and len(finished) == 5
    assert len((tmp_path / "99").read_text().splitlines()) == 2


def test_an_item_that_always_kills_its_worker_costs_only_itself(tmp_path, stopped):
    outcomes = RayCluster("local").map(items(tmp_path, WorkItem("always", partial(killed, tmp_path, 9))))
    assert_squares(outcomes, tmp_path)
    assert outcomes["always"].result is None and outcomes["always"].problem.startswith("Ray: ")


def test_an_address_without_a_cluster_is_named(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(DepthRosError, match="no Ray cluster at 'auto': "):
        RayCluster("auto")
