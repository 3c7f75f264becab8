"""What the node itself adds to the engine's time, and whether it ever works on old images.

Two processes and real DDS: here the camera and the receiver, in the other (`_serve`) the real DepthNode with
an estimator that notes when it works on what, and may be slowed down.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from depth_ros.datatypes import Camera, Depth, Frame
from depth_ros.engine import EngineSettings


def node_latency(
    model: str = "",
    width: int = 1280,
    height: int = 720,
    rate: float = 30.0,
    seconds: float = 5.0,
    inference_ms: float = 0.0,
) -> dict[str, float]:
    """Send images of width x height px at `rate` Hz through the real node for `seconds`.

    model: a name or a folder; empty: none, the estimator sleeps `inference_ms` and gives a constant.
    With a model, `inference_ms` is added to its time. Returns counts (`sent`, `processed`, `received`;
    `stale`: processed though a newer image had been out for a frame time; `backlog`: processed after the end
    beyond the last one) and, in ms, of publish to receive: `latency_*`, of the estimator `estimate_*`, and of
    their difference `own_*`, each `_median` and `_p95`. With inference slower than `rate`, `own_*` holds the
    wait of the newest image for the end of the one before.
    """
    from depth_ros.playback.play import Player, node_process

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.json"
        command = ["-m", __name__, model, str(inference_ms), str(log), "--ros-args"]
        with node_process(command) as (process, namespace), Player(namespace, process) as player:
            views = ((frame,) for frame in _frames(width, height, rate, seconds))
            results = list(player.play(views, 1.0))
            sent = dict(player.sent)
        notes = json.loads(log.read_text())
    work = [note for note in notes if note["begin"] > sent.get(note["stamp"], float("inf"))]
    return _summary(sent, work, {result.stamp: result.latency for result in results}, rate)


def _frames(width: int, height: int, rate: float, seconds: float) -> Iterator[Frame]:
    """Noise that moves: nothing can compress or skip it. Stamps begin now."""
    camera = Camera.pinhole(width, height, 0.6 * width, 0.6 * width, width / 2, height / 2)
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    start = time.time_ns()
    for i in range(round(rate * seconds)):
        yield Frame(start + round(i / rate * 1e9), "camera", np.roll(noise, i, axis=1), camera)


def _summary(
    sent: dict[int, float], work: list[dict[str, Any]], latency: dict[int, float], rate: float
) -> dict[str, float]:
    order = sorted(sent)
    following = dict(itertools.pairwise(order))
    stale = [
        w for w in work if w["stamp"] in following and w["begin"] - sent[following[w["stamp"]]] > 1 / rate
    ]
    backlog = sum(w["begin"] > sent[order[-1]] and w["stamp"] != order[-1] for w in work)
    both = [(latency[w["stamp"]], w["end"] - w["begin"]) for w in work if w["stamp"] in latency]
    total, estimate = np.array(both).reshape(-1, 2).T * 1e3
    summary: dict[str, float] = {
        "sent": len(sent),
        "processed": len(work),
        "received": len(latency),
        "stale": len(stale),
        "backlog": backlog,
    }
    for name, values in (("latency", total), ("estimate", estimate), ("own", total - estimate)):
        for suffix, percent in (("median", 50), ("p95", 95)):
            summary[f"{name}_{suffix}"] = (
                float(np.percentile(values, percent)) if len(values) else float("nan")
            )
    return summary


class _Noting:
    """An estimator, or a constant without a model, that sleeps and notes begin and end (time.monotonic())."""

    def __init__(self, model: str, settings: EngineSettings, background: bool, sleep: float) -> None:
        self.inner: Any = None
        self.card = SimpleNamespace(scale="metric")
        self.engine_name, self.reason, self.building = "none", "measures the node", False
        if model:
            from depth_ros.estimators.depth import DepthEstimator

            self.inner = DepthEstimator(model, settings, background)
            self.card = self.inner.card
        self.sleep = sleep
        self.notes: list[dict[str, Any]] = []

    def estimate(self, frame: Frame) -> Depth:
        begin = time.monotonic()
        time.sleep(self.sleep)
        depth = self.inner.estimate(frame) if self.inner else self._constant(frame)
        self.building = self.inner.building if self.inner else False
        self.notes.append({"stamp": frame.stamp, "begin": begin, "end": time.monotonic()})
        return depth

    def _constant(self, frame: Frame) -> Depth:
        """Half the image's size, about what models work at."""
        image = frame.image[::2, ::2]
        height, width = image.shape[:2]
        depth = np.full((height, width), 5.0, np.float32)
        return Depth(frame.stamp, frame.frame_id, depth, frame.camera.resized(width, height), image)


def _serve(model: str, inference_ms: str, log: str) -> None:
    """The other process: the real node until it is told to stop, then the notes as JSON."""
    import rclpy
    from rclpy.executors import ExternalShutdownException

    from depth_ros.nodes.depth_node import DepthNode

    notes: list[dict[str, Any]] = []

    def make(_: str, settings: EngineSettings, background: bool) -> _Noting:
        estimator = _Noting(model, settings, background, float(inference_ms) / 1e3)
        estimator.notes = notes
        return estimator

    rclpy.init()
    node = DepthNode(make)
    try:
        node.start()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        Path(log).write_text(json.dumps(notes))


if __name__ == "__main__":
    _serve(*sys.argv[1:4])
