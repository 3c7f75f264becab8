"""Several recordings in one command, as a user types it, with one that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from depth_ros.cli import main
from depth_ros.recordings import open_recording
from depth_ros.world import World, WorldSettings, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Rooms of 2, 3 and 4 frames, and a folder that is no recording."""
    folder = tmp_path_factory.mktemp("rooms")
    for frames in (2, 3, 4):
        settings = WorldSettings(kind="room", frames=frames, width=96, height=64, seed=frames)
        write_folder(World(settings), folder / f"room_{frames}")
    (folder / "room_10").mkdir()
    return folder


@pytest.fixture(autouse=True)
def environment(shared_engine_cache, monkeypatch, folder):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TQDM_DISABLE", "1")


def evaluate(model: Path, *arguments: str) -> int:
    return main(["evaluate", "depth", "--model", str(model), "--backend", "eager", *arguments])


def known(metrics: dict) -> dict:
    return {key: value for key, value in metrics.items() if value is not None}


def without_times(result: dict) -> dict:
    return {key: value for key, value in result.items() if key not in ("ms_per_image", "name")}


def test_results_of_two_jobs_are_those_of_single_runs(folder, small_model, tmp_path, capsys):
    report, target = tmp_path / "all.html", tmp_path / "all.json"
    options = ["--report", str(report), "--json", str(target)]
    assert evaluate(small_model, "--data", "room_?", "room_10", "--jobs", "2", *options) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["recording", "images", "abs_rel"]
    assert f"report: {report}" in lines and lines[-1].startswith("room_10: 'room_10' is no recording")
    content = json.loads(target.read_text())
    assert list(content["failed"]) == ["room_10"]
    errors = []
    for result in content["recordings"]:
        assert evaluate(small_model, "--data", result["name"], "--json", "-") == 0
        alone = json.loads(capsys.readouterr().out)
        for key in ("metrics", "baseline"):
            assert known(result.pop(key)) == pytest.approx(known(alone.pop(key)), rel=1e-5)
        assert without_times(result) == without_times(alone)
        errors.append(float(lines[1 + len(errors)].split()[2]))
        assert (tmp_path / f"all/{result['name']}.html").is_file()
    assert len(errors) == 3 and errors == sorted(errors, reverse=True)
    assert content["mean_over_recordings"]["abs_rel"] == pytest.approx(np.mean(errors), abs=1e-3)


def test_replay_and_predict_write_a_folder_for_each(folder, small_model, tmp_path, capsys):
    for command in ("replay", "predict"):
        out = tmp_path / command
        model = ["--model", str(small_model), "--backend", "eager", "--limit", "1", "--jobs", "1"]
        assert main([command, "room_2", "room_3", *model, "--out", str(out)]) == 0
        printed = capsys.readouterr().out
        assert {path.name for path in out.iterdir()} == {"room_2", "room_3"}
        assert all(open_recording(path).contents.predicted_depth for path in out.iterdir())
        assert "room_2" in printed and "room_3" in printed and str(folder) not in printed


def test_options_for_one_recording_are_refused_for_several(folder, capsys):
    for command, option in (("replay", "--through-ros"), ("predict", "--open")):
        assert main([command, "room_2", "room_3", option]) == 1
        assert f"{option} " in capsys.readouterr().err
    assert main(["replay", "house_*"]) == 1
    assert "'house_*' matches nothing" in capsys.readouterr().err
    assert main(["replay", "room_*", "--jobs", "-1"]) == 1
    assert "--jobs is -1" in capsys.readouterr().err
