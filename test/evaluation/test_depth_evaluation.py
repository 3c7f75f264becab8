"""Evaluation of depth models: comparison, JSON, report, recorded depth, command-line options."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from depth_ros.cli import main
from depth_ros.datatypes import Camera, Depth, Frame
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.depth import compare, evaluate_depth, evaluate_recorded_depth, model_input
from depth_ros.evaluation.metrics.depth import METRICS
from depth_ros.evaluation.metrics.protocols import PROTOCOLS
from depth_ros.evaluation.options import EvaluationOptions
from depth_ros.evaluation.report.depth import format_metric
from depth_ros.evaluation.setup import evaluation_setup, select
from depth_ros.recordings import Sample, open_recording
from depth_ros.world import World, WorldSettings, write_folder

EAGER = EvaluationOptions(engine=EngineSettings(backend="eager", precision="float32", device="cpu"))
KEYS = ["model", "data", "protocol", "images", "metrics", "baseline", "engine", "ms_per_image"]


@dataclass
class RecordedImage:
    stamp: int
    image: np.ndarray
    latency: float


class ScaledGroundTruth:
    """Predicts the ground-truth depth of a folder times a factor."""

    def __init__(self, samples: list[Sample], factor: float) -> None:
        self.samples, self.factor = {sample.left.stamp: sample for sample in samples}, factor

    def estimate(self, frame: Frame) -> Depth:
        depth = self.factor * self.samples[frame.stamp].depth
        return Depth(frame.stamp, "", depth, frame.camera, frame.image)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rendered stereo frames with exact depth, on disk."""
    world = World(WorldSettings(kind="street", frames=6, width=256, height=96))
    return write_folder(world, tmp_path_factory.mktemp("clip") / "street")


def external_resources(html: str) -> list[str]:
    """Everything in a report that a browser would have to download."""
    targets = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')\s>]+)', html)
    return [target for target in targets if not target.startswith(("data:", "#"))]


def test_result_and_report_of_a_model(clip, small_model, engine_cache, tmp_path) -> None:
    report, steps = tmp_path / "made" / "report.html", []

    def progress(done: int, total: int) -> None:
        steps.append((done, total))

    options = dataclasses.replace(EAGER, report=report, command="typed <this>", progress=progress)
    result = evaluate_depth(str(small_model), clip, options)
    assert list(result) == KEYS
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert list(result["metrics"]) == list(result["baseline"]) == list(METRICS)
    assert result["images"] == 6
    assert steps == [(i, 6) for i in range(1, 7)]
    missing = {key for key, value in result["metrics"].items() if value is None and not key.startswith("si_")}
    assert missing == {"within_std", "within_2_std", "surest_80", "ause"}  # it predicts no standard deviation
    assert "leave one out" in result["protocol"]
    assert result["engine"].startswith("eager")
    text = report.read_text()
    assert external_resources(text) == []
    assert "<script" not in text
    for name, value in result["metrics"].items():
        if value is None:
            continue
        assert format_metric(name, value) in text, name
        assert format_metric(name, result["baseline"][name]) in text, name
    assert "typed &lt;this&gt;" in text
    assert text.count("data:image/jpeg") == 5 * 4 + 1  # strips and the point cloud
    assert text.count("<svg") == 1


def test_report_shows_the_training_curves_of_the_model(clip, small_model, engine_cache, tmp_path) -> None:
    """If it has them; `test_result_and_report_of_a_model` counts none without."""
    model, report = shutil.copytree(small_model, tmp_path / "small"), tmp_path / "report.html"
    (model / "training.svg").write_text("<svg>loss</svg>")
    evaluate_depth(str(model), clip, dataclasses.replace(EAGER, report=report, limit=1))
    assert "<svg>loss</svg>" in report.read_text()


def test_perfect_depth_and_half_of_it(clip) -> None:
    folder = open_recording(clip)
    setup = evaluation_setup(select(folder, "all"))
    samples = [folder[index] for index in range(6)]
    perfect = compare(ScaledGroundTruth(samples, 1.0), setup)
    assert perfect.images == 6
    assert perfect.metrics["delta1"] == 1.0
    assert perfect.metrics["d1_all"] == perfect.metrics["abs_rel"] == 0.0
    assert perfect.baseline["abs_rel"] > 0.05
    half = compare(ScaledGroundTruth(samples, 0.5), setup)
    assert half.metrics["abs_rel"] == pytest.approx(0.5, abs=0.01)
    assert half.baseline == perfect.baseline


def test_ranking_is_from_best_to_worst(clip) -> None:
    folder = open_recording(clip)
    estimator = ScaledGroundTruth([folder[index] for index in range(6)], 1.0)
    factors = {folder[index].left.stamp: 1 - 0.1 * abs(index - 3) for index in range(6)}

    class Varying:
        def estimate(self, frame: Frame) -> Depth:
            depth = estimator.estimate(frame)
            return replace(depth, depth=factors[frame.stamp] * depth.depth)

    ranking = compare(Varying(), evaluation_setup(select(folder, "all"))).ranking
    assert [error for error, _ in ranking] == pytest.approx([0, 0.1, 0.1, 0.2, 0.2, 0.3], abs=0.01)
    assert ranking[0][1] == 3 and ranking[-1][1] == 0


def test_recorded_depth_is_matched_by_stamp(clip, small_model, tmp_path) -> None:
    folder = open_recording(clip)
    samples = [folder[index] for index in (4, 1)]
    recorded = [RecordedImage(sample.left.stamp, sample.depth[::2, ::2], 0.05) for sample in samples]
    result = evaluate_recorded_depth(recorded, str(small_model), folder, clip, tmp_path / "report.html")
    assert list(result) == KEYS
    assert (result["images"], result["ms_per_image"]) == (2, pytest.approx(50.0))
    assert result["metrics"]["delta1"] > 0.9
    assert "2 of 6, those with recorded depth" in result["protocol"]
    with pytest.raises(DepthRosError, match="none of 1 depth images has the stamp of an image"):
        evaluate_recorded_depth([replace(recorded[0], stamp=5)], str(small_model), folder, clip)


def test_nyu_model_input_is_the_centre_of_the_image_without_smoothing() -> None:
    """640x480 halved by nearest neighbour, 8 and 6 px cut: 304x228, whose first pixel is (16, 12) of the image."""
    image = np.zeros((480, 640, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(640) % 251, (np.arange(480) % 241)[:, None]
    frame = Frame(0, "camera", image, Camera.pinhole(640, 480, 518.0, 519.0, 320.0, 240.0))
    cropped = model_input(frame, PROTOCOLS["nyu_fcrn"])
    assert cropped.image.shape == (228, 304, 3)
    assert np.array_equal(cropped.image, image[12:468:2, 16:624:2])
    assert [cropped.camera.fx, cropped.camera.fy] == [259.0, 259.5]
    assert cropped.camera.cx == pytest.approx(320 / 2 - 0.25 - 8)
    assert model_input(frame, PROTOCOLS["nyu_whole"]) is frame


def test_command_line_options_change_the_protocol(clip, small_model, capsys, engine_cache) -> None:
    command = ["evaluate", "depth", "--data", str(clip), "--model", str(small_model), "--backend", "eager"]
    command += ["--protocol", "eigen", "--json", "-"]
    changes = ["--crop", "none", "--scaling", "median", "--cap", "20", "--resize", "depth"]
    results = []
    for options in ([], changes):
        assert main([*command, *options]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0]["metrics"]["abs_rel"] != results[1]["metrics"]["abs_rel"]
    for text in ("crop none", "scaling median", "g < 20 m", "bilinearly in depth"):
        assert text in results[1]["protocol"] and text not in results[0]["protocol"]
