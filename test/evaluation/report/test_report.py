"""A folder evaluated from end to end, and the page that comes of it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest

from depth_ros.datasets import open_folder
from depth_ros.datatypes import Camera, Depth
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.baselines.semi_global import stereo_reference
from depth_ros.evaluation.depth import compare, evaluate_depth, evaluate_recorded
from depth_ros.evaluation.metrics.depth import FIGURES
from depth_ros.evaluation.metrics.latency import Latency, summarise
from depth_ros.evaluation.report.depth import shown
from depth_ros.evaluation.report.html import latency_chart
from depth_ros.evaluation.report.plots import shrunk
from depth_ros.evaluation.report.point_cloud import cloud_picture
from depth_ros.evaluation.setup import choose, choose_protocol, plan
from depth_ros.world import World, WorldSettings, write_folder

EAGER = EngineSettings(backend="eager", precision="float32", device="cpu")
KEYS = ["model", "data", "protocol", "images", "figures", "baseline", "engine", "ms_per_image"]


@dataclass
class Recorded:
    stamp: int
    depth: np.ndarray
    latency: float


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Six rendered stereo frames with exact depth, on disk."""
    world = World(WorldSettings(kind="street", frames=6, width=256, height=96))
    return write_folder(world, tmp_path_factory.mktemp("clip") / "street")


def outside(page: str) -> list[str]:
    """Everything on a page that a browser would have to fetch."""
    targets = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')\s>]+)', page)
    return [target for target in targets if not target.startswith(("data:", "#"))]


def test_evaluate_returns_the_promised_json(clip, small_model, engine_cache, tmp_path) -> None:
    page = tmp_path / "made" / "page.html"
    steps = []
    result = evaluate_depth(
        str(small_model),
        clip,
        engine_settings=EAGER,
        report=page,
        command="typed <this>",
        progress=lambda done, total: steps.append((done, total)),
    )
    assert list(result) == KEYS
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert list(result["figures"]) == list(result["baseline"]) == list(FIGURES)
    assert result["images"] == 6
    assert steps[-1] == (6, 6)
    known = {key: value for key, value in result["figures"].items() if not key.startswith("si_")}
    assert None not in known.values()
    assert "leave one out" in result["protocol"]
    assert result["engine"].startswith("eager")
    text = page.read_text()
    assert outside(text) == []
    assert "<script" not in text
    for name, value in known.items():
        assert shown(name, value) in text, name
        assert shown(name, result["baseline"][name]) in text, name
    assert "typed &lt;this&gt;" in text
    assert text.count("data:image/jpeg") == 5 * 4 + 1  # strips and the cloud
    assert text.count("<svg") == 1


def test_page_shows_how_the_model_was_learned(clip, small_model, engine_cache, tmp_path) -> None:
    """Where its training left a picture; `test_evaluate_returns_the_promised_json` counts none without."""
    model, page = shutil.copytree(small_model, tmp_path / "small"), tmp_path / "page.html"
    (model / "training.svg").write_text("<svg>loss</svg>")
    evaluate_depth(str(model), clip, engine_settings=EAGER, report=page, limit=1)
    assert "<svg>loss</svg>" in page.read_text()


def test_perfect_depth_scores_perfectly_and_half_of_it_does_not(clip) -> None:
    folder = open_folder(clip)
    truth = {folder[index].left.stamp: folder[index] for index in range(len(folder))}
    planned = plan(folder, range(6), "all")

    def estimate(frame, factor=1.0):
        sample = truth[frame.stamp]
        return Depth(frame.stamp, "", factor * sample.depth, frame.camera, frame.image)

    perfect = compare(estimate, planned)
    assert perfect.images == 6
    assert perfect.figures["delta1"] == 1.0
    assert perfect.figures["d1_all"] == perfect.figures["abs_rel"] == 0.0
    assert perfect.baseline["abs_rel"] > 0.05
    half = compare(lambda frame: estimate(frame, 0.5), planned)
    assert half.figures["abs_rel"] == pytest.approx(0.5, abs=0.01)
    assert half.baseline == perfect.baseline


def test_recorded_depth_is_matched_by_stamp(clip, small_model, tmp_path) -> None:
    folder = open_folder(clip)
    samples = [folder[index] for index in (4, 1)]
    came = [Recorded(sample.left.stamp, sample.depth[::2, ::2], 0.05) for sample in samples]
    result = evaluate_recorded(came, str(small_model), folder, clip, report=tmp_path / "page.html")
    assert list(result) == KEYS
    assert (result["images"], result["ms_per_image"]) == (2, pytest.approx(50.0))
    assert result["figures"]["delta1"] > 0.9
    assert "2 of 6" in result["protocol"]
    with pytest.raises(DepthRosError, match="is it that recording"):
        evaluate_recorded([replace(came[0], stamp=5)], str(small_model), folder, clip)


def test_held_out_part_and_limit(clip) -> None:
    folder = open_folder(clip)
    assert choose(folder, "held_out")[0] == [5]
    assert choose(folder, "all", 3) == ([0, 2, 5], "3 of all, evenly spread")
    with pytest.raises(DepthRosError, match="held_out"):
        choose(folder, "test")
    with pytest.raises(DepthRosError, match="indoor"):
        plan(folder, [0], "all", protocol="kitty")


def test_protocols_that_suit_the_recorded_folders(data_root) -> None:
    expected = {"kitti2015_stereo": "kitti2015", "kitti_raw_jam": "eigen",
                "hololens_office": "indoor", "tum_fr1_rpy": "indoor"}  # fmt: skip
    for name, protocol in expected.items():
        folder = open_folder(data_root / name)
        assert choose_protocol("auto", folder, [0, 1]).name == protocol
    up_to_scale = choose_protocol("auto", folder, [0], scale="up_to_scale")
    assert (up_to_scale.name, up_to_scale.scaling) == ("indoor", "median")


def test_a_pair_without_truth_is_compared_with_matching_and_says_so(data_root) -> None:
    clip = open_folder(data_root / "kitti_stereo_clip")
    assert plan([clip[9], clip[10]], [0], "one").text.startswith("NO GROUND TRUTH")
    pairs = open_folder(data_root / "kitti2015_stereo")
    sample = pairs[3]
    found = stereo_reference(sample)
    both = np.isfinite(found) & np.isfinite(sample.depth)
    assert both.sum() > 0.8 * np.isfinite(sample.depth).sum()
    assert np.median(np.abs(found - sample.depth)[both] / sample.depth[both]) < 0.03


def test_latency_by_hand() -> None:
    assert summarise([]) is None
    assert summarise([4.0, 5.0, 6.0]) == Latency(5.0, pytest.approx(5.9), 6.0, 200.0, 3)


def test_chart_marks_what_it_cuts() -> None:
    chart = latency_chart([5.0] * 199 + [900.0])
    assert chart.count("<circle") == 1
    assert "900.0 ms" in chart
    assert chart.count(",") == 200
    assert "nan" not in latency_chart([5.0])


def test_shrinking_keeps_sparse_truth() -> None:
    depth = np.full((40, 80), np.nan, np.float32)
    depth[::4, ::4] = 7.0
    np.testing.assert_allclose(shrunk(depth, 20), np.full((10, 20), 7.0), rtol=1e-5)


def test_cloud_shows_near_points_before_far_ones() -> None:
    """A red board in front of a blue wall, seen from the right: red pixels stay red."""
    depth, image = np.full((60, 80), 6.0, np.float32), np.zeros((60, 80, 3), np.uint8)
    image[..., 2] = 255
    depth[20:40, 30:50], image[20:40, 30:50] = 3.0, (255, 0, 0)
    camera = Camera.pinhole(80, 60, 60, 60, 39.5, 29.5)
    picture = cloud_picture(Depth(0, "", depth, camera, image), 400, 300)
    red = (picture == (255, 0, 0)).all(-1)
    blue = (picture == (0, 0, 255)).all(-1)
    assert red.sum() > 3000
    assert blue.sum() > 10000
    rows, columns = np.nonzero(red)
    middle = np.s_[rows.min() + 15 : rows.max() - 15, columns.min() + 15 : columns.max() - 15]
    assert not blue[middle].any()
    unknown = Depth(0, "", np.full((60, 80), np.nan, np.float32), camera, image)
    assert set(cloud_picture(unknown, 40, 30).ravel()) == {250}
