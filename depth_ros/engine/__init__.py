"""Engines: models compiled for this machine, each checked against the eager float32 result before use.

`open_engine` waits until the best engine is there; `serve_engine` returns at once, with eager PyTorch while that
engine is built. Both ask the one pool of this process (`pool`). Building happens in a child process (`builder`) and
nowhere else; finished engines live in a cache (`store`).

Each backend is one file `<name>_backend.py` with the same four functions: `unavailable(device)` returns why it cannot
be used here (empty if it can), `precisions(device)` what it runs in, best first, `build(model, inputs, folder)` writes
its files, `load(folder, device)` returns a function from tensors to tensors on the device, as the contract of the task
defines them (see depth_ros.networks), with a batch of 1. How images get there, and results back, is in `image_path`
(OpenCV, for the CPU) and `torch_path` (for GPUs).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from depth_ros.engine.backends import BACKENDS, backend, candidates, pick_device
    from depth_ros.engine.engine import Engine, EngineSettings, EngineStatus
    from depth_ros.engine.model_engines import ModelEngines, engine_size
    from depth_ros.engine.pool import EngineProvider, close, open_engine, serve_engine

_MODULES = {
    "backends": ("BACKENDS", "backend", "candidates", "pick_device"),
    "engine": ("Engine", "EngineSettings", "EngineStatus"),
    "model_engines": ("ModelEngines", "engine_size"),
    "pool": ("EngineProvider", "close", "open_engine", "serve_engine"),
}

__all__ = [
    "BACKENDS",
    "Engine",
    "EngineProvider",
    "EngineSettings",
    "EngineStatus",
    "ModelEngines",
    "backend",
    "candidates",
    "close",
    "engine_size",
    "open_engine",
    "pick_device",
    "serve_engine",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is used: the command line lists backends and stored engines without torch and NumPy."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
