"""The real DepthNode with an estimator of known results, which writes the stamps of its frames to a file.

The first pixel of an image selects what happens while it is estimated, see the constants. A network that sleeps or runs
PyTorch ends once the file `ended(LOG)` exists. Model "slow" loads for `SLOW_SECONDS`, "twice" gives twice the depth,
"unbuildable" has no engine. A message on `crash` raises an exception in a callback.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from std_msgs.msg import Empty

from depth_ros.datatypes import Depth, Frame
from depth_ros.engine import EngineStatus
from depth_ros.errors import DepthRosError
from depth_ros.nodes import life_cycle
from depth_ros.nodes.depth_node import DepthNode
from depth_ros.nodes.worker import Worker

SLOW_SECONDS = 8.0
PREPARE_SECONDS = 2.0
HELD_SECONDS = 120.0
"""After which a network ends that no test ends."""
SLEEP, EAGER, CRASH, NAP, SHORT = 11, 12, 13, 14, 15
"""Values of the first pixel: sleep, run PyTorch for as long, raise a RuntimeError, sleep for a second, for 0.1 s."""


class KnownDepth:
    """Half the image's size: 1 m in the left column, 0.5 m more in each next; the first row is invalid."""

    card = SimpleNamespace(scale="metric", extra_inputs=())
    engine_status = EngineStatus("known 32x24", "made for tests")

    def __init__(self, model: str, *_: object) -> None:
        log(f"model {model}")
        self._model = Path(model).name
        if model == "slow":
            time.sleep(SLOW_SECONDS)

    def prepare(self, width: int, height: int) -> None:
        log(f"prepares {self._model} {width}x{height}")
        if self._model == "unbuildable":
            raise DepthRosError("no engine could be built")
        time.sleep(PREPARE_SECONDS)

    def estimate(self, frame: Frame) -> Depth:
        log(str(frame.stamp))
        work(frame.image[0, 0, 0])
        image = frame.image[::2, ::2]
        height, width = image.shape[:2]
        depth = np.tile(1 + 0.5 * np.arange(width, dtype=np.float32), (height, 1))
        depth[0] = np.nan
        depth *= 2 if self._model == "twice" else 1
        return Depth(frame.stamp, frame.frame_id, depth, frame.camera.resized(width, height), image)


def log(line: str) -> None:
    with Path(sys.argv[1]).open("a") as file:
        file.write(f"{line}\n")


def ended(log: Path) -> Path:
    """The file that ends a running network."""
    return log.with_name(f"{log.name}.ended")


def is_held(begin: float) -> bool:
    """Whether a network that began at `begin`, time.monotonic(), still runs."""
    return not ended(Path(sys.argv[1])).exists() and time.monotonic() < begin + HELD_SECONDS


def work(value: int) -> None:
    begin = time.monotonic()
    if value == SLEEP:
        while is_held(begin):
            time.sleep(0.05)
    elif value == EAGER:
        import torch

        x, weight = torch.randn(1, 64, 128, 256), torch.randn(64, 64, 3, 3)
        while is_held(begin):
            torch.nn.functional.conv2d(x, weight, padding=1).relu()
    elif value == NAP:
        time.sleep(1)
    elif value == SHORT:
        time.sleep(0.1)
    elif value == CRASH:
        raise RuntimeError("the estimator has a bug")


def make(worker: Worker) -> list[DepthNode]:
    def crash(_: Empty) -> None:
        raise RuntimeError("the callback has a bug")

    node = DepthNode(KnownDepth, worker)
    node.create_subscription(Empty, "crash", crash, 1)
    return [node]


if __name__ == "__main__":
    raise SystemExit(life_cycle.run("depth_node", make))
