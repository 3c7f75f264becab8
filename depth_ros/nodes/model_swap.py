"""Exchange of the model of a configured node: `ros2 param set NODE model NAME_OR_PATH`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from rclpy.logging import get_logger

from depth_ros.card import Card, find_card
from depth_ros.engine import Engine, EngineProvider, EngineSettings, open_engine, serve_engine
from depth_ros.errors import DepthRosError
from depth_ros.nodes.diagnostics import Diagnostics
from depth_ros.nodes.parameters import Parameters
from depth_ros.nodes.worker import FrameProcessor

Estimator = TypeVar("Estimator")
_threads: list[threading.Thread] = []


@dataclass(frozen=True)
class Hooks(Generic[Estimator]):
    """What a node does to exchange its model.

    check: raises DepthRosError if a model is out of the question, quickly. load: the estimator with its weights; raises
    if it cannot be used. prepare: opens its engine for the images that come at present, which may take minutes.
    install: makes it the node's estimator; called in the worker thread, between two frames.
    """

    check: Callable[[str], None]
    load: Callable[[str, EngineProvider], Estimator]
    prepare: Callable[[Estimator], None]
    install: Callable[[Estimator], None]


class ModelSwap(Generic[Estimator]):
    """Exchanges the model while the old one goes on serving; the last one that was asked for wins.

    What can be known at once is the answer to the request. What is found later is in the diagnostics, and the parameter
    gets its old value back.
    """

    def __init__(
        self, name: str, parameters: Parameters, diagnostics: Diagnostics, processor: FrameProcessor,
        hooks: Hooks[Estimator],
    ) -> None:  # fmt: skip
        self._name, self._parameters, self._diagnostics = name, parameters, diagnostics
        self._processor, self._hooks = processor, hooks
        self._lock = threading.Lock()
        self._request = 0
        self._is_restoring = False
        self._failed = False
        self.running = self._loading = self._problem = ""
        parameters.swaps[name] = self

    def configured(self, model: str) -> None:
        """Note the model with which the node has been configured."""
        with self._lock:
            self._request += 1
            self.running, self._loading, self._problem, self._failed = model, "", "", False

    def cancel(self) -> None:
        """Forget the model that is being loaded."""
        with self._lock:
            self._request += 1
            self._loading, self._failed = "", False

    def problem(self, model: str) -> str:
        """Why a model is refused at once; empty if it is not."""
        if self._is_restoring:
            return ""
        try:
            self._hooks.check(model)
        except DepthRosError as error:
            return str(error)
        return ""

    def start(self, model: str) -> None:
        """Load a model in the background, then exchange it."""
        if self._is_restoring:
            return
        with self._lock:
            self._request += 1
            self._loading, self._problem, self._failed = model, "", False
            thread = threading.Thread(
                target=self._run, args=(model, self._request), name="model swap", daemon=True
            )
        _threads[:] = [each for each in _threads if each.is_alive()]
        _threads.append(thread)
        thread.start()

    def values(self) -> dict[str, object]:
        """Key-value pairs of the status. Called by the executor, as rclpy's parameters must be set in its thread."""
        with self._lock:
            failed, self._failed = self._failed, False
            values: dict[str, object] = {self._name: self.running}
            values |= {"model being loaded": self._loading} if self._loading else {}
            values |= {"model problem": self._problem} if self._problem else {}
        if failed:
            self._is_restoring = True
            try:
                self._parameters.restore(self._name, self.running)
            finally:
                self._is_restoring = False
        if self._problem:
            self._diagnostics.warn(self._problem)
        return values

    def _run(self, model: str, request: int) -> None:
        provider = _Provider()
        try:
            estimator = self._hooks.load(model, provider)
            self._hooks.prepare(estimator)
        except BaseException as error:  # compilers may call sys.exit
            self._fail(model, request, error)
            return
        provider.provide = serve_engine  # images of other sizes must not wait
        self._processor.between_frames(partial(self._install, model, request, estimator))

    def _install(self, model: str, request: int, estimator: Estimator) -> None:
        with self._lock:
            if request != self._request:
                return
            self._hooks.install(estimator)
            self.running, self._loading = model, ""
        get_logger("depth_ros").info(f"model {model} serves now")

    def _fail(self, model: str, request: int, error: BaseException) -> None:
        cause = str(error) if isinstance(error, DepthRosError) else f"{type(error).__name__}: {error}"
        with self._lock:
            if request == self._request:
                self._loading, self._failed = "", True
                self._problem = f"{self._name} '{model}' is refused, '{self.running}' goes on: {cause}"


class _Provider:
    """Waits for engines until `provide` is replaced. An engine that could not be built is an error."""

    def __init__(self) -> None:
        self.provide: EngineProvider = _built_engine

    def __call__(self, card: Card, width: int, height: int, settings: EngineSettings) -> Engine:
        return self.provide(card, width, height, settings)


def _built_engine(card: Card, width: int, height: int, settings: EngineSettings) -> Engine:
    engine = open_engine(card, width, height, settings)
    if engine.problem:
        raise DepthRosError(engine.problem)
    return engine


def check_card(model: str, tasks: Collection[str], scale: str) -> None:
    """Raise DepthRosError if there is no such model, or its task, or its scale, which others rely on, is another."""
    card = find_card(model)
    if card.task not in tasks:
        raise DepthRosError(f"model '{model}' is for task '{card.task}'; needed: {' or '.join(tasks)}")
    if scale and card.scale != scale:
        raise DepthRosError(
            f"model '{model}' has scale {card.scale}, the running one {scale}: clean up the node first, because others "
            "rely on its scale (ros2 lifecycle set)"
        )
    if not card.weights.is_file():
        raise DepthRosError(f"{card.weights} is missing")


def close(timeout: float) -> bool:
    """Wait at most `timeout` s for models that are being loaded. Returns whether none is left."""
    end = time.monotonic() + timeout
    for thread in list(_threads):
        thread.join(max(0.0, end - time.monotonic()))
    return not any(thread.is_alive() for thread in _threads)
