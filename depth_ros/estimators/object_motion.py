"""What moves on its own: objects with their velocities, from two depth images and the motion of the camera.

Where instances are given (labels of a segmentation), each of them is one object; else pixels that the ego-motion
does not explain are clustered. One rigid motion is fitted to the flow and the inverse depths of every object, in
Gauss-Newton steps with robust weights; what its covariance does not tell from standing still is not reported, nor
what was not seen moving, and likewise, in the pair before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from depth_ros.config import setting
from depth_ros.datatypes import Depth, Motion, ObjectMotion
from depth_ros.errors import DepthRosError
from depth_ros.estimators.object_tracks import ObjectTracks
from depth_ros.estimators.scene_flow import PATCH, SceneFlow, expected, mahalanobis, moved, scene_flow
from depth_ros.geometry import cross, inverse

STEPS = 6
MOST = 1500
"""Points of an object that its motion is fitted to."""
FEWEST = 10
"""The same, at least."""
RIM = 1
"""Pixels looked at, from the rim of an object inwards, that its motion is not fitted to."""
TURN = 0.05
"""rad between two frames: standard deviation of how much things turn, before anything is seen."""
EDGE = 0.08
"""Step of depth between neighbours, as a share of it, at which one object ends."""
OUTLIER = 25.0
"""Squared Mahalanobis distance from which on a point does not belong to the motion."""
INDEPENDENT = 4.0
"""Points of an object at most whose errors are independent: flow is smoothed over all of it."""
AGREE = 0.5
"""Share of an object's points that have to belong to its motion."""
GROWTH = 9
"""Pixels looked at, by which an object may grow beyond what was seen to move at first."""


@dataclass(frozen=True)
class ObjectMotionSettings:
    """How moving things are told from the scene."""

    stride: int = setting(2, "of the pixels that are looked at", "px", 1, 8)
    width: int = setting(800, "wider images are halved until they are not", "px", 64, 10000)
    flow_std: float = setting(
        0.5, "standard deviation of the optical flow where there is texture", "px", 0.05, 10.0
    )
    image_std: float = setting(
        5.0,
        "grey levels that a pixel differs by between two images, which moves what has little texture",
        "",
        0.1,
        50.0,
    )
    depth_std: float = setting(
        0.15, "standard deviation of depth that does not state its own, as a share of it", "", 0.0, 0.5
    )
    common_share: float = setting(
        0.3,
        "how much of the standard deviation of depth the pixels of an object have in common",
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
    confirmed: int = setting(
        2, "pairs of images in a row in which an object without a label must be seen moving", "", 1, 10
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
        self._tracks = ObjectTracks(self.settings.confirmed)

    def estimate(
        self, older: Depth, newer: Depth, motion: Motion, labels: np.ndarray | None = None
    ) -> list[ObjectMotion]:
        """The objects that move, in the newer image, the nearest first.

        labels: (H, W) int, instances of the newer image, 0 = none of them; they become the ids. Raises DepthRosError
        where sizes differ or time does not go on.
        """
        shape = newer.depth.shape
        if older.depth.shape != shape or (labels is not None and labels.shape != shape):
            raise DepthRosError("object motion needs both depth images and the labels at one size")
        if newer.stamp <= older.stamp:
            raise DepthRosError(
                f"object motion needs a later image: {newer.stamp} ns comes after {older.stamp} ns"
            )
        s, halvings = self.settings, 1
        while shape[1] > s.width * halvings:
            halvings *= 2
        small = reduced(older, halvings), reduced(newer, halvings)
        least = s.significance**2
        flow = scene_flow(*small, motion, s.stride, s.flow_std, s.image_std, s.depth_std, least)
        size, seconds = s.stride * halvings, (newer.stamp - older.stamp) * 1e-9
        if labels is None:
            found = [each for part in self._parts(flow) if (each := self._object(flow, 0, part, seconds))]
            places = [flow.measured[each.mask & flow.known][:, :2] / s.stride for each in found]
            found = self._tracks.follow(older.stamp, newer.stamp, found, places)
            found = [replace(each, mask=enlarged(each.mask, size, shape)) for each in found]
        else:
            start = halvings // 2
            parts = instances(labels[start::size, start::size], flow.known.shape)
            each_one = [self._object(flow, label, part, seconds) for label, part in parts.items()]
            found = [replace(each, mask=labels == each.label) for each in each_one if each]
        return sorted(found, key=lambda each: float(each.centre[2]))

    def _parts(self, flow: SceneFlow) -> list[np.ndarray]:
        """Masks (H, W) of what moves and is large enough."""
        near = flow.points[..., 2] < self.settings.max_depth
        moving = (flow.surprise > 0) & near
        moving = cv2.morphologyEx(moving.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
        parts = clusters(moving, flow.points[..., 2])
        return [part for part in parts if part.sum() >= self.settings.min_area * part.size]

    def _object(self, flow: SceneFlow, label: int, part: np.ndarray, seconds: float) -> ObjectMotion | None:
        """The motion of the pixels of `part`; None if they do not move, or not as one. Without a label the mask is
        of what moves like them."""
        which = np.flatnonzero(inner(part) & flow.known)
        which = which[:: -(-len(which) // MOST) or 1]
        if len(which) < FEWEST:
            return None
        s, points = self.settings, flow.points.reshape(-1, 3)[which]
        spacing = np.sqrt(part.sum() / len(which)) * s.stride
        independent = min((spacing / PATCH) ** 2, INDEPENDENT / len(which), 1.0)
        T, covariance, agree = fit(flow, which, independent)
        centre = np.median(points, 0)
        moved = centre - (inverse(T) @ np.append(centre, 1))[:3]
        covariance = covariance + common(flow, centre, s.common_share, flow.std.flat[which] / points[:, 2])
        significant = mahalanobis(moved, covariance) > s.significance**2
        plausible = s.min_speed <= np.linalg.norm(moved) / seconds <= s.max_speed
        if not (significant and plausible and agree > AGREE):
            return None
        mask = part if label else alike(flow, part, T)
        return ObjectMotion(label, mask, T, centre, moved / seconds, covariance / seconds**2)


def reduced(depth: Depth, factor: int) -> Depth:
    """Depth and image at a whole fraction of their size."""
    if factor == 1:
        return depth
    height, width = (n // factor for n in depth.depth.shape)
    camera = depth.camera.cropped(0, 0, factor * width, factor * height).resized(width, height)
    image = cv2.resize(
        depth.image[: factor * height, : factor * width], (width, height), interpolation=cv2.INTER_AREA
    )
    some = np.s_[factor // 2 : factor * height : factor, factor // 2 : factor * width : factor]
    std = None if depth.std is None else depth.std[some]
    return replace(depth, depth=depth.depth[some], camera=camera, image=image, std=std)


def enlarged(mask: np.ndarray, factor: int, shape: tuple[int, ...]) -> np.ndarray:
    """A mask at the size (H, W) of the image of which it has every `factor`-th pixel."""
    large = mask.repeat(factor, 0).repeat(factor, 1)[: shape[0], : shape[1]]
    return np.pad(large, [(0, n - m) for n, m in zip(shape, large.shape, strict=True)])


def instances(labels: np.ndarray, shape: tuple[int, ...]) -> dict[int, np.ndarray]:
    """The mask of every instance of a label image, by its id; 0 is none. shape: of the masks, which lose the rest."""
    labels = labels[: shape[0], : shape[1]]
    return {int(label): labels == label for label in np.unique(labels[labels > 0])}


def clusters(moving: np.ndarray, depth: np.ndarray) -> list[np.ndarray]:
    """Masks of the connected parts of a mask (H, W), cut where depth (H, W) m jumps."""
    log = np.log(depth.clip(1e-3)).astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    jump = cv2.dilate(log, kernel) - cv2.erode(log, kernel) > 2 * EDGE
    count, names = cv2.connectedComponents((moving & ~jump).astype(np.uint8), connectivity=4)
    grown = cv2.dilate(names.astype(np.uint16), kernel)  # what was cut away belongs to the neighbour
    names = np.where((names == 0) & moving, grown, names)
    return [names == number for number in range(1, count)]


def inner(part: np.ndarray) -> np.ndarray:
    """A mask without its rim, where the flow is that of what lies beside it."""
    return cv2.erode(part.astype(np.uint8), np.ones((2 * RIM + 1,) * 2, np.uint8)) > 0


def alike(flow: SceneFlow, part: np.ndarray, T: np.ndarray) -> np.ndarray:
    """The pixels of `part` and around it, at its depth, that T (4, 4) explains better than standing still."""
    around = cv2.dilate(part.astype(np.uint8), np.ones((2 * GROWTH + 1,) * 2, np.uint8)) > 0
    depth = flow.points[..., 2]
    low, high = np.quantile(depth[part], [0.05, 0.95])
    around &= flow.known & (depth > low * (1 - EDGE)) & (depth < high * (1 + EDGE))
    points, noise, back = flow.points[around], flow.noise(np.flatnonzero(around)), inverse(T)
    standing, moving = (
        mahalanobis(flow.measured[around] - expected(p, flow.motion.T_old_new, flow.K)[0], noise)
        for p in (points, points @ back[:3, :3].T + back[:3, 3])
    )
    mask = np.zeros_like(part)
    mask[around] = (moving < standing) & (moving < OUTLIER)
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0


def common(flow: SceneFlow, centre: np.ndarray, share: float, std: np.ndarray) -> np.ndarray:
    """(3, 3) m^2 of how far an object moved, of the errors that all its points share: depth and ego-motion.

    Depth that is wrong by a share of `std` (N,), relative, in one of the images moves the object along the view; if
    it is as wrong in both, the object moves by that share of the camera's own way.
    """
    wrong, T = float(np.median(std)), flow.motion.T_old_new
    along, own_way = share * wrong * centre, wrong * T[:3, :3].T @ T[:3, 3]
    by_motion = T[:3, :3].T @ moved(centre @ T[:3, :3].T)
    return (
        np.outer(along, along) + np.outer(own_way, own_way) + by_motion @ flow.motion.covariance @ by_motion.T
    )


def fit(flow: SceneFlow, which: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Rigid motion T (4, 4), in the newer camera, that brought the points `which` (N,), flat, to where they are.

    share: of the points, how many are independent. Also the covariance (3, 3) of how far their centre moved, and the
    share that agrees.
    """
    points, measured = flow.points.reshape(-1, 3)[which], flow.measured.reshape(-1, 3)[which]
    T_old_new, centre, T = flow.motion.T_old_new, np.median(points, 0), np.eye(4)
    information = np.linalg.inv(flow.noise(which))
    H, distance = np.eye(6), np.zeros(len(points))
    for _ in range(STEPS):
        before = (points - T[:3, 3] - centre) @ T[:3, :3] + centre
        seen, by_carried = expected(before, T_old_new, flow.K)
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
