"""The joint table of several recordings: order, means, failures."""

from __future__ import annotations

import json

import pytest

from depth_ros.evaluation.joint import DEPTH, ODOMETRY, PLANES, join
from depth_ros.evaluation.report.joint import single_report, write_joint_report
from depth_ros.parallel import Outcome


def depth(abs_rel: float | None, images: int, baseline: float | None = 0.5) -> Outcome:
    metrics = {"abs_rel": abs_rel, "delta1": None if abs_rel is None else 1 - abs_rel}
    return Outcome({"images": images, "metrics": metrics, "baseline": {"abs_rel": baseline}})


@pytest.fixture()
def joint():
    outcomes = {
        "good": depth(0.1, 30),
        "without": depth(None, 0, None),
        "bad": depth(0.4, 10),
        "cut": Outcome(None, "no images"),
    }
    return join(DEPTH, outcomes)


def test_worst_first_and_those_without_ground_truth_last(joint):
    assert list(joint.recordings) == ["bad", "good", "without"] and joint.failed == {"cut": "no images"}
    columns, rows = joint.table()
    assert columns == ["recording", "images", "abs_rel", "delta1", "baseline_abs_rel"]
    assert rows == [
        ["bad", "10", "0.400", "0.600", "0.500"],
        ["good", "30", "0.100", "0.900", "0.500"],
        ["without", "0", "-", "-", "-"],
        ["mean over recordings", "", "0.250", "0.750", "0.500"],
        ["pooled over recordings", "40", "0.175", "0.825", "0.500"],
    ]


def test_json_has_the_recordings_both_means_and_the_failures(joint):
    content = json.loads(json.dumps(joint.to_json()))
    assert [each["name"] for each in content["recordings"]] == ["bad", "good", "without"]
    assert content["recordings"][0]["metrics"]["abs_rel"] == 0.4
    assert content["mean_over_recordings"]["abs_rel"] == pytest.approx(0.25)
    assert content["pooled"]["abs_rel"] == pytest.approx((30 * 0.1 + 10 * 0.4) / 40)
    assert content["failed"] == {"cut": "no images"}


def test_recall_is_pooled_over_planes_and_higher_is_better():
    outcomes = {
        name: Outcome({"images": 5, "ground_truth_planes": planes,
                       "metrics": {"plane_recall_0.05_m": recall, "pixel_recall_0.05_m": recall, "abs_rel": 0.1}})
        for name, planes, recall in (("a", 30, 0.8), ("b", 10, 0.4))
    }  # fmt: skip
    joint = join(PLANES, outcomes)
    assert list(joint.recordings) == ["b", "a"]
    assert joint.pooled["plane_recall_0.05_m"] == pytest.approx(28 / 40)
    assert "pixel_recall_0.05_m" not in joint.pooled and joint.mean["pixel_recall_0.05_m"] == pytest.approx(
        0.6
    )


def test_trajectory_errors_are_not_pooled():
    outcomes = {
        name: Outcome({"frames": frames, "ate_rmse_m": error, "tracked": tracked, "nees": None, "ms_per_frame": 3.0})
        for name, frames, error, tracked in (("a", 10, 0.1, 1.0), ("b", 30, 0.3, 0.8))
    }  # fmt: skip
    joint = join(ODOMETRY, outcomes)
    assert joint.pooled == {"tracked": pytest.approx(0.85)}
    assert joint.mean == {"ate_rmse_m": pytest.approx(0.2), "tracked": pytest.approx(0.9)}
    assert joint.table()[1][-1] == ["pooled over recordings", "40", "-", "0.850"]


def test_the_report_links_those_of_the_recordings(joint, tmp_path):
    path = tmp_path / "all.html"
    assert single_report(path, "a b") == tmp_path / "all/a b.html"
    write_joint_report(path, joint, "Depth on 4 recordings", {"model": "<m>"})
    text = path.read_text()
    assert text.index('href="all/bad.html"') < text.index('href="all/good.html"')
    assert "no images" in text and "&lt;m&gt;" in text and "0.175" in text
