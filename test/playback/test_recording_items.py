"""Outputs of several recordings: their places, and what a killed process leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from depth_ros.errors import DepthRosError
from depth_ros.playback.recording_items import new_output, output_paths


def test_a_folder_or_a_bag_for_each_recording(tmp_path):
    names = ["run", "other.bag"]
    assert output_paths(tmp_path / "out", names) == {name: tmp_path / "out" / name for name in names}
    assert output_paths(tmp_path / "out.mcap", names) == {
        name: tmp_path / f"out/{name}.mcap" for name in names
    }
    assert output_paths(None, names) == {}
    assert output_paths(None, names, "{}_depth")["run"] == Path("run_depth")


def test_results_of_before_are_not_mixed_with_new_ones(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").touch()
    for out in (tmp_path / "out", tmp_path / "out.mcap"):
        with pytest.raises(DepthRosError, match="out exists already"):
            output_paths(out, ["run"])


def test_an_output_appears_when_it_is_whole(tmp_path):
    (tmp_path / ".out.part/out").mkdir(parents=True)  # of a process that was killed
    (tmp_path / ".out.part/out/half").touch()
    with new_output(tmp_path / "out") as target:
        assert target is not None and not target.exists()
        target.mkdir()
        (target / "whole").touch()
        assert not (tmp_path / "out").exists()
    assert [file.name for file in tmp_path.rglob("*")] == ["out", "whole"]


def test_a_failed_output_is_removed(tmp_path):
    with pytest.raises(ValueError, match="x"), new_output(tmp_path / "out") as target:
        assert target is not None
        target.mkdir()
        raise ValueError("x")
    assert not list(tmp_path.iterdir())
    with new_output(None) as target:
        assert target is None
