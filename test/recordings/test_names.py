"""Several recordings: patterns, natural order, unique names."""

from __future__ import annotations

from pathlib import Path

import pytest

from depth_ros.errors import DepthRosError
from depth_ros.recordings.names import find_recordings


@pytest.fixture()
def folder(tmp_path, monkeypatch):
    for name in ("run_10", "run_2", "run_1", "day/one/bag", "day/two/bag", "[x]"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a.mcap", "a.bag", "B.mcap"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_patterns_are_expanded_in_natural_order_and_paths_kept_as_given(folder):
    found = find_recordings(["B.mcap", "run_*", "./run_2", str(folder / "run_1"), "nothing"])
    assert list(found) == ["B", "run_1", "run_2", "run_10", "nothing"]
    assert found["run_2"] == Path("run_2") and found["nothing"] == Path("nothing")


def test_a_pattern_that_matches_nothing_is_named(folder):
    with pytest.raises(DepthRosError, match=r"'bags/\*\.mcap' matches nothing"):
        find_recordings(["run_1", "bags/*.mcap"])


def test_a_path_that_exists_is_no_pattern(folder):
    assert find_recordings(["[x]"]) == {"[x]": Path("[x]")}


def test_names_are_unique_and_no_longer_than_necessary(folder):
    assert list(find_recordings(["day/*/bag", "run_1"])) == ["day_one_bag", "day_two_bag", "run_1"]
    assert list(find_recordings(["day/*/bag"])) == ["one_bag", "two_bag"]
    assert list(find_recordings(["a.*"])) == ["a.bag", "a.mcap"]
    (folder / "b.bag").touch()
    assert list(find_recordings(["B.mcap", "b.bag"])) == ["B.mcap", "b.bag"]
    for name in ("one_bag/x", "one/bag/x", "one_bag_x/y/x"):
        (folder / "c" / name).mkdir(parents=True)
    assert list(find_recordings(["c/one_bag/x", "c/one/bag/x"])) == ["one_bag_x", "one_bag_x_2"]
