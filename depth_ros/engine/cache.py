"""Where engines live: one folder each in the user's cache directory, with a manifest.

An engine is used only if its manifest equals what it would be built with now and its files have the stored
checksums. It is built in a folder beside and renamed at the end, so a killed build leaves nothing usable.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import inspect
import json
import logging
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import depth_ros
from depth_ros.card import Card, checksum
from depth_ros.networks import family

log = logging.getLogger("depth_ros.engine")


def cache_root() -> Path:
    """$DEPTH_ROS_CACHE, else depth_ros in $XDG_CACHE_HOME, else ~/.cache/depth_ros."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "depth_ros"
    return Path(os.environ.get("DEPTH_ROS_CACHE") or default)


def manifest(card: Card, backend: str, precision: str, device: str, inputs: tuple) -> dict:
    """Everything that an engine depends on."""
    import torch

    packages = {"openvino": ("openvino",), "torch_tensorrt": ("torch_tensorrt", "tensorrt")}
    versions = {"torch": torch.__version__, "depth_ros": depth_ros.__version__}
    versions |= {name: _version(name) for name in packages.get(backend, ())}
    height, width = inputs[0].shape[-3:-1]
    return {
        "model": card.name,
        "task": card.task,
        "weights": card.sha256,
        "settings": card.settings,
        "code": checksum(Path(inspect.getfile(family(card.family)))),
        "width": width,
        "height": height,
        "backend": backend,
        "precision": precision,
        "device": device_name(device),
        "versions": versions,
    }


def device_name(device: str) -> str:
    """The processor an engine is built for."""
    import torch

    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        return f"{properties.name} sm_{properties.major}{properties.minor} cuda {torch.version.cuda}"
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {os.cpu_count()} threads"


def engine_path(wanted: dict) -> Path:
    """The folder of the engine that `wanted` describes, whether it exists or not."""
    name = "{model}-{width}x{height}-{backend}-{precision}".format(**wanted)
    return cache_root() / f"{name}-{wanted['weights'][:8]}"


def engine_folder(wanted: dict, build: Callable[[Path], None]) -> tuple[Path, str]:
    """The folder of a valid engine, built if need be, and how it was come by, in words."""
    folder = engine_path(wanted)
    with _lock(folder):
        problem = problem_with(folder, wanted)
        if not problem:
            return folder, "from the cache"
        log.info("building %s: %s", folder.name, problem)
        fresh = folder.with_name(folder.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        build(fresh)
        files = {file.name: checksum(file) for file in sorted(fresh.iterdir())}
        (fresh / "manifest.json").write_text(json.dumps({**wanted, "files": files}, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(fresh, folder)
    return folder, f"built, because {problem}"


def problem_with(folder: Path, wanted: dict) -> str:
    """Why the engine in `folder` cannot be used for `wanted`; empty if it can."""
    if not folder.is_dir():
        return "there was none in the cache"
    try:
        stored = json.loads((folder / "manifest.json").read_text())
        files = stored.pop("files")
        damaged = [name for name, digest in files.items() if checksum(folder / name) != digest]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        return f"the one in the cache is damaged ({error})"
    if damaged:
        return f"the one in the cache is damaged ({damaged[0]} has changed)"
    changed = [key for key in wanted if stored.get(key) != wanted[key]]
    if changed:
        key = changed[0]
        return f"{key} was {stored.get(key)}, is {wanted[key]}"
    return ""


def remove(model: str) -> list[Path]:
    """Delete all engines of a model; returns the folders."""
    folders = sorted(cache_root().glob(f"{model}-*x*"))
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return folders


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One process builds; another that wants the same engine waits for it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".lock"), "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
