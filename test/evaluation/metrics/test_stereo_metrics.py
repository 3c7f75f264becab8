"""Figures of disparity against numbers, and the table of semi-global matching on a Middlebury folder."""

from __future__ import annotations

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
from depth_ros.datasets import open_folder
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.metrics.stereo import Coverage, disparity_figures, true_disparity
from depth_ros.evaluation.stereo import evaluate_recorded_pairs, evaluate_stereo
from depth_ros.world import World, WorldSettings, write_folder

NAN = np.nan


@dataclass
class Sent:
    stamp: int
    disparity: np.ndarray
    latency: float


def test_figures_by_hand():
    truth = np.array([[10, 100, 50, NAN, 20, 20]], np.float32)
    found = np.array([[13.5, 104, 51.5, 7, NAN, 20]], np.float32)  # 104 is off by 4 px, but by 4 % only
    std = np.array([[4, 4, 1, 1, 1, 1]], np.float32)
    figures = disparity_figures(found, truth, std)
    assert figures["epe"] == pytest.approx((3.5 + 4 + 1.5) / 4)
    assert (figures["d1_all"], figures["bad_1"], figures["bad_2"]) == (0.25, 0.75, 0.5)
    assert figures["density"] == 0.8 and figures["coverage"] == 0.75
    assert figures["coverage_at_1"] == 0.5 and figures["coverage_at_2"] is None


def test_coverage_by_what_is_claimed():
    truth, std = np.zeros((10, 10), np.float32), np.full((10, 10), 1.0, np.float32)
    std[5:] = 4.0
    found = np.full((10, 10), 0.5, np.float32)
    found[:2] = 1.5  # 20 of the 50 that claim 1 px
    found[9] = np.nan
    coverage = Coverage()
    coverage.add(found, truth, std)
    near, far = coverage.rows()
    assert near["std"] == pytest.approx(1.0, rel=0.2) and far["std"] == pytest.approx(4.0, rel=0.2)
    assert (near["coverage"], far["coverage"]) == (0.6, 1.0)
    assert near["share"] + far["share"] == 1 and far["share"] == pytest.approx(40 / 90)


@pytest.fixture()
def middlebury(tmp_path: Path) -> Path:
    """Two scenes, one of each year's names; a wall of 12 px of disparity."""
    for name, files, units in (
        ("old", ("im2", "im6", "disp2"), 4),
        ("new", ("view1", "view5", "disp1"), 2),
    ):
        folder = tmp_path / name
        folder.mkdir()
        noise = np.random.default_rng(units).random((40, 80, 3), np.float32)
        wide = (255 * cv2.resize(noise, (160, 80), interpolation=cv2.INTER_CUBIC)).clip(0, 255)
        truth = np.full((80, 140), 12 * units, np.uint8)
        truth[:, :13] = 0
        for file, image in zip(files, (wide[:, :140], wide[:, 12:152], truth), strict=True):
            cv2.imwrite(str(folder / f"{file}.png"), image)
    return tmp_path


def test_middlebury_layout(middlebury: Path):
    folder = open_folder(middlebury)
    assert (folder.layout, len(folder)) == ("middlebury", 2) and len(open_folder(middlebury / "old")) == 1
    for index in range(2):
        disparity = true_disparity(folder[index])
        assert np.isnan(disparity[:, :13]).all() and np.allclose(disparity[:, 13:], 12)
    assert folder[1].left.camera.fx == pytest.approx(3740 / 4)
    (middlebury / "old/im2.png").write_bytes(b"no image")
    with pytest.raises(DepthRosError, match=r"im2.png is damaged"):
        folder[1]


def test_semi_global_matching_is_in_the_table(middlebury: Path, tmp_path: Path):
    file = tmp_path / "figures.json"
    arguments = ["evaluate", "depth", "--model", "semi_global", "--data", str(middlebury)]
    assert main([*arguments, "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert result["images"] == 2 and "semi-global" in result["engine"]
    figures, filled = result["figures"], result["baseline"]
    assert figures["epe"] < 0.3 and figures["bad_2"] < 0.02 and 0.9 < figures["density"] <= 1
    assert filled["density"] == 1.0 and set(result["baselines"]) == {"semi_global", "semi_global_filled"}
    assert figures["abs_rel"] < 0.02 and figures["delta1"] > 0.98


def test_a_folder_without_pairs_is_refused(tmp_path: Path):
    (tmp_path / "image").mkdir()
    (tmp_path / "camera.yaml").write_text("{width: 8, height: 8, fx: 9, fy: 9, cx: 4, cy: 4}")
    cv2.imwrite(str(tmp_path / "image/0.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DepthRosError, match="no right eye"):
        evaluate_stereo("semi_global", tmp_path)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rendered pairs with exact depth, on disk."""
    world = World(WorldSettings(kind="street", frames=3, width=256, height=96))
    return write_folder(world, tmp_path_factory.mktemp("clip") / "street")


def test_the_page_of_a_network(clip: Path, tmp_path: Path):
    """Figures of model and semi-global matching, three pairs of six pictures each, the coverage; all inline."""
    page = tmp_path / "made/page.html"
    settings = EngineSettings(backend="eager", precision="float32", device="cpu")
    result = evaluate_stereo("stereo", clip, engine_settings=settings, report=page, command="typed <this>")
    text = page.read_text()
    assert (
        text.count('<div class="strip three">') == 3
        and text.count("<figcaption>standard deviation that it claims") == 3
    )
    assert text.count("<img") == 3 * 6 + 2 + 2  # strips, scales, clouds
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    for column in (result["figures"], result["baseline"], result["baselines"]["semi_global"]):
        assert f"{100 * column['d1_all']:.1f} %" in text and f"{column['epe']:.2f} px" in text
    for row in result["coverage_by_std"]:
        assert f"{row['std']:.2f} px: {row['coverage']:.0%} within it" in text
    assert "typed &lt;this&gt;" in text


def test_the_page_shows_how_the_model_was_learned(clip: Path, tmp_path: Path):
    model, page = shutil.copytree(find_card("stereo").path, tmp_path / "stereo"), tmp_path / "page.html"
    (model / "training.svg").write_text("<svg>loss</svg>")
    settings = EngineSettings(backend="eager", precision="float32", device="cpu")
    evaluate_stereo(str(model), clip, engine_settings=settings, limit=1, report=page)
    assert "<svg>loss</svg>" in page.read_text()


def test_what_a_node_sent_is_measured_like_what_was_made_here(clip: Path, tmp_path: Path):
    folder = open_folder(clip)
    sent = [Sent(folder[i].left.stamp, true_disparity(folder[i]), 0.05) for i in (0, 2)]
    sent[0].disparity[:, :10] += 4
    result = evaluate_recorded_pairs(sent, "semi_global", folder, clip, report=tmp_path / "page.html")
    assert result["images"] == 2 and result["ms_per_image"] == 50
    known = np.isfinite(sent[0].disparity)
    assert result["figures"]["bad_1"] == pytest.approx(known[:, :10].sum() / known.sum() / 2)
    assert result["figures"]["epe"] == pytest.approx(4 * result["figures"]["bad_1"], rel=1e-3)
    assert "2 of 3, those for which disparity came back" in result["protocol"]
    with pytest.raises(DepthRosError, match="none of 1 disparities has a stamp"):
        evaluate_recorded_pairs([Sent(1, sent[0].disparity, 0.1)], "semi_global", folder, clip)
