"""Evaluation of planes on rendered rooms and on recorded folders."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.options import EvaluationOptions
from depth_ros.evaluation.planes import evaluate_planes, recorded_planes
from depth_ros.world import World, WorldSettings, write_folder


def test_rendered_rooms_give_recalls_and_a_report(small_model, engine_cache, tmp_path):
    report = tmp_path / "report.html"
    options = EvaluationOptions(limit=2, engine=EngineSettings("eager", "float32", "cpu"), report=report)
    result = evaluate_planes(str(small_model), "world:room", options)
    assert result["images"] == 2 and result["ground_truth_planes"] > 8 and result["model"] == "small"
    recalls = [value for name, value in result["metrics"].items() if name.startswith("plane_recall")]
    assert len(recalls) == 6 and sorted(recalls) == recalls and 0 <= recalls[-1] <= 1
    page = report.read_text()
    assert page.count("<figure>") == 8 and page.count("<polyline") == 2 * len(result["curves"]) == 12
    assert result["curves"]["IoU > 0.5"]["planes"][1] == result["metrics"]["plane_recall_0.05_m"]
    assert {"rmse", "log10", "delta3"} <= set(result["metrics"])


def test_planes_of_a_recorded_folder_are_fitted_to_its_depth(tmp_path):
    write_folder(World(WorldSettings(kind="room", frames=2, width=160, height=120)), tmp_path / "clip")
    one, other = recorded_planes(tmp_path / "clip", EvaluationOptions())
    assert one.name != other.name and len(one.planes.equations) > 2


def test_a_recording_without_depth_is_refused(small_model, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(DepthRosError, match=r"no ground truth for planes: it has no depth; .*--depth-topic"):
        evaluate_planes(str(small_model), str(tmp_path))
