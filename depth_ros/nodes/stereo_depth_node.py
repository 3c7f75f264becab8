"""Two cameras in, disparity, metric depth, confidence and points out: the ROS face of StereoEstimator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from stereo_msgs.msg import DisparityImage

from depth_ros import messages
from depth_ros.config import setting
from depth_ros.datatypes import Depth, Disparity, StereoFrame
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.estimators.stereo.estimator import (
    FLYING,
    StereoSettings,
    between_surfaces,
    confidence,
    rectified_pair,
)
from depth_ros.estimators.stereo.rectification import misfit
from depth_ros.nodes import life_cycle
from depth_ros.nodes.diagnostics import Diagnostics
from depth_ros.nodes.downstream import Follower, hand_on, wanted
from depth_ros.nodes.inputs.static_transforms import StaticTransforms
from depth_ros.nodes.inputs.stereo import StereoInput
from depth_ros.nodes.parameters import Parameters

CHECK_EVERY = 0.7
"""Seconds between two looks at whether the images are a pair, some 20 ms each."""
SAME_BASELINE = 0.05
"""Of the baseline: TF and camera_info may differ by so much."""


@dataclass(frozen=True)
class StereoDepthNodeSettings:
    """Parameters of stereo_depth_node; those of StereoSettings and EngineSettings join them."""

    model: str = setting(
        "stereo",
        "a stereo model (depth_ros models), the path of a folder with card.yaml, or semi_global: no network",
    )
    image_transport: str = setting(
        "raw", "how images come: `left/image` or `left/image/compressed`", choices=("raw", "compressed")
    )
    rectified: bool = setting(
        False, "images are rectified already: P of camera_info describes them, D is ignored"
    )
    sync_tolerance: float = setting(
        0.0, "stamps of a pair may differ by so much; 0 = they must be equal", "s", 0.0, 0.5
    )
    check_pairs: bool = setting(True, "look for swapped and unrectified eyes, every second", dynamic=True)
    depth_encoding: str = setting(
        "32FC1",
        "32FC1: metres, unknown is NaN; 16UC1: millimetres, unknown is 0",
        choices=("32FC1", "16UC1"),
        dynamic=True,
    )
    max_depth: float = setting(1000.0, "what is farther becomes unknown", "m", 0.1, 10000.0, dynamic=True)
    min_confidence: float = setting(
        0.0,
        "pixels whose error is below 1 px with a smaller probability become unknown",
        "",
        0.0,
        1.0,
        dynamic=True,
    )
    flying_pixels: float = setting(
        FLYING,
        "pixels between two surfaces, so much from either, become unknown; 0 = they stay",
        "px of disparity", 0.0, 100.0, dynamic=True,
    )  # fmt: skip
    point_stride: int = setting(1, "points of every n-th row and column", "px", 1, 16, dynamic=True)
    autostart: bool = setting(True, "configure and activate at start, without a life-cycle manager")


class StereoDepthNode(LifecycleNode):
    """Life-cycle node. In: `left/image`, `left/camera_info`, and likewise `right/`.

    Out: `disparity`, `depth/image_rect`, `depth/camera_info`, `depth/confidence` (32FC1, probability of an error
    below 1 px of disparity, 0 = unknown) and `points`, with stamp and frame id of the left image and its size. One
    thread; nothing is computed that nobody subscribes to or follows. estimator: StereoEstimator or what is called
    and behaves like it. `followers` are handed the whole Depth of every pair. others: as of Parameters. Raises
    DepthRosError where a parameter's start value is not allowed.
    """

    def __init__(
        self,
        estimator: Callable[..., Any],
        name: str = "stereo_depth_node",
        others: Iterable[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(name, automatically_declare_parameters_from_overrides=True, **options)
        self._make_estimator = estimator
        self._estimator: Any = None
        self._outputs: dict[str, LifecyclePublisher] = {}
        self._input: StereoInput | None = None
        self._transforms: StaticTransforms | None = None
        self._received = (0, 0.0)
        self._rejected, self._checked, self._misfit = 0, 0.0, ""
        self._baseline = 0.0
        self.followers: list[Follower] = []
        self.parameters = Parameters(
            self, StereoDepthNodeSettings, StereoSettings, EngineSettings, others=others
        )
        self.diagnostics = Diagnostics(self, "stereo depth", self._values, self._silence)
        self.parameters.name_unknown(self.diagnostics.complain)

    def start(self) -> None:
        """Configure and activate, unless `autostart` leaves that to a life-cycle manager."""
        life_cycle.start(self, self.parameters.read(StereoDepthNodeSettings).autostart)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return life_cycle.configured(self, self._configure, self.diagnostics)

    def _configure(self) -> None:
        settings = self.parameters.read(StereoDepthNodeSettings)
        engine, stereo = self.parameters.read(EngineSettings), self.parameters.read(StereoSettings)
        self._estimator = self._make_estimator(settings.model, engine, stereo, background=True)
        fields = [
            PointField(name=n, offset=o, datatype=PointField.FLOAT32, count=1)
            for n, o in messages.POINT_FIELDS
        ]
        self._messages = {
            "disparity": DisparityImage(),
            "depth": Image(),
            "info": CameraInfo(),
            "confidence": Image(),
            "points": PointCloud2(fields=fields),
        }
        self._outputs = {
            "disparity": self._advertise(DisparityImage, "disparity"),
            "depth": self._advertise(Image, "depth/image_rect"),
            "info": self._advertise(CameraInfo, "depth/camera_info"),
            "confidence": self._advertise(Image, "depth/confidence"),
            "points": self._advertise(PointCloud2, "points"),
        }
        self.parameters.locked = True

    def _advertise(self, kind: type, topic: str) -> LifecyclePublisher:
        return life_cycle.advertise(self, kind, topic, self.diagnostics.complain)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        settings = self.parameters.read(StereoDepthNodeSettings)
        self._input = StereoInput(
            self, settings.image_transport, settings.rectified, settings.sync_tolerance, self._on_pair,
            self.diagnostics.complain,
        )  # fmt: skip
        self._transforms = StaticTransforms(self)
        self.diagnostics.awake()
        topics = " and ".join(f"'{eye.topic}'" for eye in self._input.eyes.values())
        self.get_logger().info(f"{topics} -> '{self._outputs['depth'].topic_name}', model {settings.model}")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._close_input()
        return super().on_deactivate(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._close_input()
        return super().on_shutdown(state)

    def _close_input(self) -> None:
        for part in (self._input, self._transforms):
            if part:
                part.destroy()
        self._input = self._transforms = None

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        for publisher in self._outputs.values():
            self.destroy_lifecycle_publisher(publisher)
        self._estimator, self._outputs, self.parameters.locked = None, {}, False
        return TransitionCallbackReturn.SUCCESS

    def _wanted(self, output: str) -> bool:
        return self._outputs[output].get_subscription_count() > 0

    def _on_pair(self, left: Any, right: Any) -> None:
        self.diagnostics.awake()
        if not self._input:
            return
        started = time.perf_counter()
        heard = any(map(self._wanted, self._outputs))
        used = heard or wanted(self.followers)
        settings = self.parameters.read(StereoDepthNodeSettings)
        look = settings.check_pairs and time.monotonic() - self._checked > CHECK_EVERY
        if not (used or look):
            return
        try:
            pair = rectified_pair(*self._input.frames(left, right))
            if look:
                self._check(pair)
            if not used:
                return
            found = self._estimator.estimate(pair)
        except DepthRosError as error:
            self._rejected += 1
            self.diagnostics.complain(str(error))
            return
        estimated = time.perf_counter()
        depth = found.depth()
        if heard:
            self._publish(found, depth, settings)
        self.diagnostics.published(found.stamp, started, estimated)
        hand_on(self.followers, depth)

    def _check(self, pair: StereoFrame) -> None:
        """Look at the pair as a pair, and at its baseline beside that of TF."""
        self._baseline = pair.baseline
        self._misfit = misfit(pair.left.image, pair.right.image)
        self._checked = time.monotonic()
        left, right = pair.left.frame_id, pair.right.frame_id
        T = self._transforms.between(left, right) if self._transforms and left != right else None
        if self._misfit:
            self.diagnostics.complain(self._misfit)
        elif T is not None and abs(np.linalg.norm(T[:3, 3]) / pair.baseline - 1) > SAME_BASELINE:
            self.diagnostics.complain(
                f"the baseline is {pair.baseline:.4f} m in camera_info and {np.linalg.norm(T[:3, 3]):.4f} m in TF, "
                f"from '{left}' to '{right}': depth would be wrong by as much"
            )
        elif T is not None and T[0, 3] < 0:
            self.diagnostics.complain(
                f"TF has '{right}' on the left of '{left}' (x {T[0, 3]:.4f} m): the eyes are swapped"
            )

    def _publish(self, found: Disparity, depth: Depth, settings: StereoDepthNodeSettings) -> None:
        """Fill and publish what somebody subscribes to, of pixels that are believed. The messages are kept: publishing
        copies them."""
        known = np.isfinite(found.disparity)
        sure = known.astype(np.float32) if found.std is None else np.where(known, confidence(found.std), 0)
        keep = sure >= settings.min_confidence
        if settings.flying_pixels:
            keep &= ~between_surfaces(found.disparity, settings.flying_pixels)
        near = np.where(keep & (depth.depth <= settings.max_depth), depth.depth, np.float32(np.nan))
        found = replace(found, disparity=np.where(keep, found.disparity, np.float32(np.nan)))
        fill: dict[str, Callable[[Any], None]] = {
            "disparity": lambda m: messages.fill_disparity(
                m, found, self._estimator.disparity_range, self._estimator.step
            ),
            "depth": lambda m: messages.fill_depth(m, near, settings.depth_encoding),
            "info": lambda m: messages.fill_camera_info(m, depth.camera),
            "confidence": lambda m: messages.fill_depth(m, sure),
            "points": lambda m: messages.fill_points(m, replace(depth, depth=near), settings.point_stride),
        }
        for name, publisher in self._outputs.items():
            if self._wanted(name):
                message = self._messages[name]
                messages.fill_header(message.header, found.stamp, found.frame_id)
                fill[name](message)
                publisher.publish(message)

    def _silence(self) -> str:
        return " and ".join(eye.silence() for eye in self._input.eyes.values()) if self._input else ""

    def _values(self) -> dict[str, object]:
        """What the status says beside the figures. Called once a second."""
        values: dict[str, object] = {"model": self.parameters.read(StereoDepthNodeSettings).model}
        if self._estimator:
            values |= {"engine": self._estimator.engine_name, "why this engine": self._estimator.reason}
            values |= {"engine is being built": self._estimator.building, "baseline (m)": self._baseline}
        if self._input:
            arrived, now = self._input.pairs, time.monotonic()
            rate = max(arrived - self._received[0], 0) / (now - self._received[1])
            self._received = (arrived, now)
            values |= {"pair rate (Hz)": f"{rate:.1f}", "dropped frames": self._input.dropped}
            values |= {"images without a mate": self._input.unpaired, "pairs": arrived}
        return values | {"rejected frames": self._rejected}


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop. 1 if a parameter given at start is not allowed."""
    from depth_ros.estimators.stereo.estimator import StereoEstimator

    return life_cycle.run("stereo_depth_node", lambda: [StereoDepthNode(StereoEstimator)], args)


if __name__ == "__main__":
    raise SystemExit(main())
