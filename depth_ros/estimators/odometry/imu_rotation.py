"""Rotation between two images from the angular velocities of an IMU."""

from __future__ import annotations

import cv2
import numpy as np

MAX_LAG = 50_000_000
"""ns; the last angular velocity is held for at most this long where the IMU lags behind the image."""


def integrate_rotation(stamps: np.ndarray, velocities: np.ndarray, old: int, new: int) -> np.ndarray | None:
    """(3, 3) R_old_new from angular velocities (N, 3), rad/s, in the body frame, interpolated linearly between them.

    stamps (N,), old, new: ns. None if the samples start after `old` or end more than MAX_LAG before `new`.
    """
    if not len(stamps) or stamps[0] > old or stamps[-1] < new - MAX_LAG:
        return None
    begin = max(int(np.searchsorted(stamps, old, "right")) - 1, 0)
    end = int(np.searchsorted(stamps, new)) + 1
    stamps, velocities = stamps[begin:end], velocities[begin:end]
    times = np.concatenate([[old], stamps[(stamps > old) & (stamps < new)], [new]])
    at_times = np.stack(
        [np.interp(times - old, stamps - old, velocities[:, axis]) for axis in range(3)], axis=1
    )
    R = np.eye(3)
    for seconds, velocity in zip(1e-9 * np.diff(times), (at_times[1:] + at_times[:-1]) / 2):
        R = R @ cv2.Rodrigues(velocity * seconds)[0]
    return R
