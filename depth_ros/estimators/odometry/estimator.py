"""Odometry from depth images: patches of a key frame are found again in every new frame, and move the camera.

The new frame is aligned coarse to fine, from where constant velocity or an IMU's rotation expects it, else from
matched descriptors. On every level of the pyramid each patch of the key frame, warped by its inverse depths and the
motion so far, finds its shift and the covariance of it (`patches`); one robust motion explains all shifts, and on the
finest level the inverse depths of the new frame as well (`pose_solver`). That is direct alignment in which a patch
that disagrees, because it moves or is hidden, is heard but not obeyed. A few hundred patches are too little work for
a GPU to repay the way to it: this is numpy and OpenCV on the CPU.
"""

from __future__ import annotations

import time
from dataclasses import replace

import cv2
import numpy as np

from depth_ros.datatypes import Depth, Motion, Odometry, Pose
from depth_ros.estimators.odometry.features import motion_by_descriptors
from depth_ros.estimators.odometry.frame_alignment import Aligned, align
from depth_ros.estimators.odometry.key_frames import View
from depth_ros.estimators.odometry.pose_solver import Errors, Known, older_newer
from depth_ros.estimators.odometry.settings import OdometrySettings
from depth_ros.estimators.odometry.trajectory import Track, axes, turned
from depth_ros.geometry import inverse, orthonormal

LOST_SPEED = 1.0
"""m/s and rad/s by which the pose may be off while it is lost, one standard deviation."""
CONFIDENT = 0.6
"""Share of the patches in view that agree with a motion, from which on no other is tried."""
BIAS_USUAL = 0.05
"""Share of what a bias may be that no pair is free of, and that no single number describes: it is let alone."""
BIAS_DRIFT = 0.02
"""How much a bias of the depth may change from frame to frame, as a share of what it may be."""
READOUT_DRIFT = 0.02
"""The same of the readout, as a share of its standard deviation."""
READOUT_FRAME = 0.01
"""s, what the readout that a single frame tells is wrong by at least: velocities are guessed from neighbours."""
CORRELATED = 1.45
"""By how much the covariance is larger than what patches say that err together by parts of the image: some err together
over all of it. From rendered and recorded clips."""
CORRELATION_FRAMES = 10
"""Over so many frames the correlation of patches is averaged."""


class OdometryEstimator:
    """Depth -> Odometry, frame by frame. Frames of another camera than the last one's start anew where it stands.

    A frame that cannot be aligned is a loss. From the next one on two things are tried: to go on from the key frames
    before the loss, for `return_for`, which loses nothing of the way, and from the frames since. Whichever comes first
    ends the loss; the motion of that frame says by its `stamp_old` since when it is.
    """

    def __init__(self, settings: OdometrySettings | None = None) -> None:
        self.settings = settings or OdometrySettings()
        self.reset()

    def reset(self, T: np.ndarray | None = None) -> None:
        """Forget everything seen. The next frame is a first one, and at T (4, 4), or the origin."""
        self._start = np.eye(4) if T is None else np.asarray(T, float)
        self._track: Track | None = None
        self._before: Track | None = None  # the loss, while there is one
        self._errors: Errors | None = None
        self._correlation: float | None = None

    @property
    def readout(self) -> Known:
        """The time from the first row to the last, s, as far as it is known."""
        if self._errors:
            return self._errors.readout
        return Known(self.settings.readout, self.settings.readout_std**2)

    def estimate(
        self, depth: Depth, rotation: np.ndarray | None = None, moving: np.ndarray | None = None
    ) -> Odometry:
        """Where the camera is now.

        rotation: (3, 3) from this camera to that of the frame before, by an IMU, to start from.
        moving: (H, W) bool, pixels to leave out.
        """
        begun = time.perf_counter()
        view = View(depth, moving, self.settings.inverse_depth_std)
        self._largest = (
            self.settings.disparity_bias / (depth.camera.fx * depth.baseline) if depth.baseline else 0.0
        )
        self._errors = self._errors or Errors(Known(0.0, self._largest**2), self.readout)
        milliseconds = {"prepare": _since(begun)}
        track = self._track
        if track is None or track.last.grey.shape != view.grey.shape or view.stamp <= track.last.stamp:
            return self._started(view, milliseconds)
        begun = time.perf_counter()
        aligned = None
        if self._before and view.stamp - self._before.last.stamp <= 1e9 * self.settings.return_for:
            aligned = self._aligned(self._before, view, None)
            track = self._before if aligned else track
        aligned = aligned or self._aligned(track, view, rotation)
        milliseconds["align"] = _since(begun)
        if aligned is None:
            return self._lost(track, view, milliseconds)
        motion = self._advance(track, view, aligned)
        self._track, self._before = track, None
        if aligned.agree < self.settings.key_frame_share * len(aligned.key.pixels):
            begun = time.perf_counter()
            track.make_key(self.settings)
            milliseconds["key frame"] = _since(begun)
        return self._result("tracking", motion, aligned.share, milliseconds)

    def _started(self, view: View, milliseconds: dict[str, float]) -> Odometry:
        """A first frame, or one that does not follow the last: it stands where that one stood."""
        track = self._track
        T, covariance = (track.T, track.covariance) if track else (self._start, np.zeros((6, 6)))
        self._track, self._before = Track.begun(view, T, covariance), None
        self._track.make_key(self.settings)
        return self._result("starting", None, 0.0, milliseconds)

    def _advance(self, track: Track, view: View, aligned: Aligned) -> Motion:
        """Take the track to a view, and say the motion from its last frame."""
        assert self._errors
        T_key_new, covariance, follows = older_newer(aligned.solution)
        now = aligned.solution.correlation
        so_far = now if self._correlation is None else self._correlation
        self._correlation = so_far + (now - so_far) / CORRELATION_FRAMES
        relative = turned(CORRELATED * self._correlation * covariance, aligned.key.T)
        follows = axes(aligned.key.T) @ follows
        both = relative + track.relative + self._unsure(follows - track.follows)
        both = turned(both, inverse(track.T))
        old = track.last.stamp
        T_last_new = track.move(view, orthonormal(aligned.key.T @ T_key_new))
        added = self._added(T_last_new)
        track.relative, track.follows = relative, follows
        track.covariance = aligned.key.covariance + relative + self._unsure(follows) + added
        bias = self._errors.bias.told(aligned.errors.bias, 0.0)
        readout = self._errors.readout.told(aligned.errors.readout, READOUT_FRAME)
        self._errors = Errors(
            _drifted(bias, BIAS_DRIFT * self._largest),
            _drifted(readout, READOUT_DRIFT * self.settings.readout_std),
        )
        return Motion(old, view.stamp, T_last_new, both + added)

    def _unsure(self, follows: np.ndarray) -> np.ndarray:
        """(6, 6) covariance of a motion that follows (6, 2) the errors of the camera, of what is not known of these."""
        assert self._errors
        return follows * [self._errors.bias.variance, self._errors.readout.variance] @ follows.T

    def _added(self, T_last_new: np.ndarray) -> np.ndarray:
        """(6, 6) covariance that the camera itself adds."""
        s = self.settings
        way = float(np.linalg.norm(T_last_new[:3, 3]))
        angle = float(np.linalg.norm(cv2.Rodrigues(T_last_new[:3, :3])[0]))
        place, turn = s.place_std**2 + (s.place_share * way) ** 2, s.turn_std**2 + (s.turn_share * angle) ** 2
        return np.diag([place] * 3 + [turn] * 3)

    def _aligned(self, track: Track, view: View, rotation: np.ndarray | None) -> Aligned | None:
        """The view aligned with the key frames; else with the last frame, which becomes one; else from descriptors."""
        expected = inverse(track.expected(view.stamp - track.last.stamp, rotation))
        best: Aligned | None = None
        for attempt in ("key frames", "last frame", "descriptors"):
            key = track.keys[-1]
            if attempt == "last frame":
                if key.view is track.last:
                    continue
                track.make_key(self.settings)
                key = track.keys[-1]
            T: np.ndarray | None = expected @ inverse(track.T) @ key.T
            if attempt == "descriptors":
                T = motion_by_descriptors(key.view.grey, view.grey, key.view.inverse_depth, view.K[0])
            aligned = None if T is None else self._align(track, view, T)
            if aligned and (best is None or aligned.share > best.share):
                best = aligned
            if best and best.share > CONFIDENT:
                break
        if best is None or best.share < self.settings.min_share or best.agree < self.settings.min_inliers:
            return None
        return best

    def _align(self, track: Track, view: View, T: np.ndarray) -> Aligned | None:
        assert self._errors
        gap = view.stamp - track.last.stamp

        def velocity(T_new_key: np.ndarray) -> np.ndarray:
            return track.end_velocity(inverse(track.T) @ track.keys[-1].T @ inverse(T_new_key), gap)

        return align(track.keys, view, T, self.settings, self._errors, BIAS_USUAL * self._largest, velocity)

    def _lost(self, track: Track, view: View, milliseconds: dict[str, float]) -> Odometry:
        """No motion agrees: begin again from here, at the pose that the policy says."""
        before = self._before = self._before or track
        gap = view.stamp - before.last.stamp
        T = before.T
        if self.settings.when_lost == "extrapolate":
            T = T @ before.expected(min(gap, round(1e9 * self.settings.extrapolate_for)))
        covariance = before.covariance + (LOST_SPEED * gap * 1e-9) ** 2 * np.eye(6)
        self._track = Track.begun(view, T, covariance)
        self._track.make_key(self.settings)
        return self._result("lost", None, 0.0, milliseconds)

    def _result(
        self, state: str, motion: Motion | None, share: float, milliseconds: dict[str, float]
    ) -> Odometry:
        assert self._track
        stamp, T = self._track.last.stamp, self._track.T.copy()
        if state == "lost" and self.settings.when_lost == "null":
            T = np.full((4, 4), np.nan)
        return Odometry(
            stamp, state, Pose(stamp, T, self._track.covariance.copy()), motion, share, milliseconds
        )


def _drifted(number: Known, drift: float) -> Known:
    return replace(number, variance=number.variance + drift**2) if number.variance > 0 else number


def _since(begun: float) -> float:
    return 1000 * (time.perf_counter() - begun)
