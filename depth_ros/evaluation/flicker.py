"""Evaluation of the flicker of depth from one camera, of each image alone and with temporal fusion."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.datatypes import Depth
from depth_ros.errors import DepthRosError
from depth_ros.estimators.depth import DepthEstimator
from depth_ros.estimators.odometry.estimator import OdometryEstimator
from depth_ros.estimators.odometry.settings import OdometrySettings
from depth_ros.estimators.temporal_fusion import TemporalFusion
from depth_ros.evaluation.metrics.depth import DepthMetrics
from depth_ros.evaluation.metrics.flicker import FlickerMetrics
from depth_ros.evaluation.metrics.latency import summarise
from depth_ros.evaluation.metrics.protocols import DepthProtocol
from depth_ros.evaluation.options import EvaluationOptions
from depth_ros.evaluation.setup import Selection, evaluation_setup
from depth_ros.geometry import inverse
from depth_ros.recordings import Sample, open_recording

REFERENCE_STEP = 5
"""Frames from one comparison with ground truth to the next where it has to be computed by stereo matching."""


class _Row:
    """Metrics of one kind of depth images."""

    def __init__(self, name: str, protocol: DepthProtocol) -> None:
        self.name, self._flicker, self._depth = name, FlickerMetrics(), DepthMetrics(protocol)

    def add(self, depth: Depth, sample: Sample, ground_truth: np.ndarray | None) -> None:
        assert sample.T_world_camera is not None
        self._flicker.add(depth, sample.T_world_camera)
        if ground_truth is not None:
            self._depth.add(depth.depth, ground_truth, sample.fx_baseline)

    def compute(self) -> dict[str, float | None]:
        depth = self._depth.compute() if len(self._depth) else {}
        return {**self._flicker.compute(), "abs_rel": depth.get("abs_rel"), "delta1": depth.get("delta1")}


def evaluate_flicker(
    model: str,
    data: Path,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008
) -> dict[str, Any]:
    """Flicker and depth metrics on consecutive images with poses; the content of `depth_ros evaluate flicker --json`.

    `metrics` and the first of `rows` are of each image alone, the second row of temporal fusion with the ground-truth
    motion, the third with that of odometry from the same depth, as in perception_node. Raises DepthRosError for a
    recording without poses, or a model or recording without metric scale.
    """
    estimator = DepthEstimator(model, options.engine)
    folder = open_recording(data, options.recording)
    if estimator.card.scale != "metric" or not (folder.contents.poses and folder.contents.metric):
        raise DepthRosError(
            f"flicker is measured with poses in metres: '{data}' needs them (and a metric scale), and model '{model}' "
            "metric depth"
        )
    count = min(options.limit or len(folder), len(folder))
    setup = evaluation_setup(
        Selection(folder, tuple(range(count)), f"the first {count}"), card=estimator.card
    )
    names = "each image", "fused", "fused, own odometry"
    rows = [_Row(name, setup.protocol) for name in names]
    fusion, milliseconds = TemporalFusion(), list[float]()
    own_fusion, odometry = TemporalFusion(), OdometryEstimator(OdometrySettings())
    T_world_old: np.ndarray | None = None
    for done, (index, sample) in enumerate(setup.selection.samples(), 1):
        if sample.T_world_camera is None:
            continue
        depth = estimator.estimate(sample.left)
        T_old_new = None if T_world_old is None else inverse(T_world_old) @ sample.T_world_camera
        T_world_old = sample.T_world_camera
        start = time.process_time()
        fused = fusion.fuse(depth, T_old_new)
        milliseconds.append(1000 * (time.process_time() - start))
        motion = odometry.estimate(depth).motion
        own_fused = own_fusion.fuse(depth, motion.T_old_new if motion else None)
        is_compared = folder.contents.depth or index % REFERENCE_STEP == 0
        ground_truth = setup.ground_truth.depth(sample) if is_compared else None
        for row, each in zip(rows, (depth, fused, own_fused), strict=True):
            row.add(each, sample, ground_truth)
        options.progress(done, count)
    latency = summarise(milliseconds)
    found = [{"row": row.name, "metrics": row.compute()} for row in rows]
    return {
        "model": estimator.card.name, "data": str(data), "protocol": setup.text, "images": count,
        "metrics": found[0]["metrics"], "rows": found, "engine": estimator.engine_status.name,
        "fusion_cpu_ms_per_image": latency.median if latency else None,
    }  # fmt: skip
