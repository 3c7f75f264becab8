"""Poses from the GPS and IMU records of raw KITTI, oxts/ (Geiger et al., IJRR 2013, devkit)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depth_ros.recordings.files import read_rows

EARTH_RADIUS = 6378137.0  # m, of the Mercator projection


def imu_pose(drive: Path, name: str) -> np.ndarray | None:
    """(4, 4) pose of the IMU on the Mercator projection, m; None without a GPS and IMU record."""
    file = drive / f"oxts/data/{name}.txt"
    if not file.is_file():
        return None
    latitude, longitude, altitude, roll, pitch, yaw = read_rows(file, (30,))[0, :6]
    first = read_rows(min((drive / "oxts/data").glob("*.txt")), (30,))[0, 0]
    scale = np.cos(np.radians(first)) * EARTH_RADIUS
    T = np.eye(4)
    T[:3, 3] = (
        scale * np.radians(longitude),
        scale * np.log(np.tan(np.radians(90 + latitude) / 2)),
        altitude,
    )
    T[:3, :3] = _rotation(2, yaw) @ _rotation(1, pitch) @ _rotation(0, roll)
    return T


def imu_measurements(drive: Path, stamps: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Stamps (N,), ns, and angular velocity, rad/s, and acceleration, m/s^2, (N, 6), of a drive.

    stamps: of the images, ns, by name, which are those of the synchronised measurements.
    """
    files = [(stamp, drive / f"oxts/data/{name}.txt") for name, stamp in stamps.items()]
    found = [(stamp, read_rows(file, (30,))[0]) for stamp, file in files if file.is_file()]
    values = np.array([np.concatenate([row[17:20], row[11:14]]) for _, row in found]).reshape(-1, 6)
    return np.array([stamp for stamp, _ in found], np.int64), values


def _rotation(axis: int, angle: float) -> np.ndarray:
    """(3, 3) rotation by `angle` (rad) about coordinate axis 0, 1 or 2."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    R = np.eye(3)
    R[a, a] = R[b, b] = np.cos(angle)
    R[b, a], R[a, b] = np.sin(angle), -np.sin(angle)
    return R
