"""The engine cache: one folder an engine in the user's cache directory, with a manifest.

An engine is used only if its manifest equals what it would be built with now and its files have the stored checksums.
It is built in a folder beside and renamed at the end, so that a killed build leaves nothing usable.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import logging
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import depth_ros
from depth_ros.card import Card, checksum
from depth_ros.engine import nvidia

log = logging.getLogger("depth_ros.engine")

MANIFEST, CHECK = "manifest.json", "check.safetensors"
PACKAGES = {
    "openvino": ("openvino",),
    "hugging_face": ("transformers",),
}
"""Distributions whose versions decide the result, by backend or family; for TensorRT see `nvidia.versions`."""


@dataclass(frozen=True)
class EngineRequest:
    """An engine of a model for images of width x height px. device: `cpu` or `cuda`."""

    card: Card
    width: int
    height: int
    backend: str
    precision: str
    device: str

    @property
    def name(self) -> str:
        return f"{self.backend} {self.precision} {self.width}x{self.height}"

    @property
    def folder(self) -> Path:
        """The folder of the engine, whether it exists or not."""
        variant = json.dumps([self.card.sha256, self.card.variant], sort_keys=True)
        size = f"{self.width}x{self.height}"
        parts = (
            self.card.name,
            size,
            self.backend,
            self.precision,
            hashlib.sha256(variant.encode()).hexdigest()[:8],
        )
        return cache_root() / "-".join(parts)

    def manifest(self) -> dict[str, Any]:
        """Everything that decides the result of the engine."""
        import torch

        packages = (*PACKAGES.get(self.backend, ()), *PACKAGES.get(self.card.family, ()))
        versions = {"torch": torch.__version__, "depth_ros": depth_ros.__version__}
        versions |= {name: nvidia.installed_version(name) for name in packages}
        versions |= nvidia.versions(self.backend)
        return {
            "model": self.card.name,
            "weights": self.card.sha256,
            **self.card.variant,
            "code": source_checksum(self.card.family, self.backend),
            "width": self.width,
            "height": self.height,
            "backend": self.backend,
            "precision": self.precision,
            "device": device_name(self.device),
            "versions": versions,
        }

    def to_json(self) -> str:
        content = dataclasses.asdict(self)
        return json.dumps({**content, "card": {**content["card"], "path": str(self.card.path)}})

    @staticmethod
    def from_json(text: str) -> EngineRequest:
        content = json.loads(text)
        card = Card(**{**content["card"], "path": Path(content["card"]["path"])})
        return EngineRequest(**{**content, "card": card})


def cache_root() -> Path:
    """$DEPTH_ROS_CACHE, else depth_ros in $XDG_CACHE_HOME, else ~/.cache/depth_ros. Raises OSError without a home."""
    if given := os.environ.get("DEPTH_ROS_CACHE"):
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "depth_ros"
    except RuntimeError as error:  # neither $HOME nor an entry in the user database, as in a container
        raise OSError("the user has no home directory: set DEPTH_ROS_CACHE") from error


def source_checksum(family: str, backend: str) -> str:
    """sha256 of all source that decides an engine: the family with everything it imports from `networks/`, the fit of
    images to the network, the backend, and the conversion to lower precision."""
    package = Path(depth_ros.__file__).parent
    engine = package / "engine"
    shared = ("precision.py", "int8.py", "fake_quantisation.py")
    networks = (f"networks/{family}.py", "networks/blocks/fitted.py")
    files = set.union(*(_reachable(package / name) for name in networks))
    files |= {engine / name for name in (f"{backend}_backend.py", *shared)}
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(str(file.relative_to(package)).encode() + file.read_bytes())
    return digest.hexdigest()


def _reachable(file: Path) -> set[Path]:
    """`file` and the modules of depth_ros.networks that it imports, directly or not."""
    package = Path(depth_ros.__file__).parent
    found, waiting = set(), [file]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found.add(current)
        for module in _imported(current.read_text(encoding="utf-8")):
            path = package.joinpath(*module.split(".")[1:])
            waiting += [each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()]
    return found


@functools.lru_cache(maxsize=256)
def _imported(source: str) -> tuple[str, ...]:
    """Names of the modules, or attributes of modules, of depth_ros.networks that `source` imports."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return tuple(name for name in names if name.startswith("depth_ros.networks."))


def device_name(device: str) -> str:
    """The processor that an engine is built for."""
    import torch

    if device == "cuda":
        return nvidia.gpu_name()
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {os.cpu_count()} threads"


def problem_with(request: EngineRequest) -> str:
    """Why the stored engine cannot be used; empty if it can."""
    expected = json.loads(json.dumps(request.manifest()))
    if not request.folder.is_dir():
        return "there was none in the cache"
    try:
        stored = json.loads((request.folder / MANIFEST).read_text())
        files = stored["files"]
        damaged = [name for name, digest in files.items() if checksum(request.folder / name) != digest]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return f"the one in the cache is damaged ({error})"
    if damaged:
        return f"the one in the cache is damaged ({damaged[0]} has changed)"
    changed = [key for key in expected if stored.get(key) != expected[key]]
    if changed:
        key = changed[0]
        return f"{key} was {stored.get(key)}, is {expected[key]}"
    return ""


def rejection(request: EngineRequest) -> str:
    """Why the stored build failed its check, so that it need not be repeated; empty if it passed."""
    return str(json.loads((request.folder / MANIFEST).read_text()).get("rejected", ""))


@contextlib.contextmanager
def new_engine(request: EngineRequest) -> Iterator[Path]:
    """An empty folder to build in; what it holds replaces the stored engine when the block ends without an error.

    A file `rejected` with the reason, instead of an engine, records that the build failed its check.
    """
    folder = request.folder.with_name(request.folder.name + ".new")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    content: dict[str, Any] = {**request.manifest()}
    marker = folder / "rejected"
    if marker.is_file():
        content["rejected"] = marker.read_text()
        for file in folder.iterdir():
            file.unlink()
    content["files"] = {file.name: checksum(file) for file in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps(content, indent=1))
    shutil.rmtree(request.folder, ignore_errors=True)
    os.replace(folder, request.folder)


@contextlib.contextmanager
def lock(request: EngineRequest) -> Iterator[None]:
    """One process builds an engine; others that need the same one wait for it. A killed process releases the lock."""
    request.folder.parent.mkdir(parents=True, exist_ok=True)
    with open(request.folder.with_name(request.folder.name + ".lock"), "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def discard(request: EngineRequest) -> None:
    """Delete a stored engine."""
    shutil.rmtree(request.folder, ignore_errors=True)


def stored_engines(card: Card) -> list[str]:
    """Size, backend and precision of each engine of a model in the cache."""
    names = []
    for folder in sorted(cache_root().glob(f"{card.name}-*x*-*-*-*")):
        if (folder / MANIFEST).is_file():
            content = json.loads((folder / MANIFEST).read_text())
            if content.get("weights") == card.sha256 and not content.get("rejected"):
                names.append("{width}x{height} {backend} {precision}".format(**content))
    return names
