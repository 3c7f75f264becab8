"""What moves on its own: objects with their velocities, from two depth images and the motion of the camera.

Where instances are given (labels of a segmentation), each of them is one object; else pixels that the ego-motion
does not explain are clustered. One rigid motion is fitted to the flow and the inverse depths of every object, in
Gauss-Newton steps with robust weights; what its covariance does not tell from standing still is not reported, nor
what was not seen moving, and likewise, in the pair before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from depth_ros.config import setting
from depth_ros.datatypes import Depth, Motion, ObjectMotion
from depth_ros.errors import DepthRosError
from depth_ros.estimators.object_motion.fit import Fit, Layers, fit
from depth_ros.estimators.object_motion.scene_flow import SceneFlow, expected, mahalanobis, scene_flow
from depth_ros.estimators.object_motion.tracks import ObjectTracks, Seen
from depth_ros.geometry import inverse

MOST = 1500
"""Points of an object that its motion is fitted to."""
FEWEST = 10
"""The same, at least."""
RIM = 1
"""Pixels looked at, from the rim of an object inwards, that its motion is not fitted to."""
EVIDENCE = 9.0
"""Squared deviation of a pixel from standing still, of three degrees of freedom, from which on it is looked at."""
EDGE = 0.08
"""Step of depth between neighbours, as a share of it, at which one object ends."""
OUTLIER = 25.0
"""Squared Mahalanobis distance from which on a point does not belong to the motion."""
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
        0.2, "standard deviation of the optical flow where there is texture", "px", 0.05, 10.0
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
    lasting_share: float = setting(
        1.0,
        "how much of it does not even change from image to image, and so is in all of an object's relative motion",
        "",
        0.0,
        10.0,
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
        self._tracks = ObjectTracks()

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
        flow = scene_flow(*small, motion, s.stride, s.flow_std, s.image_std, s.depth_std, EVIDENCE)
        size, start = s.stride * halvings, halvings // 2
        layers = Layers(flow)
        parts: Iterable[tuple[int, np.ndarray]] = ((0, part) for part in self._parts(flow))
        if labels is not None:
            parts = instances(labels[start::size, start::size], flow.known.shape).items()
        found = [(label, part, each) for label, part in parts if (each := self._fit(flow, layers, part))]
        seen = self._follow(flow, older.stamp, newer.stamp, found, labels is not None)
        gap = newer.stamp - older.stamp
        reported = [self._object(known, label, gap) for label, known in seen]
        objects = [one for one in reported if one is not None]
        if labels is None:
            objects = [replace(each, mask=enlarged(each.mask, size, shape)) for each in objects]
        else:
            objects = [replace(each, mask=labels == each.label) for each in objects]
        return sorted(objects, key=lambda each: float(each.centre[2]))

    def _follow(
        self,
        flow: SceneFlow,
        older: int,
        newer: int,
        found: list[tuple[int, np.ndarray, Fit]],
        labelled: bool,
    ) -> list[tuple[int, Seen]]:
        """What is known of every object by all pairs, with its label."""
        objects = [(part if labelled else alike(flow, part, each.T), each) for _, part, each in found]
        places = [flow.measured[mask & flow.known][:, :2] / self.settings.stride for mask, _ in objects]
        R_new_old = flow.motion.T_old_new[:3, :3].T
        seen = self._tracks.follow(older, newer, R_new_old, objects, places)
        if not labelled:
            return [(each.label, each) for each in seen if each.pairs >= self.settings.confirmed]
        names = {id(each): label for label, _, each in found}
        return [(names[id(each.fit)], each) for each in seen]

    def _parts(self, flow: SceneFlow) -> list[np.ndarray]:
        """Masks (H, W) of what moves and is large enough."""
        near = flow.points[..., 2] < self.settings.max_depth
        moving = (cv2.medianBlur(flow.surprise.astype(np.float32), 5) > EVIDENCE) & near
        moving = cv2.morphologyEx(moving.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
        parts = clusters(moving, flow.points[..., 2])
        return [part for part in parts if part.sum() >= self.settings.min_area * part.size]

    def _fit(self, flow: SceneFlow, layers: Layers, part: np.ndarray) -> Fit | None:
        """The motion of the pixels of `part`; None if they are too few, or do not move as one."""
        which = np.flatnonzero(inner(part) & flow.known)
        which = which[:: -(-len(which) // MOST) or 1]
        if len(which) < FEWEST:
            return None
        s = self.settings
        found = fit(flow, layers, which, part.sum() / len(which) * s.stride**2, s.image_std, s.common_share)
        return found if found.agree > AGREE else None

    def _object(self, seen: Seen, label: int, gap: int) -> ObjectMotion | None:
        """What is reported of an object after `gap` ns; None if it may as well stand still."""
        s, v, z = self.settings, seen.velocity, seen.fit.centre[2]
        # depth that is wrong by the same in all images is in every relative motion, and no averaging takes it away
        lasting = s.lasting_share * seen.fit.inverse_depth_std * z * seen.fit.relative / (1e-9 * gap)
        covariance = seen.covariance[:3, :3] + np.outer(lasting, lasting)
        plausible = s.min_speed <= np.linalg.norm(v) <= s.max_speed
        if not plausible or mahalanobis(v, covariance) <= s.significance**2:
            return None
        T, centre = np.eye(4), seen.fit.centre
        T[:3, :3] = seen.fit.T[:3, :3]
        T[:3, 3] = centre - T[:3, :3] @ (centre - 1e-9 * gap * v)
        return ObjectMotion(label, seen.mask, T, centre, v, covariance)


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
