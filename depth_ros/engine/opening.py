"""Opening an engine: from the cache or built in a child process, and checked."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from depth_ros.card import Card, model_traits
from depth_ros.engine import builder, store
from depth_ros.engine.backends import backend, candidates, pick_device
from depth_ros.engine.builder import BuildError, first_line
from depth_ros.engine.engine import Engine, EngineSettings
from depth_ros.engine.store import EngineRequest
from depth_ros.errors import DepthRosError

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger("depth_ros.engine")


class Opener:
    """Opens one engine at a time. eager: the eager float32 module of a card on a device, which the caller keeps.

    `step` describes the build that is going on, empty otherwise. `stopped` ends the search at the next failure.
    """

    def __init__(self, eager: Callable[[Card, str], nn.Module]) -> None:
        self._eager = eager
        self._request: EngineRequest | None = None
        self._begin = 0.0
        self.stopped = False

    @property
    def step(self) -> str:
        """The engine that is being built and for how long."""
        request = self._request
        return f"{request.name} for {time.monotonic() - self._begin:.0f} s" if request else ""

    def open(self, card: Card, width: int, height: int, settings: EngineSettings) -> Engine:
        """The best engine that reproduces the eager float32 result.

        Raises DepthRosError if a named backend cannot be used here, or the model cannot be loaded.
        """
        passed_over: list[str] = []
        problem = ""
        device = pick_device(settings.device)
        for name, precision in candidates(settings, device, passed_over, model_traits(card).int8):
            request = EngineRequest(card, width, height, name, precision, device)
            try:
                run, how = self._run_of(request)
            except Exception as error:  # compilers raise anything; the next candidate is tried, visibly
                if self.stopped:
                    raise
                passed_over.append(f"{name} {precision}: {first_line(error)}")
                log.warning("engine passed over: %s", passed_over[-1])
                if isinstance(error, OSError) or (isinstance(error, BuildError) and error.by_machine):
                    problem = f"no engine could be built: {passed_over[-1]}"
                continue
            finally:
                self._request = None
            reason = "; ".join([how, *passed_over])
            return Engine(
                name, precision, device, width, height, reason, run, problem if name == "eager" else ""
            )
        raise DepthRosError(
            f"no engine for model '{card.name}' at {width}x{height}: {'; '.join(passed_over)}"
        )

    def _run_of(self, request: EngineRequest) -> tuple[Callable, str]:
        """A function that runs the engine, and how the engine came about. Raises if it fails its check.

        A stored engine that does not load, or fails its check, is built again once.
        """
        if request.backend == "eager":
            return self._in_process(request)
        problem, how = store.problem_with(request), "from the cache"
        if not problem:
            try:
                return load(request), how
            except Rejected:
                raise
            except Exception as error:
                problem = f"the one in the cache failed ({first_line(error)})"
                store.discard(request)
        self._request, self._begin = request, time.monotonic()
        how = builder.build(request, problem)
        return load(request), how

    def _in_process(self, request: EngineRequest) -> tuple[Callable, str]:
        """The eager module in the requested precision, and how it runs. Raises if it fails its check."""
        from depth_ros.engine.check import check_inputs, disagreement
        from depth_ros.engine.eager_backend import IN_PROCESS, runner
        from depth_ros.engine.precision import lowered

        model = self._eager(request.card, request.device)
        if request.precision == "float32" and request.device == "cpu":
            return model, IN_PROCESS
        inputs = check_inputs(request.card, request.width, request.height, request.device)
        run, how = runner(lowered(model, request.precision, inputs), inputs)
        problem = disagreement(model, run, inputs)
        if problem and request.precision == "float32":
            return model, f"{IN_PROCESS}; no CUDA graph: it differs on the check image ({problem})"
        if problem:
            raise Rejected(problem)
        return run, how


class Rejected(Exception):
    """An engine that does not reproduce the eager float32 result."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"differs from eager float32 on the check image ({problem})")


def load(request: EngineRequest) -> Callable:
    """Load a stored engine and check it. Raises if it does not load or fails."""
    from depth_ros.engine.check import Check

    if problem := store.rejection(request):
        raise Rejected(problem)
    run = backend(request.backend).load(request.folder, request.device)
    if problem := Check.load(request.folder / store.CHECK, request.device).problem(run):
        raise DepthRosError(f"differs from eager float32 on the check image ({problem})")
    return run
