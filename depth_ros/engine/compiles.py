"""Whether models compile completely, without running them: `depth_ros compile --check-only`.

A strict export traces the Python code and fails at the first graph break. What it gives every compiler has to take
whole: each backend of this machine builds and opens an engine in a folder that is thrown away, and TensorRT-RTX builds
one where there is no GPU. Whether an engine is right and fast is not asked: that takes the machine that runs it.
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

from depth_ros.card import cards, find_card, load_model
from depth_ros.engine import BACKENDS, backend, pick_device, tensorrt_rtx
from depth_ros.engine.check import check_inputs, task_inputs
from depth_ros.engine.precision import lowered
from depth_ros.networks import families, family, model_class

COMPILERS = (*(name for name in BACKENDS if name != "eager"), "tensorrt_rtx")
SMALLEST = (192, 128)
"""px, width and height at which a network with random weights is compiled, or the next size that it takes."""


@dataclass(frozen=True)
class Verdict:
    """What one compiler says. compiles: None = not asked, and `reason` says why; where False it says what broke."""

    compiler: str
    compiles: bool | None
    reason: str = ""

    def __str__(self) -> str:
        answer = {True: "yes", False: "NO", None: "not checked"}[self.compiles]
        return f"{self.compiler} {answer}" + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True)
class Subject:
    """A model to compile, in words, and what it takes."""

    name: str
    model: nn.Module
    inputs: tuple[Tensor, ...]


def subjects(name: str = "") -> Iterator[Subject]:
    """A model by name or folder; all models of a family, with random weights; or, for "", those of every family
    that has networks of its own. What is a model and a family is the model."""
    if name and (name not in families() or name in (card.name for card in cards())):
        card = find_card(name)
        yield Subject(card.name, load_model(card), check_inputs(card, card.width, card.height, "cpu"))
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
            yield Subject(f"{each} {task}", model, task_inputs(task, frames, image, "cpu"))


def verdicts(subject: Subject, wanted: str = "auto") -> Iterator[Verdict]:
    """What the export says, then every compiler, or the `wanted` one alone, in the precision it prefers."""
    try:
        program = exported(subject.model, subject.inputs)
    except Exception as error:  # whatever stops the tracer
        yield Verdict("torch.export", False, _first_line(error))
        return
    yield Verdict("torch.export", True)
    device = pick_device("auto")
    for name in COMPILERS if wanted == "auto" else (wanted,):
        build: Callable[[], object]
        if name == "tensorrt_rtx":
            missing, build = tensorrt_rtx.unavailable(), partial(tensorrt_rtx.build, program)
        else:
            missing, build = backend(name).unavailable(device), partial(_build, name, subject, device)
        yield _verdict(name, missing, build)


def exported(model: nn.Module, inputs: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    """The whole program of a model; raises at the first graph break."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model(*inputs)  # transformers installs its hooks in the first call
        return torch.export.export(model, inputs, strict=True)


def _verdict(compiler: str, missing: str, build: Callable[[], object]) -> Verdict:
    if missing:
        return Verdict(compiler, None, missing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            build()
    except Exception as error:  # compilers raise anything
        return Verdict(compiler, False, _first_line(error))
    return Verdict(compiler, True)


def _build(name: str, subject: Subject, device: str) -> None:
    module = backend(name)
    inputs = tuple(tensor.to(device) for tensor in subject.inputs)
    precision = next(each for each in module.precisions(device) if each != "int8")
    model = lowered(subject.model, precision, inputs).to(device)
    with tempfile.TemporaryDirectory() as folder:
        module.build(model, inputs, Path(folder))
        module.load(Path(folder), device)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
