"""Results of several recordings in one table: worst first, then the means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from depth_ros.evaluation.metrics.planes import THRESHOLD_NAMES
from depth_ros.parallel import Outcome

Result = dict[str, Any]


@dataclass(frozen=True)
class JointTask:
    """How the results of a task are joined.

    main: the metric that recordings are ranked by. columns: metrics of the table, the main one first. counts: metric ->
    key of the result that counts what the metric is a mean over (images, objects), so that the mean over those of all
    recordings together is known; `*` is for all other metrics. Metrics without a count (or with ""), such as roots of
    means over frames, have only the mean over recordings.
    """

    main: str
    columns: tuple[str, ...]
    counts: Mapping[str, str]
    lower_is_better: bool = True
    size: str = "images"


DEPTH = JointTask("abs_rel", ("abs_rel", "rmse", "delta1", "baseline_abs_rel"), {"*": "images"})
STEREO = JointTask("d1_all", ("d1_all", "epe", "abs_rel", "density", "baseline_d1_all"), {"*": "images"})
ODOMETRY = JointTask(
    "ate_rmse_m",
    ("ate_rmse_m", "rpe_trans_percent", "rpe_rot_deg", "kitti_t_percent", "tracked", "nees"),
    {"tracked": "frames"},
    size="frames",
)
OBJECT_MOTION = JointTask(
    "speed_error",
    ("speed_error", "angle_error_deg", "found", "false_per_frame", "moving_iou"),
    {
        "found": "objects_with_ground_truth",
        "false_per_frame": "frames_with_ground_truth",
        "objects_per_frame": "frames",
    },
    size="frames",
)
PLANES = JointTask(
    "plane_recall_0.05_m",
    ("plane_recall_0.05_m", "plane_recall_0.2_m", "plane_recall_any_depth", "abs_rel", "delta1"),
    {"*": "images"}
    | {
        f"{what}_recall_{threshold}": count
        for what, count in (("plane", "ground_truth_planes"), ("pixel", ""))
        for threshold in THRESHOLD_NAMES
    },
    lower_is_better=False,
)
FLICKER = JointTask("flicker", ("flicker", "scale_flicker", "abs_rel"), {})
OBSTACLES = JointTask(
    "recall",
    ("recall", "false_per_m2", "recall_unfiltered", "false_per_m2_unfiltered"),
    {
        "recall": "obstacle_cells",
        "recall_unfiltered": "obstacle_cells",
        "false_per_m2": "area_m2",
        "false_per_m2_unfiltered": "area_m2",
    },
    lower_is_better=False,
)
REPLAY = JointTask("abs_rel", ("abs_rel", "rmse", "delta1"), {"*": "compared"}, size="frames")


@dataclass(frozen=True)
class Joint:
    """recordings: results by name, worst first, those without the main metric last. failed: problems by name.

    mean: of each metric over the recordings. pooled: over the images, or what else `JointTask.counts` names.
    """

    task: JointTask
    recordings: dict[str, Result]
    failed: dict[str, str]
    mean: dict[str, float] = field(default_factory=dict)
    pooled: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> Result:
        """The content of `depth_ros evaluate --json` for several recordings."""
        return {
            "recordings": [{"name": name, **result} for name, result in self.recordings.items()],
            "failed": self.failed,
            "mean_over_recordings": self.mean,
            "pooled": self.pooled,
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Names of the columns, and rows: the recordings, then the means where there is more than one recording."""
        columns = [c for c in self.task.columns if any(c in metrics_of(r) for r in self.recordings.values())]
        rows = [
            [name, str(result[self.task.size]), *_cells(metrics_of(result), columns)]
            for name, result in self.recordings.items()
        ]
        if len(rows) > 1:
            total = str(sum(result[self.task.size] for result in self.recordings.values()))
            rows.append(["mean over recordings", "", *_cells(self.mean, columns)])
            if any(column in self.pooled for column in columns):
                rows.append([POOLED, total, *_cells(self.pooled, columns)])
        return ["recording", self.task.size, *columns], rows


POOLED = "pooled over recordings"


def join(task: JointTask, outcomes: Mapping[str, Outcome]) -> Joint:
    """Rank and average the outcomes of the recordings."""
    found = {name: outcome.result for name, outcome in outcomes.items() if outcome.result is not None}
    ranked = sorted(found, key=lambda name: _badness(task, found[name]))
    metrics = {name: metrics_of(found[name]) for name in ranked}
    keys = dict.fromkeys(key for row in metrics.values() for key in row)
    mean, pooled = dict[str, float](), dict[str, float]()
    for key in keys:
        values = [row[key] for row in metrics.values() if key in row]
        mean[key] = float(np.mean(values))
        count = task.counts.get(key, task.counts.get("*", ""))
        weights = [found[name].get(count) or 0 for name, row in metrics.items() if key in row]
        if sum(weights):
            pooled[key] = float(np.average(values, weights=weights))
    failed = {name: outcome.problem for name, outcome in outcomes.items() if outcome.result is None}
    return Joint(task, {name: found[name] for name in ranked}, failed, mean, pooled)


def metrics_of(result: Result) -> dict[str, float]:
    """Metrics of a result that have a value; `baseline_NAME` are those of its baseline."""
    metrics = result.get("metrics")
    if metrics is None:  # odometry, object_motion
        metrics = {k: v for k, v in result.items() if isinstance(v, float) and not k.startswith("ms_")}
    baseline = {f"baseline_{name}": value for name, value in result.get("baseline", {}).items()}
    return {name: value for name, value in {**metrics, **baseline}.items() if value is not None}


def _badness(task: JointTask, result: Result) -> float:
    """Increases from the worst recording to the best; infinite without the main metric."""
    value = metrics_of(result).get(task.main)
    if value is None:
        return np.inf
    return -value if task.lower_is_better else value


def _cells(metrics: Mapping[str, float], columns: list[str]) -> list[str]:
    return [f"{metrics[column]:.3f}" if column in metrics else "-" for column in columns]
