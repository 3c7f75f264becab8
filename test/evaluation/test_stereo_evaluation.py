"""Evaluation of stereo models: metrics beside semi-global matching, report, recorded disparity."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_ros.card import find_card
from depth_ros.cli import main
from depth_ros.datatypes import Camera, Disparity
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.metrics.stereo import ground_truth_disparity
from depth_ros.evaluation.options import EvaluationOptions
from depth_ros.evaluation.stereo import evaluate_recorded_disparity, evaluate_stereo, reliable_depth
from depth_ros.recordings import open_recording
from depth_ros.world import World, WorldSettings, write_folder

EAGER = EvaluationOptions(engine=EngineSettings(backend="eager", precision="float32", device="cpu"))


@dataclass
class RecordedImage:
    stamp: int
    image: np.ndarray
    latency: float


@pytest.fixture()
def middlebury(tmp_path: Path) -> Path:
    """Two scenes with the file names of different years; a wall with a disparity of 12 px."""
    for name, files, units, width in (
        ("old", ("im2", "im6", "disp2"), 4, 450),
        ("new", ("view1", "view5", "disp1"), 2, 626),
    ):
        folder = tmp_path / name
        folder.mkdir()
        noise = np.random.default_rng(units).random((40, width // 2 + 10, 3), np.float32)
        wide = (255 * cv2.resize(noise, (width + 20, 80), interpolation=cv2.INTER_CUBIC)).clip(0, 255)
        disparity = np.full((80, width), 12 * units, np.uint8)
        disparity[:, :13] = 0
        for file, image in zip(files, (wide[:, :width], wide[:, 12 : 12 + width], disparity), strict=True):
            cv2.imwrite(str(folder / f"{file}.png"), image)
    return tmp_path


def test_middlebury_layout(middlebury: Path):
    folder = open_recording(middlebury)
    assert (folder.layout, len(folder)) == ("middlebury", 2) and len(open_recording(middlebury / "old")) == 1
    for index in range(2):
        disparity = ground_truth_disparity(folder[index])
        assert np.isnan(disparity[:, :13]).all() and np.allclose(disparity[:, 13:], 12)
    assert folder[1].left.camera.fx == pytest.approx(3740 / 4)
    (middlebury / "old/im2.png").write_bytes(b"no image")
    with pytest.raises(DepthRosError, match=r"im2.png is damaged"):
        folder[1]


def test_command_evaluates_semi_global_matching(middlebury: Path, tmp_path: Path):
    file = tmp_path / "result.json"
    arguments = ["evaluate", "depth", "--model", "semi_global", "--data", str(middlebury)]
    assert main([*arguments, "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert result["images"] == 2 and "semi-global" in result["engine"]
    metrics, filled = result["metrics"], result["baseline"]
    assert metrics["epe"] < 0.3 and metrics["bad_2"] < 0.02 and 0.9 < metrics["density"] <= 1
    assert filled["density"] == 1.0 and set(result["baselines"]) == {"semi_global", "semi_global_filled"}
    assert metrics["abs_rel"] < 0.02 and metrics["delta1"] > 0.98


def test_folder_without_pairs_is_rejected(tmp_path: Path):
    (tmp_path / "image").mkdir()
    (tmp_path / "camera.yaml").write_text("{width: 8, height: 8, fx: 9, fy: 9, cx: 4, cy: 4}")
    cv2.imwrite(str(tmp_path / "image/0.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DepthRosError, match="no right image"):
        evaluate_stereo("semi_global", tmp_path)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rendered pairs with exact depth, on disk."""
    world = World(WorldSettings(kind="street", frames=3, width=256, height=96))
    return write_folder(world, tmp_path_factory.mktemp("clip") / "street")


def test_report_of_a_network(clip: Path, tmp_path: Path):
    """Metrics of model and baseline, three pairs of six images each, coverage; everything inline."""
    report = tmp_path / "made/report.html"
    options = dataclasses.replace(EAGER, report=report, command="typed <this>")
    result = evaluate_stereo("stereo", clip, options)
    text = report.read_text()
    assert text.count('<div class="strip three">') == 3
    assert text.count("<figcaption>predicted standard deviation") == 3
    assert text.count("<img") == 3 * 6 + 2 + 2  # strips, colour scales, point clouds
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    for column in (result["metrics"], result["baseline"], result["baselines"]["semi_global"]):
        assert f"{100 * column['d1_all']:.1f} %" in text and f"{column['epe']:.2f} px" in text
    assert result["coverage_by_std"]
    for row in result["coverage_by_std"]:
        assert f"{row['std']:.2f} px: {row['coverage']:.0%} within it" in text
    assert "typed &lt;this&gt;" in text


def test_report_shows_the_training_curves_of_the_model(clip: Path, tmp_path: Path):
    model, report = shutil.copytree(find_card("stereo").path, tmp_path / "stereo"), tmp_path / "report.html"
    (model / "training.svg").write_text("<svg>loss</svg>")
    evaluate_stereo(str(model), clip, dataclasses.replace(EAGER, limit=1, report=report))
    assert "<svg>loss</svg>" in report.read_text()


def test_recorded_disparity_is_matched_by_stamp_and_measured(clip: Path, tmp_path: Path):
    folder = open_recording(clip)
    recorded = [RecordedImage(folder[i].left.stamp, ground_truth_disparity(folder[i]), 0.05) for i in (0, 2)]
    recorded[0].image[:, :10] += 4
    report = tmp_path / "report.html"
    result = evaluate_recorded_disparity(recorded, "semi_global", folder, clip, report)
    assert result["images"] == 2 and result["ms_per_image"] == 50 and report.is_file()
    valid = np.isfinite(recorded[0].image)
    assert result["metrics"]["bad_1"] == pytest.approx(valid[:, :10].sum() / valid.sum() / 2)
    assert result["metrics"]["epe"] == pytest.approx(4 * result["metrics"]["bad_1"], rel=1e-3)
    assert "2 of 3, those with recorded disparity" in result["protocol"]
    with pytest.raises(DepthRosError, match="none of 1 disparity images has the stamp"):
        evaluate_recorded_disparity([RecordedImage(1, recorded[0].image, 0.1)], "semi_global", folder, clip)


def test_point_cloud_has_no_flying_and_no_uncertain_pixels():
    camera = Camera.pinhole(9, 5, 100.0, 100.0, 4.0, 2.0)
    disparity = np.where(np.arange(9) < 4, 10.0, 40.0).astype(np.float32) * np.ones((5, 1), np.float32)
    disparity[2, 4] = 25.0  # between the two surfaces
    std = np.full((5, 9), 0.4, np.float32)
    std[0, 0] = 0.6  # 6 % of the disparity
    image = np.zeros((5, 9, 3), np.uint8)
    depth = reliable_depth(Disparity(1, "", disparity, camera, image, 0.1, std=std))
    invalid = np.isnan(depth.depth)
    assert invalid[2, 4] and invalid[0, 0] and invalid.sum() == 2
    assert depth.depth[4, 8] == pytest.approx(100 * 0.1 / 40)
