"""Engines: a model compiled for this machine, checked against the eager float32 result before use.

`open_engine` is the one call. Each backend is one file with the same four names: `unavailable(device)` says
why it cannot be used here (empty if it can), `precisions(device)` what it runs in, best first,
`build(model, inputs, folder)` writes its files, `load(folder, device)` returns a function that takes and
returns tensors on the device as the contract of the task says (see depth_ros.networks), with a batch of 1.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from depth_ros.card import Card, load_model, size_multiple
from depth_ros.config import setting
from depth_ros.engine import cache
from depth_ros.engine.check import check_inputs, disagreement
from depth_ros.engine.precision import lowered
from depth_ros.errors import DepthRosError

if TYPE_CHECKING:
    from torch import nn

BACKENDS = ("torch_tensorrt", "openvino", "inductor", "eager")
"""In the order of preference; `auto` takes the first that is there and passes the check."""

log = logging.getLogger("depth_ros.engine")


@dataclass(frozen=True)
class EngineSettings:
    """Which engine to use. `auto` decides by what is installed and passes the check."""

    backend: str = setting("auto", "compiler of the network", choices=("auto", *BACKENDS))
    precision: str = setting(
        "auto", "number format of the network", choices=("auto", "float32", "bfloat16", "float16", "int8")
    )
    device: str = setting("auto", "where the network runs", choices=("auto", "cpu", "cuda"))


@dataclass(frozen=True)
class Engine:
    """A model ready to run on images of one size. reason: why it is this one, in words."""

    backend: str
    precision: str
    device: str
    width: int
    height: int
    reason: str
    run: Callable

    @property
    def name(self) -> str:
        return f"{self.backend} {self.precision} {self.width}x{self.height}"

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """The first result for inputs without the batch dimension: depth (H, W) of an image and its K, ..."""
        return self.results(*inputs)[0]

    def results(self, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """All results, without the batch dimension. Images and labels are uint8, the rest becomes float32."""
        import torch

        with torch.inference_mode():
            tensors = (torch.from_numpy(_plain(array))[None] for array in inputs)
            found = self.run(*(tensor.to(self.device, non_blocking=True) for tensor in tensors))
            found = found if isinstance(found, (tuple, list)) else (found,)
            return tuple(result[0].cpu().numpy() for result in found)


def _plain(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array if array.dtype == np.uint8 else np.asarray(array, np.float32))


def backend(name: str) -> ModuleType:
    """The module of a backend."""
    return importlib.import_module(f"{__name__}.{name}_backend")


def pick_device(wanted: str) -> str:
    """`cuda` where a GPU answers, else `cpu`; an explicit wish that cannot be met is an error."""
    import torch

    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise DepthRosError("device 'cuda' was asked for, but torch finds no GPU: see `depth_ros doctor`")
    return "cuda" if found and wanted != "cpu" else "cpu"


def engine_size(card: Card, width: int, height: int) -> tuple[int, int]:
    """Width and height (px) of the engine for images of width x height.

    Multiples that the family can take, near the shape of the image first (a stretched image is a lie about
    the camera) and the card's number of pixels second.
    """
    step = size_multiple(card)
    budget, aspect = card.width * card.height, width / height
    highest = int((4 * budget / aspect) ** 0.5 / step) + 1
    sizes = [(max(step, round(h * step * aspect / step) * step), h * step) for h in range(1, highest + 1)]

    def badness(size: tuple[int, int]) -> float:
        w, h = size
        return 4 * abs(math.log(w / h / aspect)) + abs(math.log(w * h / budget))

    return min(sizes, key=badness)


def open_engine(card: Card, width: int, height: int, settings: EngineSettings = EngineSettings()) -> Engine:
    """The best engine for `card` at width x height px that reproduces the eager float32 result.

    Engines that exist in the cache and fit this machine are used; others are built. An engine that does not
    agree, or cannot be built, is passed over with the reason in `Engine.reason` and in the log.
    Raises DepthRosError if an explicitly named backend cannot be used here, or the model cannot be loaded.
    """
    device = pick_device(settings.device)
    model = load_model(card, device)
    inputs = check_inputs(card, width, height, device)
    passed_over: list[str] = []
    for name, precision in candidates(settings, device, passed_over, getattr(model, "int8", False)):
        try:
            run, note = _checked(card, model, name, precision, device, inputs)
        except Exception as error:  # compilers raise anything; the next candidate is tried, visibly
            passed_over.append(f"{name} {precision}: {_first_line(error)}")
            log.warning("engine passed over: %s", passed_over[-1])
            continue
        reason = "; ".join([note, *passed_over])
        return Engine(name, precision, device, width, height, reason, run)
    raise DepthRosError(f"no engine for model '{card.name}' at {width}x{height}: {'; '.join(passed_over)}")


def candidates(
    settings: EngineSettings, device: str, passed_over: list[str], int8: bool = False
) -> list[tuple[str, str]]:
    """(backend, precision) to try, best first, eager float32 last; what is missing goes to `passed_over`.

    int8: whether integers are taken without being asked for.
    """
    found = []
    for name in BACKENDS if settings.backend == "auto" else (settings.backend,):
        module = backend(name)
        missing = module.unavailable(device)
        if missing and settings.backend != "auto":
            raise DepthRosError(f"backend '{name}' cannot be used: {missing}")
        if missing:
            passed_over.append(f"{name}: {missing}")
            continue
        offered = module.precisions(device)
        if settings.precision not in ("auto", *offered):
            passed_over.append(f"{name}: no {settings.precision} on this {device}")
            continue
        chosen = (
            [p for p in offered if int8 or p != "int8"]
            if settings.precision == "auto"
            else [settings.precision]
        )
        found += [(name, precision) for precision in chosen]
    return [*found, *([] if ("eager", "float32") in found else [("eager", "float32")])]


def _checked(
    card: Card, model: nn.Module, name: str, precision: str, device: str, inputs: tuple
) -> tuple[Callable, str]:
    """A function that runs the engine, and how it was come by; raises if it does not agree with `model`."""
    module = backend(name)
    if name == "eager":
        run, note = module.runner(lowered(model, precision, inputs)), "runs the module as it is"
    else:
        folder, note = cache.engine_folder(
            cache.manifest(card, name, precision, device, inputs),
            lambda path: module.build(lowered(model, precision, inputs), inputs, path),
        )
        run = module.load(folder, device)
    problem = "" if (name, precision) == ("eager", "float32") else disagreement(model, run, inputs)
    if problem:
        raise DepthRosError(f"differs from eager float32 on the check image ({problem})")
    return run, note


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
