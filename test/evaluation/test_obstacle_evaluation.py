"""Recall and false obstacles of clouds, on made-up points and on a rendered room."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from depth_ros.cli import main
from depth_ros.estimators.filters import FilterSettings
from depth_ros.evaluation.metrics.obstacles import Marking, ObstacleMetrics
from depth_ros.evaluation.obstacles import T_ground_camera, compare, with_depth
from depth_ros.evaluation.recorded import depth_of_frame
from depth_ros.world import World, WorldSettings, write_folder

SETTINGS = WorldSettings(kind="room", frames=2, width=160, height=120, seed=4, moving_count=0)


def wall(distance: float, height: float) -> np.ndarray:
    """Points of a wall 1 m wide across x, from the ground upwards."""
    y, z = np.meshgrid(np.arange(-0.45, 0.5, 0.1), np.arange(0.0, height, 0.05))
    return np.column_stack([np.full(y.size, distance), y.ravel(), z.ravel()])


@pytest.mark.parametrize(
    ("points", "recall", "false_cells"),
    [
        (wall(2.05, 1.0), 1.0, 0),
        (wall(2.2, 1.0), 1.0, 0),  # by less than a tenth of the distance
        (wall(2.45, 1.0), 0.0, 10),
        (wall(2.05, 1.0)[:0], 0.0, 0),
        (np.vstack([wall(2.05, 1.0), [[1.05, 0.0, 0.5]]]), 1.0, 1),  # a flying pixel
        (np.vstack([wall(2.05, 1.0), [[1.05, 0.0, 0.05], [1.05, 0.0, 2.0]]]), 1.0, 0),  # floor and ceiling
        (np.vstack([wall(2.05, 1.0), [[4.5, 0.0, 0.5]]]), 1.0, 0),  # out of range
    ],
)
def test_an_obstacle_is_detected_at_its_place_and_false_elsewhere(points, recall, false_cells):
    metrics = ObstacleMetrics(Marking())
    floor = np.column_stack([np.arange(0.55, 2.0, 0.1), np.zeros(15), np.zeros(15)])
    metrics.add(points, np.vstack([wall(2.05, 1.0), floor]))
    assert metrics.obstacles == 10 and metrics.known == 25
    found = metrics.compute()
    assert found["recall"] == recall and found["false_per_m2"] == pytest.approx(false_cells / 0.25)


def test_low_things_need_not_be_detected_and_may_be():
    metrics = ObstacleMetrics(Marking())
    metrics.add(wall(1.05, 0.14), wall(1.05, 0.12))
    assert metrics.obstacles == 0 and metrics.false == 0


@pytest.fixture(scope="module")
def room() -> World:
    return World(SETTINGS)


def test_ground_truth_has_full_recall_and_nothing_false_through_the_same_code(room, tmp_path):
    write_folder(room, tmp_path / "room")
    results = {}
    for model in ("recorded", "semi_global"):
        file = tmp_path / f"{model}.json"
        words = [
            "evaluate",
            "obstacles",
            "--model",
            model,
            "--data",
            str(tmp_path / "room"),
            "--json",
            str(file),
        ]
        assert main(words) == 0
        results[model] = json.loads(file.read_text())
    truth, matched = results["recorded"]["metrics"], results["semi_global"]["metrics"]
    assert results["recorded"]["images"] == 2 and results["recorded"]["obstacle_cells"] > 20
    assert truth["recall"] > 0.98 and truth["recall_unfiltered"] == 1.0
    assert truth["false_per_m2"] == truth["false_per_m2_unfiltered"] == 0.0
    assert matched["recall"] > 0.8 and matched["false_per_m2"] <= matched["false_per_m2_unfiltered"]


def test_the_frame_is_on_the_ground_and_filters_remove_flying_pixels(room):
    sample = room[0]
    truth = depth_of_frame(sample.depth, sample.left)
    T = T_ground_camera(truth)
    assert T[2, 3] == pytest.approx(room.pose(0)[2, 3], rel=0.02)
    assert np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3)) and np.linalg.det(T[:3, :3]) > 0
    assert T[:3, :3] @ room.pose(0)[2, :3] == pytest.approx([0, 0, 1], abs=0.02)  # the vertical
    blurred = sample.depth.copy()
    blurred[:, 1:-1] = (sample.depth[:, :-2] + sample.depth[:, 2:]) / 2  # edges mix near and far
    raw, clean = ObstacleMetrics(Marking()), ObstacleMetrics(Marking())
    filters = FilterSettings(base_frame="ground", min_height=0.1, max_height=1.5, max_depth=8.0)
    compare(with_depth(truth, blurred), truth, T, filters, (raw, clean))
    assert 0 <= clean.false < raw.false / 2
    far = replace(truth, depth=1.3 * truth.depth)
    wrong = ObstacleMetrics(Marking())
    compare(far, truth, T, filters, (wrong, ObstacleMetrics(Marking())))
    assert wrong.compute()["recall"] < 0.8
