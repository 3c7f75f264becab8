"""Identity and filtered velocity of moving objects over successive image pairs.

The error of the velocity from one pair is mostly the depth error that an object's pixels share in one of its images.
The same error enters the next pair with the opposite sign, so it is estimated together with the velocity; what the
pairs have in common is not counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from depth_ros.estimators.object_motion.fit import MotionFit
from depth_ros.estimators.object_motion.scene_flow import squared_mahalanobis

MIN_OVERLAP = 0.2
"""Fraction of an object's pixels that must come from a previous object to inherit its id."""
SAME_MOTION_GATE = 20.0
"""Squared Mahalanobis distance up to which two observations are attributed to one object."""
ACCELERATION_STD = 2.0
"""m/s^2, standard deviation of an object's acceleration between two pairs."""
PRIOR_SPEED_STD = 100.0
"""m/s, standard deviation of the velocity before the first observation."""


@dataclass(frozen=True)
class TrackedObject:
    """State of one object in the newest image.

    mask: (H, W) bool. fit: of the last pair. velocity: (3,) m/s. inverse_depth_error: 1/m, common error of its inverse
    depth in this image. covariance: (4, 4) of velocity and that error. pairs: number of successive pairs with
    consistent motion.
    """

    label: int
    mask: np.ndarray
    fit: MotionFit
    velocity: np.ndarray
    inverse_depth_error: float
    covariance: np.ndarray
    pairs: int


class ObjectTracker:
    """Assigns ids to objects and filters their velocities over all pairs in which they appear."""

    def __init__(self) -> None:
        self._next_id, self._stamp = 1, -1
        self._objects: dict[int, TrackedObject] = {}
        self._ids = np.zeros((0, 0), int)

    def update(
        self, older: int, newer: int, R_new_old: np.ndarray, observations: list[tuple[np.ndarray, MotionFit]],
        older_pixels: list[np.ndarray],
    ) -> list[TrackedObject]:  # fmt: skip
        """Tracked objects of the newer image, from the (mask, fit) of each observation.

        older, newer: stamps in ns. R_new_old: (3, 3) rotation of the camera. older_pixels: for each observation (N, 2)
        px, positions of its pixels in the older image, at the masks' resolution. Observations with the same id and the
        same motion are merged. A pair that does not start where the last one ended restarts the tracks.
        """
        if self._stamp != older:
            self._objects, self._ids = {}, np.zeros((0, 0), int)
        tracked: dict[int, TrackedObject] = {}
        seconds = 1e-9 * (newer - older)
        for index in np.argsort([int(mask.sum()) for mask, _ in observations])[::-1]:
            (mask, fit), label = observations[index], self._previous_id(older_pixels[index])
            found = filtered(self._objects.get(label), mask, fit, seconds, R_new_old)
            if label in tracked:
                larger = tracked[label]
                if same_motion(larger, found):
                    tracked[label] = replace(larger, mask=larger.mask | found.mask)
                    continue
                label, found = 0, filtered(None, mask, fit, seconds, R_new_old)
            if not label:
                label, self._next_id = self._next_id, self._next_id + 1
            tracked[label] = replace(found, label=label)
        self._remember(newer, tracked)
        return list(tracked.values())

    def _previous_id(self, pixels: np.ndarray) -> int:
        """The id that most of the pixels (N, 2) had in the older image; 0 if none has enough of them."""
        x, y = np.round(pixels).astype(int).T
        height, width = self._ids.shape
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        votes = np.bincount(self._ids[y[inside], x[inside]], minlength=1)
        votes[0] = 0
        return int(votes.argmax()) if votes.max() > MIN_OVERLAP * len(pixels) else 0

    def _remember(self, stamp: int, tracked: dict[int, TrackedObject]) -> None:
        self._stamp, self._objects = stamp, tracked
        shape = next(iter(tracked.values())).mask.shape if tracked else (0, 0)
        self._ids = np.zeros(shape, int)
        for label, each in tracked.items():
            self._ids[each.mask] = label


def filtered(
    previous: TrackedObject | None, mask: np.ndarray, fit: MotionFit, seconds: float, R_new_old: np.ndarray
) -> TrackedObject:
    """Kalman filter step of an object's velocity and of its common inverse depth errors in the older and newer image.

    An observation outside SAME_MOTION_GATE starts a new track. The label is 0.
    """
    mean: np.ndarray = np.zeros(5)
    P: np.ndarray = np.diag([PRIOR_SPEED_STD**2] * 3 + [fit.common_error_std**2] * 2)
    if previous is not None:
        rotation = np.eye(4)
        rotation[:3, :3] = R_new_old
        mean[:4] = rotation @ np.append(previous.velocity, previous.inverse_depth_error)
        P[:4, :4] = rotation @ previous.covariance @ rotation.T
        P[:3, :3] += (ACCELERATION_STD * seconds) ** 2 * np.eye(3)
    A = np.zeros((4, 5))
    A[:3, :3] = seconds * np.eye(3)
    A[:3, 4] = -fit.centre[2] * fit.relative_displacement  # a relative depth error scales the relative motion
    A[3, 3], A[3, 4] = 1.0, -1.0
    S, innovation = A @ P @ A.T + fit.covariance, fit.measurement - A @ mean
    if previous is not None and squared_mahalanobis(innovation, S) > SAME_MOTION_GATE:
        return filtered(None, mask, fit, seconds, R_new_old)
    gain = np.linalg.solve(S, A @ P).T
    mean, P = mean + gain @ innovation, P - gain @ A @ P
    state = [0, 1, 2, 4]  # velocity, and the error in the newer image
    pairs = previous.pairs + 1 if previous else 1
    return TrackedObject(0, mask, fit, mean[:3], float(mean[4]), P[np.ix_(state, state)], pairs)


def same_motion(one: TrackedObject, other: TrackedObject) -> bool:
    """Whether the velocities agree, so that both may be parts of one object."""
    covariance = one.covariance[:3, :3] + other.covariance[:3, :3]
    return bool(squared_mahalanobis(one.velocity - other.velocity, covariance) < SAME_MOTION_GATE)
