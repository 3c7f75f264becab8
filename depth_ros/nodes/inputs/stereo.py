"""Two cameras, paired by their stamps: the newest pair wins, and whatever goes wrong is said within a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from depth_ros.datatypes import Frame
from depth_ros.errors import DepthRosError
from depth_ros.messages import stamp_ns
from depth_ros.nodes.inputs.camera import CameraInput

EYES = ("left", "right")
KEPT = 4
"""Images of an eye that wait for the other's; more would be a queue."""
PATIENCE, WATCH = 0.6, 0.3
"""Seconds without an eye or a pair before that is said, and between two looks. With the status that goes out
once a second, two seconds pass at most. Slow cameras have two and a half of their periods."""


class StereoInput:
    """`left/image`, `left/camera_info`, `right/image`, `right/camera_info` of `node`.

    Each pair whose stamps differ by at most `tolerance` seconds goes to `on_pair`. Whoever found no mate is
    counted in `unpaired`. Complaints go to `complain`.
    """

    def __init__(
        self,
        node: Node,
        transport: str,
        rectified: bool,
        tolerance: float,
        on_pair: Callable[[Any, Any], None],
        complain: Callable[[str], None],
    ) -> None:
        self.on_pair, self.complain = on_pair, complain
        self.pairs = self.unpaired = 0
        self._tolerance = round(tolerance * 1e9)
        self._waiting: dict[str, list[Any]] = {eye: [] for eye in EYES}
        self._gap: float | None = None
        self._period = 0.0
        self._seen = dict.fromkeys(EYES, 0)
        self._heard = dict.fromkeys(EYES, time.monotonic())
        self._paired = time.monotonic()
        self.eyes = {
            eye: CameraInput(node, transport, rectified, partial(self._receive, eye), complain, eye)
            for eye in EYES
        }
        self._node = node
        self._timer = node.create_timer(WATCH, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy(self) -> None:
        self._node.destroy_timer(self._timer)
        for eye in self.eyes.values():
            eye.destroy()

    @property
    def received(self) -> int:
        """Images of both eyes."""
        return sum(eye.received for eye in self.eyes.values())

    @property
    def dropped(self) -> int:
        """Images that the middleware replaced by newer ones, and those that found no mate."""
        return sum(eye.dropped for eye in self.eyes.values()) + self.unpaired

    def frames(self, left: Any, right: Any) -> tuple[Frame, Frame]:
        """Both decoded. Raises DepthRosError where an image or its camera_info is unusable."""
        frames = []
        for eye, message in zip(EYES, (left, right), strict=True):
            try:
                frames.append(self.eyes[eye].frame(message))
            except DepthRosError as error:
                raise DepthRosError(f"{eye} eye: {error}") from error
        return frames[0], frames[1]

    def _receive(self, eye: str, message: Any) -> None:
        other = self._waiting["right" if eye == "left" else "left"]
        stamp = stamp_ns(message.header)
        gaps = [abs(stamp_ns(each.header) - stamp) for each in other]
        best = min(range(len(gaps)), key=gaps.__getitem__) if gaps else -1
        if best < 0 or gaps[best] > self._tolerance:
            self._gap = gaps[best] / 1e9 if gaps else self._gap
            self._keep(self._waiting[eye], message, stamp)
            return
        mate = other[best]
        self.unpaired += best + len(self._waiting[eye])  # older ones of either eye
        del other[: best + 1]
        self._waiting[eye].clear()
        self.pairs += 1
        self.on_pair(*((message, mate) if eye == "left" else (mate, message)))
        self._paired = time.monotonic()
        self._heard = dict.fromkeys(EYES, self._paired)  # nothing could be received meanwhile

    def _keep(self, waiting: list[Any], message: Any, stamp: int) -> None:
        if waiting:
            self._period = max(0.0, (stamp - stamp_ns(waiting[-1].header)) / 1e9)
            if self._period == 0.0:  # time went back, or the image came twice
                self.unpaired += len(waiting)
                waiting.clear()
        waiting.append(message)
        if len(waiting) > KEPT:
            self.unpaired += 1
            del waiting[0]

    def _watch(self) -> None:
        problem = self.problem()
        if problem:
            self.complain(problem)

    def problem(self) -> str:
        """Why no pairs come although images do; empty if they come, or if neither eye sends anything."""
        now = time.monotonic()
        for eye, camera in self.eyes.items():
            if camera.received != self._seen[eye]:
                self._seen[eye], self._heard[eye] = camera.received, now
        patience = max(PATIENCE, 2.5 * min(self._period, 4.0))
        quiet = [eye for eye in EYES if now - self._heard[eye] > patience]
        if len(quiet) == 2 or now - self._paired < patience:
            return ""
        if quiet:
            return f"the {quiet[0]} eye is missing: {self.eyes[quiet[0]].silence()}"
        blind = [eye for eye, camera in self.eyes.items() if not camera.ready]
        if blind:
            return f"the {blind[0]} eye is missing: {self.eyes[blind[0]].silence()}"
        return (
            f"the stamps of the eyes do not agree: they differ by {1000 * (self._gap or 0.0):.1f} ms at best, and "
            f"{self._tolerance / 1e6:g} ms are allowed (sync_tolerance); trigger both cameras together"
        )
