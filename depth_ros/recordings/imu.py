"""Measurements of an IMU that was recorded with the images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from depth_ros.recordings.files import stamped_rows
from depth_ros.recordings.sample import Recording


@dataclass(frozen=True)
class Imu:
    """All measurements of an IMU, in its frame (REP-145: a stationary IMU measures gravity, upwards).

    stamps: (N,) int64 ns, increasing. angular_velocity: (N, 3) rad/s. linear_acceleration: (N, 3) m/s^2.
    T_camera_imu: (4, 4) from the IMU to the rectified left camera; None if it is not known.
    """

    stamps: np.ndarray
    angular_velocity: np.ndarray
    linear_acceleration: np.ndarray
    frame_id: str
    T_camera_imu: np.ndarray | None = None


@runtime_checkable
class ImuRecording(Protocol):
    """A recording that may have an IMU; `contents.imu` says whether it does."""

    def imu(self) -> Imu | None:
        """The measurements, read when they are asked for."""
        ...


def imu_of(recording: Recording) -> Imu | None:
    """The measurements of a recording's IMU; None if it has none."""
    return recording.imu() if recording.contents.imu and isinstance(recording, ImuRecording) else None


def read_euroc_imu(file: Path, frame_id: str, T_camera_imu: np.ndarray | None) -> Imu:
    """EuRoC's data.csv: rows of nanoseconds, angular velocity and acceleration."""
    rows = stamped_rows(file, 7, int)
    values = np.array([row[:6] for _, row in rows])
    stamps = np.array([stamp for stamp, _ in rows], np.int64)
    return Imu(stamps, values[:, :3], values[:, 3:], frame_id, T_camera_imu)
