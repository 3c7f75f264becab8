"""Check of stereo pairs at run time: swapped cameras, imperfect rectification, baseline against TF."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from rclpy.lifecycle import LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.node import Node

from depth_ros.datatypes import Frame, StereoFrame
from depth_ros.estimators.stereo.rectification import pair_problem
from depth_ros.nodes.inputs.static_transforms import StaticTransforms

CHECK_PERIOD = 0.7
"""Seconds between two checks, which take about 20 ms each."""
BASELINE_TOLERANCE = 0.05
"""Maximum difference between the baselines of TF and camera_info, as a fraction of the baseline."""


class PairCheck(ManagedEntity):
    """Passes what is wrong with the pairs of `node` to `warn`. baseline: m, of the last pair that was checked."""

    def __init__(self, node: Node, warn: Callable[[str], None]) -> None:
        self._transforms, self._warn = StaticTransforms(node), warn
        self._last_check = 0.0
        self.baseline = 0.0

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._last_check = 0.0
        return self._transforms.on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transforms.on_deactivate(state)

    @property
    def is_due(self) -> bool:
        """Whether the next pair is to be checked."""
        return time.monotonic() - self._last_check > CHECK_PERIOD

    def check(self, pair: StereoFrame, originals: tuple[Frame, Frame]) -> None:
        """Check one pair. originals: before rectification."""
        self._last_check = time.monotonic()
        self.baseline = pair.baseline
        are_rectified = all(frame.camera.is_rectified for frame in originals)
        unrectified = None if are_rectified else (originals[0].image, originals[1].image)
        problem = pair_problem(pair.left.image, pair.right.image, unrectified)
        problem = problem or self._transform_problem(pair)
        if problem:
            self._warn(problem)

    def _transform_problem(self, pair: StereoFrame) -> str:
        """Contradiction between camera_info and /tf_static; empty if there is none."""
        left, right = pair.left.frame_id, pair.right.frame_id
        T = self._transforms.between(left, right) if left != right else None
        if T is None:
            return ""
        baseline = float(np.linalg.norm(T[:3, 3]))
        if abs(baseline / pair.baseline - 1) > BASELINE_TOLERANCE:
            return (
                f"the baseline is {pair.baseline:.4f} m in camera_info but {baseline:.4f} m in TF, from '{left}' to "
                f"'{right}': correct the wrong one; depth is proportional to the baseline in camera_info"
            )
        if T[0, 3] < 0:
            return (
                f"TF places '{right}' to the left of '{left}' (x {T[0, 3]:.4f} m): left and right are swapped"
            )
        return ""
