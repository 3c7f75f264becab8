"""The estimator's odometry as that of the robot: where the camera sits, what an IMU says, how long a unit of depth is,
and time that jumps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.node import Node

from depth_ros.datatypes import Depth, Odometry
from depth_ros.estimators.object_motion.pending_pairs import MAX_REORDERING
from depth_ros.estimators.odometry.base_frame import BaseState, BaseTrack
from depth_ros.estimators.odometry.pose_solver import Known
from depth_ros.estimators.odometry.scale import Scale, ScaleSettings
from depth_ros.nodes.inputs.imu import ImuInput
from depth_ros.nodes.inputs.scale import ScaleInput
from depth_ros.nodes.inputs.transforms import Transforms
from depth_ros.nodes.odometry_settings import OdometryNodeSettings


class BaseOdometry:
    """Depth -> odometry of `base_frame` (empty: of the camera), while `node` is active.

    What makes a frame useless is said to `complain` and counted in `rejected`; `begun` counts starts of the estimator.
    scale: how the scale is found of depth that has none. Once it is known odometry starts anew, in metres.
    """

    def __init__(
        self, node: Node, estimator: Any, track: BaseTrack, settings: OdometryNodeSettings, scale: ScaleSettings,
        complain: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.track, self.complain = track, complain
        self.rejected = self.begun = 0
        self._estimator, self._settings = estimator, settings
        self._transforms = Transforms(node)
        self._imu = ImuInput(node) if settings.use_imu else None
        self._scale: ScaleInput | None = None
        if settings.depth_scale != "metric":
            self._scale = ScaleInput(node, settings, scale, self._imu, self._transforms, complain)
        self.begin()

    def destroy(self) -> None:
        self._transforms.destroy()
        for source in (self._imu, self._scale):
            if source:
                source.destroy()

    @property
    def scale(self) -> Scale | None:
        """Metres per unit of depth; None where that is not known."""
        return self._scale.known if self._scale else Scale(1.0, 0.0, "depth")

    @property
    def readout(self) -> Known:
        """s from the first row of an image to the last, as far as the estimator knows."""
        return self._estimator.readout

    def begin(self, at_start: bool = False) -> None:
        """The estimator forgets what it saw; the pose becomes the first one, or stays."""
        self._reset()
        if at_start:
            self.track.place()
        else:
            self.track.restart()

    def _reset(self) -> None:
        self._estimator.reset()
        if self._scale:
            self._scale.begin()
        self._stamp = 0
        self.begun += 1

    def base_of(self, depth: Depth) -> str:
        """The frame whose motion is given."""
        return self._settings.base_frame or depth.frame_id

    def fixed_to(self, base: str) -> str:
        """The frame to which /tf_static fixes `base`; empty where it is the root of the robot."""
        return self._transforms.static.parent(base)

    def estimate(self, depth: Depth) -> tuple[Odometry, BaseState] | None:
        """Odometry of the camera and the state of the base; None where the frame is of no use."""
        if not self._in_order(depth.stamp):
            return None
        base, camera = self.base_of(depth), depth.frame_id
        T_base_optical = self._between(base, camera, depth.stamp)
        if T_base_optical is None:
            return None
        rotation = self._measured_rotation(camera, depth.stamp)
        found = self._estimator.estimate(depth, rotation)
        self._stamp = depth.stamp
        if self._scale:
            unknown = self._scale.known is None
            self._scale.measure(depth, found, T_base_optical)
            if unknown and self._scale.known:  # units on the way so far were no metres
                self._reset()
                self.track.again()
                found = self._estimator.estimate(depth)
                self._stamp = depth.stamp
            found = self._scale.metres(found)
        return found, self.track.update(found, T_base_optical)

    def reject(self, problem: str) -> None:
        """A frame is left out."""
        self.rejected += 1
        self.complain(problem)

    def _in_order(self, stamp: int) -> bool:
        """Whether to work on the frame of `stamp`. Jumps of time start odometry anew."""
        gap = 1e-9 * (stamp - self._stamp)
        if not self._stamp or 0 < gap <= self._settings.longest_gap:
            return True
        if -MAX_REORDERING < gap <= 0:
            self.reject(f"a frame came {-1000 * gap:.0f} ms after a newer one, or twice: left out")
            return False
        if gap < 0:
            self.complain(f"time went back by {-gap:.3f} s: odometry starts anew, at its first pose")
        else:
            self.complain(f"no frame for {gap:.3f} s: odometry starts anew, at its last pose")
        self.begin(at_start=gap < 0)
        return True

    def _between(self, a: str, b: str, stamp: int) -> np.ndarray | None:
        """(4, 4) T_a_b; None, with a complaint, where TF does not say it."""
        T = np.eye(4) if a == b else self._transforms.between(a, b, stamp)
        if T is None:
            self.reject(self._transforms.problem(a, b))
        return T

    def _measured_rotation(self, camera: str, stamp: int) -> np.ndarray | None:
        """(3, 3) from this camera to that of the frame before, by the IMU; None where it does not say."""
        if not (self._imu and self._stamp):
            return None
        R_old_new = self._imu.rotation(self._stamp, stamp)
        if R_old_new is None:
            self.complain(f"'{self._imu.topic}' has no samples from the time of the images")
            return None
        T = self._transforms.between(camera, self._imu.frame_id, stamp)
        if T is None:
            self.complain(self._transforms.problem(camera, self._imu.frame_id))
            return None
        return T[:3, :3] @ R_old_new @ T[:3, :3].T
