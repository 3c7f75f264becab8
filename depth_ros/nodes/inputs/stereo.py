"""Stereo input: images of two cameras, paired by their stamps."""

from __future__ import annotations

import time
from functools import partial
from typing import Protocol

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.timer import Timer

from depth_ros.datatypes import Frame
from depth_ros.errors import DepthRosError
from depth_ros.messages.decode import stamp_ns
from depth_ros.nodes.inputs.camera import CameraInput, CameraSettings, ImageMessage, Warn

CAMERAS = ("left", "right")
MAX_PENDING = 4
"""Images of one camera that wait for an image of the other; the oldest is discarded beyond that."""
MISSING_AFTER = 0.6
"""Seconds without an image or a pair before a warning, or 2.5 periods of a slower camera."""
CHECK_PERIOD = 0.3
"""Seconds between two checks. With the status that is published once a second, a warning is visible within 2 s."""


class StereoCallback(Protocol):
    """Callback for a pair of images."""

    def __call__(self, left: ImageMessage, right: ImageMessage, /) -> None: ...


class StereoInput(ManagedEntity):
    """Pairs of `left/image` and `right/image`, with `left/camera_info` and `right/camera_info`.

    Each pair whose stamps differ by at most `tolerance` seconds is passed to `on_pair`; `frames` decodes it, in any
    thread. Images without a partner are counted in `unpaired`. Problems are passed to `warn`.
    """

    def __init__(
        self, node: Node, settings: CameraSettings, tolerance: float, on_pair: StereoCallback, warn: Warn
    ) -> None:  # fmt: skip
        self._node, self._on_pair, self._warn = node, on_pair, warn
        self._tolerance = round(tolerance * 1e9)
        self.cameras = {
            name: CameraInput(node, settings, partial(self._receive, name), warn, namespace=name)
            for name in CAMERAS
        }
        self._timer: Timer | None = None
        self._reset()

    def _reset(self) -> None:
        now = time.monotonic()
        self.pairs = self.unpaired = 0
        self._pending: dict[str, list[ImageMessage]] = {name: [] for name in CAMERAS}
        self._smallest_difference: float | None = None  # s, of the last image that found no partner
        self._period = 0.0
        self._last_count = dict.fromkeys(CAMERAS, 0)
        self._last_image = dict.fromkeys(CAMERAS, now)
        self._last_pair = now

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._reset()
        for camera in self.cameras.values():
            camera.on_activate(state)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self._node.create_timer(CHECK_PERIOD, self._check, clock=steady)
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._timer:
            self._node.destroy_timer(self._timer)
        self._timer = None
        for camera in self.cameras.values():
            camera.on_deactivate(state)
        return TransitionCallbackReturn.SUCCESS

    @property
    def received(self) -> int:
        """Number of images received from both cameras."""
        return sum(camera.received for camera in self.cameras.values())

    @property
    def dropped(self) -> int:
        """Number of images replaced by newer ones in the middleware, plus those that found no partner."""
        return sum(camera.dropped for camera in self.cameras.values()) + self.unpaired

    def frames(self, left: ImageMessage, right: ImageMessage) -> tuple[Frame, Frame]:
        """Decode both images. Raises DepthRosError if an image or its camera_info is invalid."""
        frames = []
        for name, message in zip(CAMERAS, (left, right), strict=True):
            try:
                frames.append(self.cameras[name].frame(message))
            except DepthRosError as error:
                raise DepthRosError(f"{name} camera: {error}") from error
        return frames[0], frames[1]

    def _receive(self, name: str, message: ImageMessage) -> None:
        own, other = self._pending[name], self._pending["right" if name == "left" else "left"]
        stamp = stamp_ns(message.header)
        differences = [abs(stamp_ns(each.header) - stamp) for each in other]
        nearest = min(range(len(other)), key=differences.__getitem__, default=-1)
        if nearest < 0 or differences[nearest] > self._tolerance:
            if differences:
                self._smallest_difference = differences[nearest] / 1e9
            self._keep(own, message, stamp)
            return
        partner = other[nearest]
        self.unpaired += nearest + len(own)  # the older ones of both cameras
        del other[: nearest + 1]
        own.clear()
        self.pairs += 1
        self._on_pair(*((message, partner) if name == "left" else (partner, message)))
        self._last_pair = time.monotonic()
        self._last_image = dict.fromkeys(CAMERAS, self._last_pair)

    def _keep(self, pending: list[ImageMessage], message: ImageMessage, stamp: int) -> None:
        if pending:
            self._period = max(0.0, (stamp - stamp_ns(pending[-1].header)) / 1e9)
            if self._period == 0.0:  # time went back, or the image arrived twice
                self.unpaired += len(pending)
                pending.clear()
        pending.append(message)
        if len(pending) > MAX_PENDING:
            self.unpaired += 1
            del pending[0]

    def _check(self) -> None:
        reason = self.no_pairs_reason()
        if reason:
            self._warn(reason)

    def no_input_reason(self) -> str:
        """Reason why no images arrive, for each camera; for use after some time without any."""
        return " and ".join(camera.no_input_reason() for camera in self.cameras.values())

    def no_pairs_reason(self) -> str:
        """Reason why images arrive but no pairs; empty if pairs arrive, or if neither camera sends images."""
        now = time.monotonic()
        for name, camera in self.cameras.items():
            if camera.received != self._last_count[name]:
                self._last_count[name], self._last_image[name] = camera.received, now
        limit = max(MISSING_AFTER, 2.5 * min(self._period, 4.0))
        missing = [name for name in CAMERAS if now - self._last_image[name] > limit]
        if len(missing) == 2 or now - self._last_pair < limit:
            return ""
        missing += [name for name in CAMERAS if not self.cameras[name].has_camera_info]
        if missing:
            reason = self.cameras[missing[0]].no_input_reason()
            return f"no usable images from the {missing[0]} camera: {reason}"
        return (
            f"the stamps of the left and right images do not match: they differ by at least "
            f"{1000 * (self._smallest_difference or 0.0):.1f} ms and {self._tolerance / 1e6:g} ms are allowed "
            "(parameter approximate_sync_tolerance_seconds); trigger both cameras simultaneously"
        )
