"""Which moving object is which, from pair to pair of images, and which of them are sure to be any."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from depth_ros.datatypes import ObjectMotion
from depth_ros.estimators.scene_flow import mahalanobis

VOTES = 0.2
"""Share of an object's pixels that were the same object before."""
ALIKE = 16.0
"""Squared Mahalanobis distance of two velocities of one object."""
ACCELERATION = 10.0
"""m/s^2, one standard deviation: what an object may do between two pairs."""


@dataclass(frozen=True)
class Seen:
    """An object and in how many pairs in a row it was seen to move likewise."""

    motion: ObjectMotion
    pairs: int


class ObjectTracks:
    """Gives objects their ids. confirmed: pairs in a row in which one must be seen before it counts."""

    def __init__(self, confirmed: int) -> None:
        self._confirmed, self._next, self._stamp = confirmed, 1, -1
        self._last: dict[int, Seen] = {}
        self._ids = np.zeros((0, 0), int)

    def follow(
        self, older: int, newer: int, objects: list[ObjectMotion], places: list[np.ndarray]
    ) -> list[ObjectMotion]:
        """The objects that count, with their ids.

        older, newer: ns. places: of each object (N, 2) px, where its pixels were in the older image, of the size of
        the masks. What is cut in two, and moves alike, stays one.
        """
        if self._stamp != older:
            self._last, self._ids = {}, np.zeros((0, 0), int)
        now: dict[int, Seen] = {}
        sizes = [int(each.mask.sum()) for each in objects]
        for index in np.argsort(sizes)[::-1]:
            each, label = objects[index], self._voted(places[index])
            if label in now:
                whole = now[label].motion
                if agree(whole, each, 0.0):
                    now[label] = replace(now[label], motion=replace(whole, mask=whole.mask | each.mask))
                    continue
                label = 0
            last = self._last.get(label)
            steady = last is not None and agree(last.motion, each, 1e-9 * (newer - older))
            if not label:
                label, self._next = self._next, self._next + 1
            now[label] = Seen(replace(each, label=label), last.pairs + 1 if last and steady else 1)
        self._remember(newer, now)
        return [seen.motion for seen in now.values() if seen.pairs >= self._confirmed]

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
        if now:
            self._ids = np.zeros(next(iter(now.values())).motion.mask.shape, int)
        else:
            self._ids = np.zeros((0, 0), int)
        for label, seen in now.items():
            self._ids[seen.motion.mask] = label


def agree(one: ObjectMotion, other: ObjectMotion, seconds: float) -> bool:
    """Whether both may be the velocity of one object, `seconds` apart."""
    covariance = one.covariance + other.covariance + (ACCELERATION * seconds) ** 2 * np.eye(3)
    return bool(mahalanobis(one.velocity - other.velocity, covariance) < ALIKE)
