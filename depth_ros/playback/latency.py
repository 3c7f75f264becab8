"""Latency that the node adds to the engine, and whether it ever processes outdated images.

Two processes and real DDS: this one is camera and receiver; the other runs the real DepthNode with an estimator that
records when it works on which image, and can be slowed down.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from depth_ros.card import Card
from depth_ros.datatypes import Camera, Depth, Frame
from depth_ros.engine import EngineProvider, EngineSettings, EngineStatus


@dataclass(frozen=True)
class LatencyOptions:
    """Images of width x height px at `rate` Hz for `seconds`. inference_ms: added to the time of the model."""

    width: int = 1280
    height: int = 720
    rate: float = 30.0
    seconds: float = 5.0
    inference_ms: float = 0.0


class Estimation(TypedDict):
    """When the estimator worked on an image. stamp: ns. begin, end: time.monotonic(), s."""

    stamp: int
    begin: float
    end: float


def node_latency(model: str = "", options: LatencyOptions = LatencyOptions()) -> dict[str, float]:
    """Send images through the real node and measure its latency.

    model: a name or a folder; empty: the estimator sleeps `inference_ms` and returns a constant.
    Returns counts (`sent`, `processed`, `received`; `stale`: processed more than a frame period after the next image
    was sent; `backlog`: processed after the end, besides the last one) and, in ms, `latency_*` from publishing to
    receiving, `estimate_*` of the estimator and their difference `own_*`, each with `_median` and `_p95`. If inference
    is slower than `rate`, `own_*` includes the time that the newest image waits for the one before.
    """
    from depth_ros.playback.play import Player, node_process

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.json"
        command = ["-m", __name__, model, str(options.inference_ms), str(log), "--ros-args"]
        with node_process(command) as (process, namespace), Player(namespace, process) as player:
            results = list(player.play(((frame,) for frame in _frames(options)), 1.0))
            sent = dict(player.sent)
        estimations: list[Estimation] = json.loads(log.read_text())
    work = [each for each in estimations if each["begin"] > sent.get(each["stamp"], float("inf"))]
    return _summary(sent, work, {result.stamp: result.latency for result in results}, options.rate)


def _frames(options: LatencyOptions) -> Iterator[Frame]:
    """Moving noise, which cannot be compressed. Stamps start now."""
    width, height = options.width, options.height
    camera = Camera.pinhole(width, height, 0.6 * width, 0.6 * width, width / 2, height / 2)
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    start = time.time_ns()
    for i in range(round(options.rate * options.seconds)):
        yield Frame(start + round(i / options.rate * 1e9), "camera", np.roll(noise, i, axis=1), camera)


def _summary(
    sent: dict[int, float], work: list[Estimation], latency: dict[int, float], rate: float
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


class RecordingEstimator:
    """DepthEstimator, or a constant without a model, that sleeps and records when it works."""

    def __init__(self, model: str, settings: EngineSettings, provider: EngineProvider, sleep: float) -> None:
        from depth_ros.estimators.depth import DepthEstimator

        self.inner = DepthEstimator(model, settings, provider) if model else None
        self.card = (
            self.inner.card if self.inner else Card("none", "depth", "none", 0, 0, "metric", "none", "")
        )
        self.sleep = sleep
        self.estimations: list[Estimation] = []

    @property
    def engine_status(self) -> EngineStatus:
        return self.inner.engine_status if self.inner else EngineStatus("none", "latency measurement")

    def prepare(self, width: int, height: int) -> None:
        if self.inner:
            self.inner.prepare(width, height)

    def estimate(self, frame: Frame) -> Depth:
        begin = time.monotonic()
        time.sleep(self.sleep)
        depth = self.inner.estimate(frame) if self.inner else self._constant(frame)
        self.estimations.append({"stamp": frame.stamp, "begin": begin, "end": time.monotonic()})
        return depth

    def _constant(self, frame: Frame) -> Depth:
        """Half the size of the image, similar to the size at which models work."""
        image = frame.image[::2, ::2]
        height, width = image.shape[:2]
        depth = np.full((height, width), 5.0, np.float32)
        return Depth(frame.stamp, frame.frame_id, depth, frame.camera.resized(width, height), image)


def _serve(model: str, inference_ms: str, log: str) -> None:
    """The other process: the real node until it is interrupted, then the record as JSON."""
    from depth_ros.nodes import life_cycle
    from depth_ros.nodes.depth_node import DepthNode
    from depth_ros.nodes.worker import Worker

    estimations: list[Estimation] = []

    def make_estimator(_: str, settings: EngineSettings, provider: EngineProvider) -> RecordingEstimator:
        estimator = RecordingEstimator(model, settings, provider, float(inference_ms) / 1e3)
        estimator.estimations = estimations
        return estimator

    def make_nodes(worker: Worker) -> list[DepthNode]:
        return [DepthNode(make_estimator, worker)]

    life_cycle.run("depth_node", make_nodes)
    Path(log).write_text(json.dumps(estimations))


if __name__ == "__main__":
    _serve(*sys.argv[1:4])
