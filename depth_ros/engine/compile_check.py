"""Check that models compile completely, without running them: `depth_ros compile --check-only`.

A strict export traces the Python code and fails at the first graph break. Every compiler has to accept the exported
program as a whole: each backend of this machine builds and loads an engine in a temporary folder. Without a GPU,
TensorRT-RTX builds one for another machine. Accuracy and speed are not checked: that takes the machine that runs it.
The command is a process that serves no node, so it compiles in place.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from depth_ros.card import cards, deployed_model, find_card
from depth_ros.engine import tensorrt_rtx_backend
from depth_ros.engine.backends import BACKENDS, backend, pick_device
from depth_ros.engine.builder import first_line
from depth_ros.engine.check import check_inputs, task_inputs
from depth_ros.engine.precision import lowered
from depth_ros.networks import families, family, model_class

COMPILERS = tuple(name for name in BACKENDS if name != "eager")
CAPABILITY = "8.9"
"""Compute capability (Ada) that TensorRT-RTX builds for where there is no GPU."""
SMALLEST = (192, 128)
"""px; width and height at which a network with random weights is compiled, rounded up to a size that it takes."""


@dataclass(frozen=True)
class CompileResult:
    """The result of one compiler. compiles: None = not checked. reason: why it was not checked, or what failed."""

    compiler: str
    compiles: bool | None
    reason: str = ""

    def __str__(self) -> str:
        answer = {True: "yes", False: "NO", None: "not checked"}[self.compiles]
        return f"{self.compiler} {answer}" + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True)
class CompileCase:
    """A model to compile, and its inputs."""

    name: str
    model: nn.Module
    inputs: tuple[Tensor, ...]


def cases(name: str = "") -> Iterator[CompileCase]:
    """A model by name or folder; all models of a family, with random weights; or, for "", those of every family with
    networks of its own. A name that is both a model and a family means the model."""
    if name and (name not in families() or name in (card.name for card in cards())):
        card = find_card(name)
        yield CompileCase(card.name, deployed_model(card), check_inputs(card, card.width, card.height, "cpu"))
        return
    for each in [name] if name else (known for known in families() if family(known).NETWORKS):
        module = family(each)
        settings = module.Settings()
        for task in getattr(module, "MODELS", None) or [module.TASK]:
            model = model_class(each, task)(settings).eval()
            step = int(model.size_multiple)  # type: ignore[arg-type]
            width, height = (-(-side // step) * step for side in SMALLEST)
            image = np.zeros((height, width, 3), np.uint8)
            frames = getattr(settings, "frames", 3)
            yield CompileCase(f"{each} {task}", model, task_inputs(task, frames, image, "cpu"))


def check(case: CompileCase, requested: str = "auto") -> Iterator[CompileResult]:
    """The result of the export, then of every compiler, or of the `requested` one, in its preferred precision."""
    try:
        exported(case.model, case.inputs)
    except Exception as error:  # tracers raise anything
        yield CompileResult("torch.export", False, first_line(error))
        return
    yield CompileResult("torch.export", True)
    device = pick_device("auto")
    for name in COMPILERS if requested == "auto" else (requested,):
        if name == "tensorrt_rtx" and device == "cpu":
            missing, build = tensorrt_rtx_backend.not_installed(), partial(_build_for_rtx, case)
        else:
            missing, build = backend(name).unavailable(device), partial(_build, name, case, device)
        yield _result(name, missing, build)


def exported(model: nn.Module, inputs: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    """The complete program of a model. Raises at the first graph break."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model(*inputs)  # transformers installs its hooks in the first call
        return torch.export.export(model, inputs, strict=True)


def _result(compiler: str, missing: str, build: Callable[[], object]) -> CompileResult:
    if missing:
        return CompileResult(compiler, None, missing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            build()
    except Exception as error:  # compilers raise anything
        return CompileResult(compiler, False, first_line(error))
    return CompileResult(compiler, True)


def _build(name: str, case: CompileCase, device: str) -> None:
    module = backend(name)
    inputs = tuple(tensor.to(device) for tensor in case.inputs)
    precision = next(each for each in module.precisions(device) if each != "int8")
    model = lowered(case.model, precision, inputs).to(device)
    with tempfile.TemporaryDirectory() as folder:
        module.build(model, inputs, Path(folder))
        module.load(Path(folder), device)


def _build_for_rtx(case: CompileCase) -> None:
    precision = tensorrt_rtx_backend.precisions("cuda")[0]
    with tempfile.TemporaryDirectory() as folder:
        model = lowered(case.model, precision, case.inputs)
        tensorrt_rtx_backend.build(model, case.inputs, Path(folder), CAPABILITY)
