"""Evaluation of odometry on recorded folders: the trajectory that the node would publish against the ground truth."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from depth_ros.card import find_card
from depth_ros.datatypes import Odometry
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.estimators.odometry.base_frame import BaseFramePose
from depth_ros.estimators.odometry.estimator import OdometryEstimator
from depth_ros.estimators.odometry.imu_rotation import integrate_rotation
from depth_ros.estimators.odometry.pose_network import PoseNetwork
from depth_ros.estimators.odometry.settings import OdometrySettings, without_camera_noise
from depth_ros.estimators.stereo.semi_global import SEMI_GLOBAL
from depth_ros.evaluation.depth_source import RECORDED, DepthSource, open_source
from depth_ros.evaluation.metrics.latency import summarise
from depth_ros.evaluation.metrics.trajectory import (
    SNIPPET_FRAMES,
    nees_bounds,
    snippet_errors,
    snippets,
    snippets_of_windows,
    trajectory_metrics,
    write_tum,
)
from depth_ros.evaluation.options import EvaluationOptions, Progress, no_progress
from depth_ros.evaluation.report.odometry import TrajectoryReport, write_trajectory_report
from depth_ros.recordings import Recording, Sample, open_recording, readable
from depth_ros.recordings.imu import Imu, imu_of


class OdometrySource(Protocol):
    """Odometry of samples in time order. name: of the model or of the depth. scale: as in cards.

    milliseconds: times of each stage by its name, one per sample. window: of a pose network, (n - 1, 4, 4)
    T_older_newer of the n frames of its last input; None while these are fewer, and for other sources.
    """

    name: str
    method: str
    scale: str
    milliseconds: dict[str, list[float]]

    @property
    def window(self) -> np.ndarray | None: ...

    @property
    def engine_name(self) -> str:
        """Engine of the last sample."""
        ...

    def estimate(self, sample: Sample) -> Odometry:
        """Odometry at a sample."""
        ...


class DepthOdometry:
    """Odometry by key-frame alignment with the depth of a source."""

    window = None

    def __init__(self, source: DepthSource, settings: OdometrySettings, imu: Imu | None = None) -> None:
        self._source, self._estimator = source, OdometryEstimator(settings)
        self._imu, self._stamp = imu, 0  # of the last sample
        self.name, self.scale = source.name, source.scale
        self.method = f"key-frame alignment with depth '{source.name}'" + " and IMU" * bool(imu)
        self.milliseconds: dict[str, list[float]] = {"depth": [], "odometry": []}

    @property
    def engine_name(self) -> str:
        """Engine of the depth."""
        return self._source.engine_name

    def estimate(self, sample: Sample) -> Odometry:
        """Odometry at a sample."""
        start = time.perf_counter()
        depth = self._source.estimate(sample)
        depth_done = time.perf_counter()
        odometry = self._estimator.estimate(depth, self._imu_rotation(depth.stamp))
        self.milliseconds["depth"].append(1000 * (depth_done - start))
        self.milliseconds["odometry"].append(1000 * (time.perf_counter() - depth_done))
        return odometry

    def _imu_rotation(self, stamp: int) -> np.ndarray | None:
        """(3, 3) R_old_new of the camera since the last sample."""
        old, self._stamp = self._stamp, stamp
        if self._imu is None or not old:
            return None
        assert self._imu.T_camera_imu is not None
        R_old_new = integrate_rotation(self._imu.stamps, self._imu.angular_velocity, old, stamp)
        R_camera_imu = self._imu.T_camera_imu[:3, :3]
        return None if R_old_new is None else R_camera_imu @ R_old_new @ R_camera_imu.T


class NetworkOdometry:
    """Odometry of a pose network."""

    method = "pose network"

    def __init__(self, model: str, settings: EngineSettings) -> None:
        self._network = PoseNetwork(model, settings)
        self.name, self.scale = self._network.card.name, self._network.card.scale
        self.milliseconds: dict[str, list[float]] = {}

    @property
    def window(self) -> np.ndarray | None:
        """Motions of the last input of the network."""
        return self._network.window

    @property
    def engine_name(self) -> str:
        """Engine of the network."""
        return self._network.engine_status.name

    def estimate(self, sample: Sample) -> Odometry:
        """Odometry at a sample."""
        return self._network.estimate(sample.left)


@dataclass(frozen=True)
class TrajectoryRun:
    """Trajectory of a run. stamps: ns. poses: (N, 4, 4) in the first camera, NaN where none is published.

    ground_truth: (N, 4, 4), NaN = unknown. covariances: (N - 1, 6, 6) of the motions between consecutive frames, NaN =
    unknown; None for a source without covariances. latencies: ms, of every frame but the first. windows: by frame,
    `OdometrySource.window` of the input that ends with it.
    """

    stamps: list[int]
    poses: np.ndarray
    ground_truth: np.ndarray
    covariances: np.ndarray | None
    latencies: tuple[float, ...]
    windows: tuple[np.ndarray | None, ...] = ()


def evaluate_odometry(
    model: str,
    data: Path,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008
    settings: OdometrySettings | None = None,
    trajectories: Path | None = None,
    use_imu: bool = False,
) -> dict[str, Any]:
    """Evaluate odometry on a folder; returns the content of `depth_ros evaluate odometry --json`.

    model: its depth is used, `semi_global`, `recorded`, or "" for the default of the folder; a model of
    task ego_motion is a pose network. settings: None = `default_settings`. trajectories: folder for estimate.txt and
    ground_truth.txt in TUM format. use_imu: the rotation of the recorded IMU is where alignment begins.
    Raises DepthRosError if the folder has no poses.
    """
    folder = open_recording(data, options.recording)
    source: OdometrySource
    settings = settings or default_settings(folder)
    if model not in ("", RECORDED, SEMI_GLOBAL) and find_card(model).task == "ego_motion":
        source = NetworkOdometry(model, options.engine)
    else:
        imu = _located_imu(folder, data) if use_imu else None
        source = DepthOdometry(open_source(model, folder, options.engine), settings, imu)
    run = run_odometry(source, folder, settings, options.limit, options.progress)
    if not np.isfinite(run.ground_truth).all(axis=(1, 2)).any():
        reason = (
            "its poses are of other times"
            if folder.contents.poses
            else "groundtruth.txt or --poses is needed"
        )
        raise DepthRosError(f"no image of {data} has a pose to compare with: {reason}")
    if trajectories:
        trajectories.mkdir(parents=True, exist_ok=True)
        write_tum(trajectories / "estimate.txt", run.stamps, run.poses)
        write_tum(trajectories / "ground_truth.txt", run.stamps, run.ground_truth)
    result = _result(data, source, run)
    if options.report:
        report = TrajectoryReport(result, run.poses, run.ground_truth, run.latencies)
        write_trajectory_report(options.report, report)
    return result


def _located_imu(folder: Recording, data: Path) -> Imu:
    """The IMU of a recording. Raises DepthRosError if it has none, or its rotation to the camera is not known."""
    imu = imu_of(folder)
    if imu is None:
        raise DepthRosError(f"{data} has no IMU; of a bag with several, choose one with --imu-topic")
    if imu.T_camera_imu is None:
        raise DepthRosError(
            f"{data}: no transform from the IMU '{imu.frame_id}' to the camera: record /tf_static, too"
        )
    return imu


def default_settings(folder: Recording) -> OdometrySettings:
    """The defaults of the node; for rendered folders without the errors that a real camera adds."""
    settings = OdometrySettings()
    return without_camera_noise(settings) if folder.contents.exact else settings


def run_odometry(
    source: OdometrySource,
    folder: Recording,
    settings: OdometrySettings,
    limit: int = 0,
    progress: Progress = no_progress,
) -> TrajectoryRun:
    """Run odometry over the first `limit` frames of a folder (0 = all).

    The poses are integrated as in the node, with the camera as base frame: while odometry is lost there is no pose,
    or the extrapolated one if the settings say so.
    """
    count = min(len(folder), limit or len(folder))
    poses, ground_truth = np.full((2, count, 4, 4), np.nan)
    covariances = np.full((max(count - 1, 0), 6, 6), np.nan)
    stamps, latencies, windows = list[int](), list[float](), list[np.ndarray | None]()
    extrapolates = settings.when_lost == "extrapolate"
    base = BaseFramePose(max_extrapolation=settings.extrapolation_timeout if extrapolates else 0.0)
    for index, (_, sample) in enumerate(readable(folder, range(count))):
        start = time.perf_counter()
        odometry = source.estimate(sample)
        latencies.append(1000 * (time.perf_counter() - start))
        windows.append(source.window)
        state, motion = base.update(odometry, np.eye(4)), odometry.motion
        if odometry.state != "lost" or (extrapolates and base.is_valid(odometry.stamp)):
            poses[index] = state.T
        if motion is not None and stamps and motion.stamp_old == stamps[-1]:
            covariances[index - 1] = motion.covariance
        if sample.T_world_camera is not None:
            ground_truth[index] = sample.T_world_camera
        stamps.append(sample.left.stamp)
        progress(index + 1, count)
    read = len(stamps)
    known = covariances[: max(read - 1, 0)]
    return TrajectoryRun(
        stamps,
        poses[:read],
        ground_truth[:read],
        known if np.nan_to_num(known).any() else None,
        tuple(latencies[1:]),
        tuple(windows),
    )


def snippet_metrics(run: TrajectoryRun) -> dict[str, Any]:
    """The snippet metrics as published for pose networks: every snippet from its own inputs, see `snippets_of_windows`.

    Otherwise those of the integrated trajectory stay. snippets: how they were made.
    """
    estimated = snippets_of_windows(run.windows)
    if estimated is None:
        return {"snippets": "of the integrated trajectory"}
    errors = snippet_errors(estimated, snippets(run.ground_truth))
    return {
        "snippets": f"{len(errors)}, each from its own {SNIPPET_FRAMES} frames",
        "snippet_ate_m": float(errors.mean()) if len(errors) else None,
        "snippet_ate_std_m": float(errors.std()) if len(errors) else None,
    }


def _result(data: Path, source: OdometrySource, run: TrajectoryRun) -> dict[str, Any]:
    latency = summarise(run.latencies)
    return {
        "model": source.name,
        "data": str(data),
        "method": source.method,
        "frames": len(run.stamps),
        "model_scale": source.scale,
        **trajectory_metrics(run.poses, run.ground_truth, run.covariances),
        **snippet_metrics(run),
        "nees_bounds": nees_bounds(run.poses, run.ground_truth),
        "engine": source.engine_name,
        "ms_per_frame": latency.median if latency else None,
        **{
            f"ms_{stage}": float(np.median(times[1:]))
            for stage, times in source.milliseconds.items()
            if times[1:]
        },
    }
