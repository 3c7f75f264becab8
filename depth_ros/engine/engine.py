"""An engine, its settings and its status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from depth_ros.config import setting
from depth_ros.engine.backends import BACKENDS
from depth_ros.engine.image_path import ImagePath, Pixels, image_path


@dataclass(frozen=True)
class EngineSettings:
    """Which engine to use, and with which options of the model."""

    backend: str = setting(
        "auto",
        "Compiler of the network. auto takes the fastest that is installed and passes the check.",
        choices=("auto", *BACKENDS),
    )
    precision: str = setting(
        "auto",
        "Number format of the network. auto takes the fastest that passes the check.",
        choices=("auto", "float32", "bfloat16", "float16", "int8"),
    )
    device: str = setting(
        "auto",
        "Device that runs the network. auto takes the GPU where there is one.",
        choices=("auto", "cpu", "cuda"),
    )
    post_process: bool = setting(
        False,
        "Average depth with that of the mirrored image, which improves the borders and takes twice the time. For "
        "models that support it (family monodepth).",
    )


@dataclass(frozen=True)
class Engine:
    """A model ready to run on images of one size, width x height px. reason: why this engine was chosen.

    problem: what on this machine prevents a faster engine; empty if nothing does.

    run: tensors with a batch of 1 on `device` to tensors, as the contract of the task defines them.
    """

    backend: str
    precision: str
    device: str
    width: int
    height: int
    reason: str
    run: Callable
    problem: str = ""

    @property
    def name(self) -> str:
        return f"{self.backend} {self.precision} {self.width}x{self.height}"

    @property
    def path(self) -> ImagePath[Pixels]:
        """Prepares images for this engine; shared by all engines of the device."""
        return image_path(self.device)

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """The first result for inputs without the batch dimension, e.g. depth (H, W) of an image and its K."""
        return self.results(*inputs)[0]

    def results(self, *inputs: Pixels, images: Sequence[Pixels] = ()) -> tuple[np.ndarray, ...]:
        """All results, without the batch dimension, then `images`, which `path` has prepared, as arrays.

        Images and labels are uint8; other inputs become float32.
        """
        return self.path.run(self.run, inputs, images)


@dataclass(frozen=True)
class EngineStatus:
    """What serves a model now, for diagnostics. name: backend, precision and size. reason: why this engine.

    building: the engine that is being built to replace it and for how long; empty if none is. problem: as in Engine.
    """

    name: str = "no engine yet"
    reason: str = "no image received yet"
    building: str = ""
    problem: str = ""
