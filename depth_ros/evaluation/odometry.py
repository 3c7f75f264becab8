"""Odometry on a recorded folder: the estimator frame by frame, its trajectory measured against the truth."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depth_ros.card import find_card
from depth_ros.datasets import Folder, Sample, open_folder
from depth_ros.datatypes import Motion
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.depth_source import RECORDED, depth_source, usual_source
from depth_ros.evaluation.metrics.latency import summarise
from depth_ros.evaluation.metrics.trajectory import figures, nees_bounds, write_tum
from depth_ros.evaluation.report.odometry import write_trajectory_page

if TYPE_CHECKING:
    from depth_ros.engine import EngineSettings
    from depth_ros.estimators.odometry.settings import OdometrySettings

Estimate = Callable[[Sample], Motion | None]
"""The motion that led to a sample, in order of time; None for the first, and where it is lost."""


@dataclass(frozen=True)
class Track:
    """What came of a run. stamps: ns. poses: (N, 4, 4) in the first camera, NaN where lost.

    covariances: (N - 1, 6, 6) of the motions, or None. latencies: ms, of every frame but the first.
    """

    stamps: list[int]
    poses: np.ndarray
    truth: np.ndarray
    covariances: np.ndarray | None
    latencies: tuple[float, ...]


def evaluate_odometry(
    model: str,
    data: Path,
    *,
    engine_settings: EngineSettings | None = None,
    odometry: OdometrySettings | None = None,
    limit: int = 0,
    trajectories: Path | None = None,
    report: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure odometry on a folder and return what `depth_ros evaluate odometry --json` writes.

    model: whose depth is used, `semi_global`, `recorded`, or "" for what suits the folder; or one of task ego_motion,
    whose motions are strung together. limit: only so many frames from the first on; 0 = all. trajectories: folder to
    write estimate.txt and truth.txt into, in the TUM format. report: file of the page to write.
    Raises DepthRosError where the folder has no poses.
    """
    from depth_ros.engine import EngineSettings

    folder = open_folder(data)
    settings = engine_settings or EngineSettings()
    if model not in ("", RECORDED, "semi_global") and find_card(model).task == "ego_motion":
        method = _network(model, settings)
    else:
        method = _aligned(model or usual_source(folder), folder, settings, odometry)
    track = run(method.estimate, folder, limit, progress)
    if not np.isfinite(track.truth).all(axis=(1, 2)).any():
        raise DepthRosError(f"{data} has no poses to compare with: poses.txt or groundtruth.txt is needed")
    if trajectories:
        trajectories.mkdir(parents=True, exist_ok=True)
        write_tum(trajectories / "estimate.txt", track.stamps, track.poses)
        write_tum(trajectories / "truth.txt", track.stamps, track.truth)
    latency = summarise(track.latencies)
    result = {
        "model": method.name,
        "data": str(data),
        "method": method.words,
        "frames": len(track.stamps),
        "lengths": method.lengths,
        **figures(track.poses, track.truth, track.covariances),
        "nees_bounds": nees_bounds(track.poses, track.truth),
        "engine": method.engine(),
        "ms_per_frame": latency.median if latency else None,
        **{
            f"ms_{stage}": float(np.median(times[1:]))
            for stage, times in method.milliseconds.items()
            if times[1:]
        },
    }
    if report:
        write_trajectory_page(report, result, track.poses, track.truth, track.latencies)
    return result


def usual_settings(folder: Folder) -> OdometrySettings:
    """Settings for a folder: the defaults, as nodes have them, unless no real camera took it."""
    from depth_ros.estimators.odometry.settings import OdometrySettings, ideal

    return ideal(OdometrySettings()) if getattr(folder, "rendered", False) else OdometrySettings()


@dataclass(frozen=True)
class Method:
    """How motions are found. name: of the model or of the depth. milliseconds: of each stage, gathered on the way."""

    name: str
    words: str
    lengths: str
    engine: Callable[[], str]
    estimate: Estimate
    milliseconds: dict[str, list[float]] = field(default_factory=dict)


def _network(model: str, settings: EngineSettings) -> Method:
    from depth_ros.estimators.odometry.pose_network import PoseNetwork

    network = PoseNetwork(model, settings)
    card = network.card
    return Method(
        card.name, "a pose network alone", card.scale, lambda: network.engine_name,
        lambda sample: network.estimate(sample.left),
    )  # fmt: skip


def _aligned(
    model: str, folder: Folder, settings: EngineSettings, odometry: OdometrySettings | None
) -> Method:
    from depth_ros.estimators.odometry.estimator import OdometryEstimator

    source = depth_source(model, folder, settings)
    estimator = OdometryEstimator(odometry or usual_settings(folder))
    times: dict[str, list[float]] = {"depth": [], "odometry": []}

    def estimate(sample: Sample) -> Motion | None:
        start = time.perf_counter()
        depth = source.estimate(sample)
        between = time.perf_counter()
        motion = estimator.estimate(depth).motion
        times["depth"].append(1000 * (between - start))
        times["odometry"].append(1000 * (time.perf_counter() - between))
        return motion

    words = f"key frames aligned, depth: {source.name}"
    return Method(source.name, words, source.scale, source.engine, estimate, times)


def run(
    estimate: Estimate,
    folder: Folder,
    limit: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Track:
    """String the motions of a folder's frames together. After a loss it goes on from the last pose known."""
    count = min(len(folder), limit or len(folder))
    poses, truth = np.full((2, count, 4, 4), np.nan)
    covariances = np.zeros((max(count - 1, 0), 6, 6))
    stamps, latencies, last = list[int](), list[float](), np.eye(4)
    for index in range(count):
        sample = folder[index]
        start = time.perf_counter()
        motion = estimate(sample)
        latencies.append(1000 * (time.perf_counter() - start))
        if motion is not None:
            last = last @ motion.T_old_new
            covariances[index - 1] = motion.covariance
        if motion is not None or index == 0:
            poses[index] = last
        if sample.T_world_camera is not None:
            truth[index] = sample.T_world_camera
        stamps.append(sample.left.stamp)
        progress(index + 1, count)
    known = covariances if covariances.any() else None
    return Track(stamps, poses, truth, known, tuple(latencies[1:]))
