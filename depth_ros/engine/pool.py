"""The pool of engines of this process: one build at a time, for all estimators; a bound on what is kept open."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from depth_ros.card import Card, deployed_model
from depth_ros.engine import builder
from depth_ros.engine.backends import pick_device
from depth_ros.engine.builder import first_line
from depth_ros.engine.engine import Engine, EngineSettings
from depth_ros.engine.opening import Opener

if TYPE_CHECKING:
    from torch import nn

MAX_ENGINES = 8
"""Engines kept open; the one unused for longest is closed first."""
MAX_WAITING = 4
"""Engines waiting to be built; the one requested longest ago is forgotten until it is requested again."""

log = logging.getLogger("depth_ros.engine")


class EngineProvider(Protocol):
    """`open_engine`, which waits for the build, or `serve_engine`, which does not."""

    def __call__(self, card: Card, width: int, height: int, settings: EngineSettings) -> Engine: ...


@dataclass(frozen=True)
class _Key:
    """What an engine was asked for with. model: identifies weights and settings."""

    model: str
    width: int
    height: int
    settings: EngineSettings


@dataclass
class _Wish:
    """An engine to be built for a key."""

    key: _Key
    card: Card
    since: float


class EnginePool:
    """Engines and eager modules of one process. Thread-safe.

    Requests are served newest first: with a camera that changes its image size, the current size counts.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._build_lock = threading.Lock()
        self._engines: OrderedDict[_Key, Engine] = OrderedDict()
        self._models: OrderedDict[tuple[str, str], nn.Module] = OrderedDict()
        self._failures: dict[_Key, str] = {}
        self._waiting: OrderedDict[_Key, _Wish] = OrderedDict()
        self._building: _Wish | None = None
        self._opener = Opener(self._eager)
        self._thread: threading.Thread | None = None
        self._closed = False

    def open(self, card: Card, width: int, height: int, settings: EngineSettings) -> Engine:
        """See `open_engine`."""
        key = _Key(_identity(card), width, height, settings)
        with self._build_lock:  # a build of the same engine may have ended meanwhile
            if engine := self._kept(key):
                return engine
            return self._keep(key, self._opener.open(card, width, height, settings))

    def serve(self, card: Card, width: int, height: int, settings: EngineSettings) -> Engine:
        """See `serve_engine`."""
        key = _Key(_identity(card), width, height, settings)
        if engine := self._kept(key):
            return engine
        if settings.backend == "eager":
            return self.open(card, width, height, settings)
        with self._lock:
            failure = self._failures.get(key, "")
            if not failure and not self._closed:
                self._request(key, card)
        device = pick_device(settings.device)
        reason = failure or "until the engine is built"
        return Engine("eager", "float32", device, width, height, reason, self._eager(card, device), failure)

    def building(self, card: Card) -> str:
        """The engine of a model that is being built, or waits to be, and since when; empty if there is none."""
        model = _identity(card)
        with self._lock:
            if self._building and self._building.key.model == model:
                return self._opener.step or "about to start"
            waiting = [wish for wish in self._waiting.values() if wish.key.model == model]
            if not waiting:
                return ""
            key, seconds = waiting[-1].key, time.monotonic() - waiting[-1].since
            return f"{key.width}x{key.height} waiting for another build for {seconds:.0f} s"

    def close(self, timeout: float = 0.0) -> bool:
        """See `close`."""
        with self._lock:
            self._closed = self._opener.stopped = True
            self._waiting.clear()
            thread = self._thread
        builder.stop_all()
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _kept(self, key: _Key) -> Engine | None:
        with self._lock:
            engine = self._engines.get(key)
            if engine:
                self._engines.move_to_end(key)
            return engine

    def _keep(self, key: _Key, engine: Engine) -> Engine:
        with self._lock:
            self._engines[key] = engine
            self._engines.move_to_end(key)
            while len(self._engines) > MAX_ENGINES:
                self._engines.popitem(last=False)
        return engine

    def _request(self, key: _Key, card: Card) -> None:
        """Put a build first in the queue. The caller holds the lock."""
        if self._building and self._building.key == key:
            return
        since = self._waiting[key].since if key in self._waiting else time.monotonic()
        self._waiting[key] = _Wish(key, card, since)
        self._waiting.move_to_end(key)
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popitem(last=False)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="engine builds", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        """Build what is requested; the thread ends when nothing is."""
        while True:
            with self._lock:
                if not self._waiting or self._closed:
                    self._building = self._thread = None
                    self._models.clear()  # loaded again if needed; nothing waits for an engine now
                    return
                _, wish = self._waiting.popitem()
                self._building = wish
            try:
                with self._build_lock:
                    key = wish.key
                    self._keep(key, self._opener.open(wish.card, key.width, key.height, key.settings))
            except BaseException as error:  # backends import compilers, which may call sys.exit
                if self._closed:
                    return
                log.error("stays on eager PyTorch: %s", first_line(error))
                with self._lock:
                    self._failures[wish.key] = f"no other engine: {first_line(error)}"

    def _eager(self, card: Card, device: str) -> nn.Module:
        """The eager float32 module, shared by all image sizes."""
        key = (_identity(card), device)
        with self._lock:
            model = self._models.get(key)
        if model is None:
            model = deployed_model(card, device)
            with self._lock:
                model = self._models.setdefault(key, model)
        return model


def _identity(card: Card) -> str:
    return json.dumps([str(card.path), card.sha256, card.variant], sort_keys=True)


_pool = EnginePool()
DEFAULTS = EngineSettings()


def open_engine(card: Card, width: int, height: int, settings: EngineSettings = DEFAULTS) -> Engine:
    """The best engine for `card` at width x height px that reproduces the eager float32 result.

    Engines in the cache that fit this machine are used; others are built, and the call waits. An engine that differs
    or cannot be built is passed over; the reason is in `Engine.reason` and in the log.
    Raises DepthRosError if a named backend cannot be used here, or the model cannot be loaded.
    """
    return _pool.open(card, width, height, settings)


def serve_engine(card: Card, width: int, height: int, settings: EngineSettings = DEFAULTS) -> Engine:
    """The same without waiting: eager PyTorch serves until the engine is built, so that the first image has depth.

    Call it for every image. If no engine can be built, eager PyTorch stays and `Engine.reason` says why.
    """
    return _pool.serve(card, width, height, settings)


def close(timeout: float = 0.0) -> bool:
    """End the builds of this process, which is about to exit, and accept no more.

    Waits at most `timeout` s for the thread that builds and loads engines. Returns whether it has ended.
    """
    return _pool.close(timeout)


def building_of(card: Card) -> str:
    """The engine of a model that is being built in this process, and for how long; empty if there is none."""
    return _pool.building(card)
