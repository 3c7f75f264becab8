"""Moving objects and their velocities, from two depth images and the ego-motion between them.

Each instance of a given label image is one object; without labels, pixels that the ego-motion does not explain are
clustered. One rigid motion is fitted to the intensities and inverse depths of every object with robust Gauss-Newton
steps. An object is reported if its velocity differs significantly from zero and, without labels, if successive pairs
confirm it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from depth_ros.config import setting
from depth_ros.datatypes import Depth, Motion, ObjectMotion
from depth_ros.errors import DepthRosError
from depth_ros.estimators.object_motion.fit import BlurredImages, MotionFit, fit_motion
from depth_ros.estimators.object_motion.masks import (
    cluster_masks,
    consistent_pixels,
    erode_mask,
    instance_masks,
    upsample_mask,
)
from depth_ros.estimators.object_motion.scene_flow import (
    SceneFlow,
    SceneFlowSettings,
    scene_flow,
    squared_mahalanobis,
)
from depth_ros.estimators.object_motion.tracks import ObjectTracker, TrackedObject

MAX_FIT_POINTS, MIN_FIT_POINTS = 1500, 10
"""Number of points that an object's motion is fitted to."""
MOVING_GATE = 9.0
"""Squared Mahalanobis distance (3 degrees of freedom) from a static point above which a pixel is a candidate."""
MIN_INLIER_RATIO = 0.5
"""Fraction of an object's points that must agree with its motion."""


@dataclass(frozen=True)
class ObjectMotionSettings:
    """Detection of moving objects, and the noise of flow, images and depth."""

    stride: int = setting(2, "Pixel step of the evaluated grid; larger is faster and coarser.", "px", 1, 8)
    max_width: int = setting(800, "Images wider than this are halved until they fit.", "px", 64, 10000)
    flow_std: float = setting(
        0.2, "Standard deviation of the optical flow in textured regions.", "px", 0.05, 10.0
    )
    intensity_std: float = setting(
        5.0,
        "Standard deviation of a pixel's grey level between two images; larger values ignore weakly textured regions.",
        "",
        0.1,
        50.0,
    )
    relative_depth_std: float = setting(
        0.15,
        "Standard deviation of depth as a fraction of depth; used for depth without its own standard deviation.",
        "",
        0.0,
        0.5,
    )
    common_depth_error: float = setting(
        0.3,
        "Fraction of the depth standard deviation that the pixels of an object share in one image.",
        "",
        0.0,
        1.0,
    )
    persistent_depth_error: float = setting(
        1.0,
        "Fraction of the depth standard deviation that stays the same over images and so scales the relative motion.",
        "",
        0.0,
        10.0,
    )
    significance: float = setting(
        4.0, "Standard deviations by which a velocity must differ from zero.", "", 1.0, 20.0
    )
    min_confirmations: int = setting(
        2, "Successive image pairs in which an object without a label must move consistently.", "", 1, 10
    )
    min_speed: float = setting(0.3, "Minimum speed; slower objects are not reported.", "m/s", 0.0, 10.0)
    max_speed: float = setting(60.0, "Maximum speed; faster objects are rejected.", "m/s", 1.0, 300.0)
    min_area: float = setting(
        0.001, "Minimum size of an object without a label, as a fraction of the image.", "", 1e-5, 0.5
    )
    max_depth: float = setting(
        60.0, "Maximum depth at which objects without a label are detected.", "m", 1.0, 1000.0
    )


class ObjectMotionEstimator:
    """Two Depths and the ego-motion between them -> moving objects. An id lasts as long as the object is tracked."""

    def __init__(self, settings: ObjectMotionSettings = ObjectMotionSettings()) -> None:
        self.settings = settings
        self.reset()

    def reset(self) -> None:
        """Forget all tracked objects."""
        self._tracker = ObjectTracker()

    def estimate(
        self, older: Depth, newer: Depth, motion: Motion, labels: np.ndarray | None = None
    ) -> list[ObjectMotion]:
        """Moving objects in the newer image, nearest first.

        labels: (H, W) int, instances of the newer image, 0 = background; they become the ids. Raises DepthRosError
        where sizes differ or the stamps do not increase.
        """
        check_inputs(older, newer, labels)
        s, halvings, shape = self.settings, 1, newer.depth.shape
        while shape[1] > s.max_width * halvings:
            halvings *= 2
        flow = scene_flow(
            reduced(older, halvings),
            reduced(newer, halvings),
            motion,
            SceneFlowSettings(s.stride, s.flow_std, s.intensity_std, s.relative_depth_std, MOVING_GATE),
        )
        step, first = s.stride * halvings, halvings // 2
        stamps = older.stamp, newer.stamp
        if labels is None:
            tracked = self._track_clusters(flow, stamps)
        else:
            tracked = self._track_instances(flow, stamps, labels[first::step, first::step])
        found = [self._object(each, label, newer.stamp - older.stamp) for label, each in tracked]
        objects = [each for each in found if each is not None]
        if labels is None:
            objects = [replace(each, mask=upsample_mask(each.mask, step, shape)) for each in objects]
        else:
            objects = [replace(each, mask=labels == each.label) for each in objects]
        return sorted(objects, key=lambda each: float(each.centre[2]))

    def _track_clusters(self, flow: SceneFlow, stamps: tuple[int, int]) -> list[tuple[int, TrackedObject]]:
        """Confirmed objects among the clusters of moving pixels, with their ids."""
        images = BlurredImages(flow)
        fits = [(mask, self._fit(flow, images, mask)) for mask in self._moving_clusters(flow)]
        observations = [(consistent_pixels(flow, mask, fit.T), fit) for mask, fit in fits if fit]
        tracked = self._track(flow, stamps, observations)
        return [(each.label, each) for each in tracked if each.pairs >= self.settings.min_confirmations]

    def _track_instances(
        self, flow: SceneFlow, stamps: tuple[int, int], labels: np.ndarray
    ) -> list[tuple[int, TrackedObject]]:
        """Objects of a label image at the resolution of the flow, with their labels."""
        images, masks = BlurredImages(flow), instance_masks(labels, flow.valid.shape)
        fits = {label: fit for label, mask in masks.items() if (fit := self._fit(flow, images, mask))}
        tracked = self._track(flow, stamps, [(masks[label], fit) for label, fit in fits.items()])
        label_of = {id(fit): label for label, fit in fits.items()}
        return [(label_of[id(each.fit)], each) for each in tracked]

    def _track(
        self, flow: SceneFlow, stamps: tuple[int, int], observations: list[tuple[np.ndarray, MotionFit]]
    ) -> list[TrackedObject]:
        """Objects with the state filtered over all pairs. observations: (mask, fit) of each."""
        stride, R_new_old = self.settings.stride, flow.motion.T_old_new[:3, :3].T
        older_pixels = [flow.measured[mask & flow.valid][:, :2] / stride for mask, _ in observations]
        return self._tracker.update(*stamps, R_new_old, observations, older_pixels)

    def _moving_clusters(self, flow: SceneFlow) -> list[np.ndarray]:
        """Masks (H, W) of the clusters of moving pixels that are large enough."""
        near = flow.points[..., 2] < self.settings.max_depth
        moving = (cv2.medianBlur(flow.squared_distance.astype(np.float32), 5) > MOVING_GATE) & near
        moving = cv2.morphologyEx(moving.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
        masks = cluster_masks(moving, flow.points[..., 2])
        return [mask for mask in masks if mask.sum() >= self.settings.min_area * mask.size]

    def _fit(self, flow: SceneFlow, images: BlurredImages, mask: np.ndarray) -> MotionFit | None:
        """The motion of the pixels of a mask; None if they are too few or have no common motion."""
        indices = np.flatnonzero(erode_mask(mask) & flow.valid)
        indices = indices[:: -(-len(indices) // MAX_FIT_POINTS) or 1]
        if len(indices) < MIN_FIT_POINTS:
            return None
        area = mask.sum() / len(indices) * self.settings.stride**2
        fit = fit_motion(flow, images, indices, area, self.settings.common_depth_error)
        return fit if fit.inlier_ratio > MIN_INLIER_RATIO else None

    def _object(self, tracked: TrackedObject, label: int, gap: int) -> ObjectMotion | None:
        """The reported motion of an object over `gap` ns; None if it may be static or its speed is implausible."""
        s, v, fit = self.settings, tracked.velocity, tracked.fit
        # a depth error that is the same in all images scales every relative motion, and averaging does not reduce it
        relative_error = s.persistent_depth_error * fit.inverse_depth_std * fit.centre[2]
        persistent = relative_error * fit.relative_displacement / (1e-9 * gap)
        covariance = tracked.covariance[:3, :3] + np.outer(persistent, persistent)
        plausible = s.min_speed <= np.linalg.norm(v) <= s.max_speed
        if not plausible or squared_mahalanobis(v, covariance) <= s.significance**2:
            return None
        T, centre = np.eye(4), fit.centre
        T[:3, :3] = fit.T[:3, :3]
        T[:3, 3] = centre - T[:3, :3] @ (centre - 1e-9 * gap * v)
        return ObjectMotion(label, tracked.mask, T, centre, v, covariance)


def check_inputs(older: Depth, newer: Depth, labels: np.ndarray | None) -> None:
    """Raise DepthRosError unless depth images and labels have one size and the stamps increase."""
    shapes = [older.depth.shape, newer.depth.shape, *([] if labels is None else [labels.shape])]
    if len(set(shapes)) > 1:
        sizes = ", ".join(f"{shape[1]}x{shape[0]}" for shape in shapes)
        raise DepthRosError(
            f"both depth images and the label image must have one size; their sizes are {sizes}"
        )
    if newer.stamp <= older.stamp:
        raise DepthRosError(
            f"the newer depth image must have a later stamp; got {newer.stamp} ns after {older.stamp} ns"
        )


def reduced(depth: Depth, factor: int) -> Depth:
    """Depth and image reduced by an integer factor; depth is subsampled, the image averaged."""
    if factor == 1:
        return depth
    height, width = (n // factor for n in depth.depth.shape)
    camera = depth.camera.cropped(0, 0, factor * width, factor * height).resized(width, height)
    image = cv2.resize(
        depth.image[: factor * height, : factor * width], (width, height), interpolation=cv2.INTER_AREA
    )
    subset = np.s_[factor // 2 : factor * height : factor, factor // 2 : factor * width : factor]
    std = None if depth.std is None else depth.std[subset]
    return replace(depth, depth=depth.depth[subset], camera=camera, image=image, std=std)
