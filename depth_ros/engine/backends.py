"""The backends, the device, and the engines to try for a model."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from depth_ros.engine.compiler_folders import select_folder
from depth_ros.errors import DepthRosError

if TYPE_CHECKING:
    from depth_ros.engine.engine import EngineSettings

BACKENDS = ("torch_tensorrt", "tensorrt_rtx", "openvino", "inductor", "eager")
"""In order of preference; `auto` takes the first that is installed and passes the check."""


def backend(name: str) -> ModuleType:
    """The module of a backend."""
    select_folder()
    return importlib.import_module(f"depth_ros.engine.{name}_backend")


def pick_device(requested: str) -> str:
    """`cuda` where torch finds a GPU, else `cpu`. Raises DepthRosError if `cuda` is requested and there is none."""
    import torch

    found = torch.cuda.is_available()
    if requested == "cuda" and not found:
        raise DepthRosError("device 'cuda' was requested, but torch finds no GPU: see `depth_ros doctor`")
    return "cuda" if found and requested != "cpu" else "cpu"


def candidates(
    settings: EngineSettings, device: str, passed_over: list[str], int8: bool = False
) -> list[tuple[str, str]]:
    """(backend, precision) to try, best first, eager float32 last; reasons for missing ones go to `passed_over`.

    On a GPU, eager float16 comes before eager float32, unless eager or another precision was requested.
    int8: the model may run in int8 without being asked to. Raises DepthRosError if the backend that `settings` names
    cannot be used here.
    """
    found: list[tuple[str, str]] = []
    for name in BACKENDS if settings.backend == "auto" else (settings.backend,):
        try:
            module = backend(name)
            missing = module.unavailable(device)
        except Exception as error:  # a damaged installation must not take the other backends along
            missing = f"{type(error).__name__}: {error}"
        if missing and settings.backend != "auto":
            raise DepthRosError(f"backend '{name}' cannot be used: {missing}")
        if missing:
            passed_over.append(f"{name}: {missing}")
            continue
        offered = module.precisions(device)
        if settings.precision == "auto":
            found += [(name, precision) for precision in offered if int8 or precision != "int8"]
        elif settings.precision in offered:
            found.append((name, settings.precision))
        else:
            passed_over.append(f"{name}: {settings.precision} is not available on this {device}")
    if device == "cuda" and settings.backend != "eager" and settings.precision in ("auto", "float16"):
        found = [each for each in found if each[0] != "eager"]
        return [*found, ("eager", "float16"), ("eager", "float32")]
    return found if ("eager", "float32") in found else [*found, ("eager", "float32")]
