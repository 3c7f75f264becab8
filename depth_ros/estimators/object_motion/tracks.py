"""Which moving object is which, from pair to pair of images, and how fast it is by all of them.

What errs in the velocity of one pair is mostly the depth that an object's pixels have in common in one of its images.
The same error, with the opposite sign, is in the next pair, so it is followed together with the velocity, and what the
pairs have in common is not counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from depth_ros.estimators.object_motion.fit import Fit
from depth_ros.estimators.object_motion.scene_flow import mahalanobis

VOTES = 0.2
"""Share of an object's pixels that were the same object before."""
ALIKE = 20.0
"""Squared Mahalanobis distance up to which two observations are of one object."""
ACCELERATION = 2.0
"""m/s^2, one standard deviation: what an object may do from one pair to the next."""
SPEED = 100.0
"""m/s, one standard deviation, before anything is seen."""


@dataclass(frozen=True)
class Seen:
    """An object of one image. mask: (H, W) bool. velocity: (3,) m/s, and error: 1/m, of its inverse depth in this
    image; covariance: (4, 4) of both. pairs: in a row, in which it was seen to move likewise."""

    label: int
    mask: np.ndarray
    fit: Fit
    velocity: np.ndarray
    error: float
    covariance: np.ndarray
    pairs: int


class ObjectTracks:
    """Gives objects their ids, and velocities by all pairs in which they were seen."""

    def __init__(self) -> None:
        self._next, self._stamp = 1, -1
        self._last: dict[int, Seen] = {}
        self._ids = np.zeros((0, 0), int)

    def follow(
        self, older: int, newer: int, R_new_old: np.ndarray, objects: list[tuple[np.ndarray, Fit]],
        places: list[np.ndarray],
    ) -> list[Seen]:  # fmt: skip
        """The objects with their ids, by (mask, fit) of each.

        older, newer: ns. R_new_old: (3, 3) turn of the camera. places: of each object (N, 2) px, where its pixels were
        in the older image, of the size of the masks. What is cut in two, and moves alike, stays one.
        """
        if self._stamp != older:
            self._last, self._ids = {}, np.zeros((0, 0), int)
        now: dict[int, Seen] = {}
        seconds = 1e-9 * (newer - older)
        for index in np.argsort([int(mask.sum()) for mask, _ in objects])[::-1]:
            (mask, fit), label = objects[index], self._voted(places[index])
            each = observed(self._last.get(label), mask, fit, seconds, R_new_old)
            if label in now:
                whole = now[label]
                if agree(whole, each):
                    now[label] = replace(whole, mask=whole.mask | each.mask)
                    continue
                label, each = 0, observed(None, mask, fit, seconds, R_new_old)
            if not label:
                label, self._next = self._next, self._next + 1
            now[label] = replace(each, label=label)
        self._remember(newer, now)
        return list(now.values())

    def _voted(self, places: np.ndarray) -> int:
        """The id that most of the pixels had in the older image; 0 if it is none of those."""
        x, y = np.round(places).astype(int).T
        height, width = self._ids.shape
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        votes = np.bincount(self._ids[y[inside], x[inside]], minlength=1)
        votes[0] = 0
        return int(votes.argmax()) if votes.max() > VOTES * len(places) else 0

    def _remember(self, stamp: int, now: dict[int, Seen]) -> None:
        self._stamp, self._last = stamp, now
        shape = next(iter(now.values())).mask.shape if now else (0, 0)
        self._ids = np.zeros(shape, int)
        for label, seen in now.items():
            self._ids[seen.mask] = label


def observed(before: Seen | None, mask: np.ndarray, fit: Fit, seconds: float, R_new_old: np.ndarray) -> Seen:
    """An object after one more pair of images: a Kalman filter of its velocity and of the common errors of its inverse
    depths in the older and in the newer image. One that does not move as before is seen for the first time."""
    mean: np.ndarray = np.zeros(5)
    P: np.ndarray = np.diag([SPEED**2] * 3 + [fit.shared**2] * 2)
    if before is not None:
        turn = np.eye(4)
        turn[:3, :3] = R_new_old
        mean[:4] = turn @ np.append(before.velocity, before.error)
        P[:4, :4] = turn @ before.covariance @ turn.T
        P[:3, :3] += (ACCELERATION * seconds) ** 2 * np.eye(3)
    A = np.zeros((4, 5))
    A[:3, :3] = seconds * np.eye(3)
    A[:3, 4] = -fit.centre[2] * fit.relative  # depth that is wrong by a share is in the whole relative motion
    A[3, 3], A[3, 4] = 1.0, -1.0
    S, innovation = A @ P @ A.T + fit.covariance, fit.measured - A @ mean
    if before is not None and mahalanobis(innovation, S) > ALIKE:
        return observed(None, mask, fit, seconds, R_new_old)
    gain = np.linalg.solve(S, A @ P).T
    mean, P = mean + gain @ innovation, P - gain @ A @ P
    kept = [0, 1, 2, 4]
    pairs = before.pairs + 1 if before else 1
    return Seen(0, mask, fit, mean[:3], float(mean[4]), P[np.ix_(kept, kept)], pairs)


def agree(one: Seen, other: Seen) -> bool:
    """Whether both may be parts of one object."""
    covariance = one.covariance[:3, :3] + other.covariance[:3, :3]
    return bool(mahalanobis(one.velocity - other.velocity, covariance) < ALIKE)
