"""The pool of engines of this process: one build at a time, for all estimators; a bound on what is kept open."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from depth_ros.card import Card, load_model, model_traits
from depth_ros.engine import builder, store
from depth_ros.engine.backends import backend, candidates, pick_device
from depth_ros.engine.builder import first_line
from depth_ros.engine.engine import Engine, EngineSettings, EngineStatus
from depth_ros.engine.store import EngineRequest
from depth_ros.errors import DepthRosError

if TYPE_CHECKING:
    from torch import nn

MAX_ENGINES = 8
"""Engines kept open; the one unused for longest is closed first."""
MAX_WAITING = 4
"""Engines waiting to be built; the one requested longest ago is forgotten until it is requested again."""
IN_PROCESS = "runs the module as it is"

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
        self._step = ("", 0.0)
        self._thread: threading.Thread | None = None
        self._closed = False

    def open(self, card: Card, width: int, height: int, settings: EngineSettings) -> Engine:
        """See `open_engine`."""
        key = _Key(_identity(card), width, height, settings)
        with self._build_lock:  # a build of the same engine may have ended meanwhile
            if engine := self._kept(key):
                return engine
            return self._keep(key, self._find(card, key))

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
        return Engine("eager", "float32", device, width, height, reason, self._eager(card, device))

    def building(self, card: Card) -> str:
        """The engine of a model that is being built, or waits to be, and since when; empty if there is none."""
        model = _identity(card)
        with self._lock:
            if self._building and self._building.key.model == model:
                step, begin = self._step
                return f"{step} for {time.monotonic() - begin:.0f} s" if step else "about to start"
            waiting = [wish for wish in self._waiting.values() if wish.key.model == model]
            if not waiting:
                return ""
            key, seconds = waiting[-1].key, time.monotonic() - waiting[-1].since
            return f"{key.width}x{key.height} waiting for another build for {seconds:.0f} s"

    def close(self, timeout: float = 0.0) -> bool:
        """See `close`."""
        with self._lock:
            self._closed = True
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
                    self._keep(wish.key, self._find(wish.card, wish.key))
            except Exception as error:
                if self._closed:
                    return
                log.error("stays on eager PyTorch: %s", first_line(error))
                with self._lock:
                    self._failures[wish.key] = f"no other engine: {first_line(error)}"

    def _find(self, card: Card, key: _Key) -> Engine:
        """The best engine that reproduces the eager float32 result, from the cache or built."""
        settings = key.settings
        passed_over: list[str] = []
        device = pick_device(settings.device)
        for name, precision in candidates(settings, device, passed_over, model_traits(card).int8):
            request = EngineRequest(card, key.width, key.height, name, precision, device)
            try:
                run, how = self._run_of(request)
            except Exception as error:  # compilers raise anything; the next candidate is tried, visibly
                if self._closed:
                    raise
                passed_over.append(f"{name} {precision}: {first_line(error)}")
                log.warning("engine passed over: %s", passed_over[-1])
                continue
            finally:
                self._step = ("", 0.0)
            reason = "; ".join([how, *passed_over])
            return Engine(name, precision, device, key.width, key.height, reason, run)
        raise DepthRosError(
            f"no engine for model '{card.name}' at {key.width}x{key.height}: {'; '.join(passed_over)}"
        )

    def _run_of(self, request: EngineRequest) -> tuple[Callable, str]:
        """A function that runs the engine, and how the engine came about. Raises if it fails its check.

        A stored engine that does not load, or fails its check, is built again once.
        """
        if request.backend == "eager":
            return self._lowered(request), IN_PROCESS
        problem, how = store.problem_with(request), "from the cache"
        if not problem:
            try:
                return _loaded(request), how
            except _Rejected:
                raise
            except Exception as error:
                problem = f"the one in the cache failed ({first_line(error)})"
                store.discard(request)
        self._step = (request.name, time.monotonic())
        how = builder.build(request, problem)
        return _loaded(request), how

    def _lowered(self, request: EngineRequest) -> Callable:
        """The module itself in the precision asked for; raises if it fails its check."""
        from depth_ros.engine.check import check_inputs, disagreement
        from depth_ros.engine.precision import lowered

        model = self._eager(request.card, request.device)
        if request.precision == "float32":
            return model
        inputs = check_inputs(request.card, request.width, request.height, request.device)
        run = backend("eager").runner(lowered(model, request.precision, inputs))
        if problem := disagreement(model, run, inputs):
            raise _Rejected(problem)
        return run

    def _eager(self, card: Card, device: str) -> nn.Module:
        """The eager float32 module, shared by all image sizes."""
        key = (_identity(card), device)
        with self._lock:
            model = self._models.get(key)
        if model is None:
            model = load_model(card, device)
            with self._lock:
                model = self._models.setdefault(key, model)
        return model


class _Rejected(Exception):
    """An engine that does not reproduce the eager float32 result."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"differs from eager float32 on the check image ({problem})")


def _loaded(request: EngineRequest) -> Callable:
    """Load a stored engine and check it. Raises if it does not load or fails."""
    from depth_ros.engine.check import Check

    if problem := store.rejection(request):
        raise _Rejected(problem)
    run = backend(request.backend).load(request.folder, request.device)
    if problem := Check.load(request.folder / store.CHECK, request.device).problem(run):
        raise DepthRosError(f"differs from eager float32 on the check image ({problem})")
    return run


def _identity(card: Card) -> str:
    return json.dumps([str(card.path), card.sha256, card.task, card.settings], sort_keys=True)


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


class ModelEngines:
    """The engines of one model for whatever image size comes. provider: `open_engine` or `serve_engine`."""

    def __init__(self, card: Card, settings: EngineSettings, provider: EngineProvider = open_engine) -> None:
        self.card, self._settings, self._provider = card, settings, provider
        self._sizes: dict[tuple[int, int], tuple[int, int]] = {}
        self._engine: Engine | None = None

    @property
    def status(self) -> EngineStatus:
        """The engine that served the last image, and what is being built."""
        building = _pool.building(self.card)
        if self._engine is None:
            return EngineStatus(building=building)
        return EngineStatus(self._engine.name, self._engine.reason, building)

    def for_image(self, width: int, height: int) -> Engine:
        """The engine for images of width x height px, which are resized to its size."""
        if (width, height) not in self._sizes:
            self._sizes[width, height] = engine_size(self.card, width, height)
        return self.of_size(*self._sizes[width, height])

    def of_size(self, width: int, height: int) -> Engine:
        """The engine of exactly width x height px, multiples of the model's `size_multiple`."""
        self._engine = self._provider(self.card, width, height, self._settings)
        return self._engine


def engine_size(card: Card, width: int, height: int) -> tuple[int, int]:
    """Width and height (px) of the engine for images of width x height.

    Multiples that the family can take, near the aspect ratio of the image first (stretching contradicts the
    intrinsics) and the card's number of pixels second.
    """
    step = model_traits(card).size_multiple
    budget, aspect = card.width * card.height, width / height
    highest = int((4 * budget / aspect) ** 0.5 / step) + 1
    sizes = [(max(step, round(h * step * aspect / step) * step), h * step) for h in range(1, highest + 1)]

    def mismatch(size: tuple[int, int]) -> float:
        w, h = size
        return 4 * abs(math.log(w / h / aspect)) + abs(math.log(w * h / budget))

    return min(sizes, key=mismatch)
