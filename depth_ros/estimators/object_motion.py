"""What moves on its own: objects with their velocities, from two depth images and the motion of the camera.

Where instances are given (labels of a segmentation), each of them is one object; else pixels that the ego-motion
does not explain are clustered. One rigid motion is fitted to the flow and the inverse depths of every object, in
Gauss-Newton steps with robust weights; what its covariance does not tell from standing still is not reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_ros.config import setting
from depth_ros.datatypes import Depth, Motion, ObjectMotion
from depth_ros.errors import DepthRosError
from depth_ros.estimators.scene_flow import SceneFlow, cross, expected, mahalanobis, scene_flow

STEPS = 6
MOST = 1500
"""Points of an object that its motion is fitted to."""
TURN = 0.05
"""rad between two frames: standard deviation of how much things turn, before anything is seen."""
PATCH = 8
"""px: neighbours so near share their errors, since flow is found in patches of this size."""
EDGE = 0.08
"""Step of depth between neighbours, as a share of it, at which one object ends."""
OUTLIER = 25.0
"""Squared Mahalanobis distance from which on a point does not belong to the motion."""
INDEPENDENT = 4.0
"""Points of an object at most whose errors are independent: flow is smoothed over all of it."""
AGREE = 0.5
"""Share of an object's points that have to belong to its motion."""


@dataclass(frozen=True)
class ObjectMotionSettings:
    """How moving things are told from the scene."""

    stride: int = setting(2, "of the pixels that are looked at", "px", 1, 8)
    flow_std: float = setting(0.5, "standard deviation of the optical flow", "px", 0.05, 10.0)
    depth_std: float = setting(
        0.05, "standard deviation of depth that does not state its own, as a share of it", "", 0.0, 0.5
    )
    common_share: float = setting(
        0.5,
        "of the standard deviation of depth: how much of it the pixels of an object have in common",
        "",
        0.0,
        1.0,
    )
    significance: float = setting(
        4.0,
        "standard deviations that a pixel, and a velocity, must differ from standing still",
        "",
        1.0,
        20.0,
    )
    min_speed: float = setting(0.3, "what is slower stands still", "m/s", 0.0, 10.0)
    max_speed: float = setting(60.0, "what is faster is a mistake", "m/s", 1.0, 300.0)
    min_area: float = setting(0.001, "share of the image that an object must cover", "", 1e-5, 0.5)
    max_depth: float = setting(60.0, "what is farther is not looked at", "m", 1.0, 1000.0)


class ObjectMotionEstimator:
    """Two Depths and the ego-motion between them -> what moves. Ids last as long as an object is seen moving."""

    def __init__(self, settings: ObjectMotionSettings = ObjectMotionSettings()) -> None:
        self.settings = settings
        self.reset()

    def reset(self) -> None:
        """Forget the objects seen."""
        self._last: tuple[int, np.ndarray] = (
            -1,
            np.zeros((0, 0), int),
        )  # stamp and ids (H, W) of the last frame
        self._next = 1

    def estimate(
        self, older: Depth, newer: Depth, motion: Motion, labels: np.ndarray | None = None
    ) -> list[ObjectMotion]:
        """The objects that move, in the newer image, the nearest first.

        labels: (H, W) int, instances of the newer image, 0 = none of them; they become the ids. Raises DepthRosError
        where sizes differ or time does not go on.
        """
        if older.depth.shape != newer.depth.shape or (
            labels is not None and labels.shape != newer.depth.shape
        ):
            raise DepthRosError("object motion needs both depth images and the labels at one size")
        if newer.stamp <= older.stamp:
            raise DepthRosError(
                f"object motion needs a later image: {newer.stamp} ns comes after {older.stamp} ns"
            )
        s = self.settings
        flow = scene_flow(older, newer, motion, s.stride, s.flow_std, s.depth_std)
        near = flow.points[..., 2] < s.max_depth
        moving = (flow.surprise() > s.significance**2) & near
        moving = cv2.morphologyEx(moving.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
        parts = (
            self._parts(flow, moving, older.stamp)
            if labels is None
            else instances(labels[:: s.stride, :: s.stride])
        )
        seconds, found = (newer.stamp - older.stamp) * 1e-9, []
        for label, part in parts.items():
            motion_of = self._object(flow, part, seconds)
            if motion_of is not None:
                mask = enlarged(part, newer.depth.shape) if labels is None else labels == label
                found.append(ObjectMotion(label, mask, *motion_of))
        found.sort(key=lambda each: float(each.centre[2]))
        self._remember(newer, found)
        return found

    def _parts(self, flow: SceneFlow, moving: np.ndarray, stamp: int) -> dict[int, np.ndarray]:
        """Masks (H, W) of what moves, by id. What had one id in the last frame is still one, however it is cut now."""
        parts: dict[int, np.ndarray] = {}
        for part in clusters(moving, flow.points[..., 2]):
            if part.sum() >= self.settings.min_area * part.size:
                label = self._id(stamp, flow, part)
                parts[label] = parts.get(label, False) | part
        return parts

    def _object(self, flow: SceneFlow, part: np.ndarray, seconds: float) -> tuple | None:
        """T, centre, velocity and its covariance of the pixels of `part`; None if it does not move as one."""
        which = np.flatnonzero(part & flow.known)
        which = which[:: -(-len(which) // MOST) or 1]
        if len(which) < 10:
            return None
        points, measured = flow.points.reshape(-1, 3)[which], flow.measured.reshape(-1, 3)[which]
        noise = flow.noise.reshape(-1, 3, 3)[which]
        spacing = np.sqrt(part.sum() / len(which)) * self.settings.stride
        independent = min((spacing / PATCH) ** 2, INDEPENDENT / len(which), 1.0)
        T, covariance, agree = fit(points, measured, noise, flow.motion.T_old_new, flow.K, independent)
        centre = np.median(points, 0)
        moved = centre - (np.linalg.inv(T) @ np.append(centre, 1))[:3]
        wrong = self.settings.common_share * np.median(flow.std.flat[which] / points[:, 2]) * centre
        covariance = covariance + np.outer(wrong, wrong)
        significant = mahalanobis(moved, covariance) > self.settings.significance**2
        plausible = self.settings.min_speed <= np.linalg.norm(moved) / seconds <= self.settings.max_speed
        if not (significant and plausible and agree > AGREE):
            return None
        return T, centre, moved / seconds, covariance / seconds**2

    def _id(self, stamp: int, flow: SceneFlow, part: np.ndarray) -> int:
        """The id that most of the pixels had in the older image, if it was the last one seen; else a new one."""
        last, ids = self._last
        if last == stamp:
            x, y = np.round(flow.measured[part & flow.known][:, :2]).astype(int).T
            inside = (x >= 0) & (y >= 0) & (x < ids.shape[1]) & (y < ids.shape[0])
            votes = np.bincount(ids[y[inside], x[inside]])[1:]
            if votes.size and votes.max() > 0.2 * len(x):
                return int(votes.argmax()) + 1
        self._next += 1
        return self._next - 1

    def _remember(self, newer: Depth, objects: list[ObjectMotion]) -> None:
        ids = np.zeros(newer.depth.shape, int)
        for each in objects:
            ids[each.mask] = each.label
            self._next = max(self._next, each.label + 1)
        self._last = (newer.stamp, ids)


def instances(labels: np.ndarray) -> dict[int, np.ndarray]:
    """The mask (H, W) of every instance of a label image, by its id; 0 is none."""
    return {int(label): labels == label for label in np.unique(labels[labels > 0])}


def enlarged(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask at the size of the image that it was thinned out from."""
    return cv2.resize(mask.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST) > 0


def clusters(moving: np.ndarray, depth: np.ndarray) -> list[np.ndarray]:
    """Masks of the connected parts of a mask (H, W), cut where depth (H, W) m jumps."""
    log = np.log(depth.clip(1e-3)).astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    jump = cv2.dilate(log, kernel) - cv2.erode(log, kernel) > 2 * EDGE
    count, names = cv2.connectedComponents((moving & ~jump).astype(np.uint8), connectivity=4)
    grown = cv2.dilate(names.astype(np.uint16), kernel)  # what was cut away belongs to the neighbour
    names = np.where((names == 0) & moving, grown, names)
    return [names == number for number in range(1, count)]


def fit(
    points: np.ndarray,
    measured: np.ndarray,
    noise: np.ndarray,
    T_old_new: np.ndarray,
    K: np.ndarray,
    share: float,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Rigid motion T (4, 4), in the newer camera, that brought N points to where they are; see SceneFlow.

    share: of the points, how many are independent. Also the covariance (3, 3) of how far their centre moved, and the
    share that agrees.
    """
    centre, T = np.median(points, 0), np.eye(4)
    information = np.linalg.inv(noise)
    H, distance = np.eye(6), np.zeros(len(points))
    for _ in range(STEPS):
        before = (points - T[:3, 3] - centre) @ T[:3, :3] + centre
        seen, by_carried = expected(before, T_old_new, K)
        error = measured - seen
        by_point = by_carried @ T_old_new[:3, :3]
        J = np.concatenate([-by_point, by_point @ cross(before - centre)], -1)
        distance = np.einsum("ni,nij,nj->n", error, information, error)
        weight = np.nan_to_num(1 / (1 + distance / OUTLIER) ** 2)  # Geman and McClure
        weighted = np.einsum("n,nji,njk->nik", share * weight, np.nan_to_num(J), information)
        H = np.einsum("nij,njk->ik", weighted, np.nan_to_num(J)) + np.diag([1e-9] * 3 + [TURN**-2] * 3)
        turn = cv2.Rodrigues(T[:3, :3])[0][:, 0]
        b = np.einsum("nij,nj->i", weighted, np.nan_to_num(error)) - np.append(np.zeros(3), turn / TURN**2)
        step = np.linalg.solve(H, b)
        T[:3, 3] += step[:3]
        T[:3, :3] = cv2.Rodrigues(step[3:])[0] @ T[:3, :3]
    about_origin = T.copy()
    about_origin[:3, 3] = T[:3, 3] + centre - T[:3, :3] @ centre
    return about_origin, np.linalg.inv(H)[:3, :3], float((distance < OUTLIER).mean())
