"""Evaluation of planes on rendered rooms and on recorded folders."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from depth_ros.datatypes import Planes
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.options import EvaluationOptions
from depth_ros.evaluation.planes import evaluate_planes, planes_selection, recorded_planes
from depth_ros.recordings import open_recording
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
    one, other = recorded_planes(planes_selection(tmp_path / "clip", EvaluationOptions()))
    assert one.name != other.name and len(one.planes.equations) > 2


def test_annotated_planes_are_the_ground_truth(tmp_path, monkeypatch):
    write_folder(World(WorldSettings(kind="room", frames=1, width=160, height=120)), tmp_path / "clip")
    recording = open_recording(tmp_path / "clip")
    labels = np.full((120, 160), -1, np.int32)
    labels[:40], labels[40, 0], labels[60:] = 0, 1, 2  # one of them is too small to count
    equations = np.array([[0, 0, -1, 3.0], [0, 0, -1, 4.0], [0, -1, 0, 1.5]])
    sample = dataclasses.replace(recording[0], planes=Planes(labels, equations))
    monkeypatch.setattr(type(recording), "__getitem__", lambda self, index: sample)
    (found,) = recorded_planes(planes_selection(tmp_path / "clip", EvaluationOptions()))
    assert np.array_equal(found.planes.equations, equations[[2, 0]])  # largest first
    assert [found.planes.labels[row, 0] for row in (0, 40, 60)] == [1, -1, 0]


def test_depth_and_annotation_are_rectified_like_the_image(tmp_path, monkeypatch):
    write_folder(World(WorldSettings(kind="room", frames=1, width=160, height=120)), tmp_path / "clip")
    recording = open_recording(tmp_path / "clip")
    sample = recording[0]
    pinhole = sample.left.camera
    raw = dataclasses.replace(pinhole, distortion=(-0.3, 0.1, 0.0, 0.0, 0.0))
    columns = np.tile(np.arange(160), (120, 1))
    # everywhere the column of the raw pixel: as red, as depth and as label
    image = np.repeat(columns[..., None], 3, 2).astype(np.uint8)
    distorted = dataclasses.replace(
        sample,
        left=dataclasses.replace(sample.left, image=image, camera=raw),
        depth=(1 + columns).astype(np.float32),
        planes=Planes((columns // 40).astype(np.int32), np.tile([0, 0, -1.0, 2.0], (4, 1))),
    )
    monkeypatch.setattr(type(recording), "__getitem__", lambda self, index: distorted)
    (found,) = recorded_planes(planes_selection(tmp_path / "clip", EvaluationOptions()))
    seen = found.frame.image[..., 0].astype(float)
    inside = np.isfinite(found.depth) & (seen > 0)
    assert np.abs(seen - columns)[60].max() > 3, "rectification moves pixels"
    assert np.abs(found.depth - 1 - seen)[inside].max() <= 1
    order = {
        label: k for k, label in enumerate(np.argsort(-np.bincount(np.round(seen[inside]).astype(int) // 40)))
    }
    expected = np.vectorize(order.get)(np.clip(np.round(seen).astype(int) // 40, 0, 3))
    assert (found.planes.labels == expected)[inside].mean() > 0.97  # but at the borders of the stripes


def test_a_recording_without_depth_is_refused(small_model, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(DepthRosError, match=r"no ground truth for planes: it has no depth; .*--depth-topic"):
        evaluate_planes(str(small_model), str(tmp_path))
