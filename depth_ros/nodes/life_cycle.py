"""Life cycle of the nodes: transitions of their parts, start and end of the process."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.logging import get_logger

from depth_ros import engine
from depth_ros.config import setting
from depth_ros.errors import DepthRosError
from depth_ros.nodes import model_swap
from depth_ros.nodes.diagnostics import Diagnostics
from depth_ros.nodes.environment import configure_allocator, initialise_ros
from depth_ros.nodes.parameters import Parameters, check_qos_overrides
from depth_ros.nodes.signals import SignalWatch, end_process
from depth_ros.nodes.worker import Worker

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR

_executors: list[SingleThreadedExecutor] = []
"""Executors until the interpreter ends: rclpy 7 can crash if it destroys the guard conditions of an executor while its
signal handler, in another thread, triggers them."""
EXIT_TIMEOUT = 2.0
"""Seconds to wait for a network that runs when the process is to end."""


@dataclass(frozen=True)
class LifeCycleSettings:
    """Parameters of every node."""

    autostart: bool = setting(
        True, "Configure and activate the node when it starts. Set to false if a life-cycle manager does so."
    )
    max_age: float = setting(
        0.0,
        "Maximum age of a result, from the stamp of its image; older ones are not published but counted in the "
        "diagnostics. 0 publishes all.",
        "s", 0.0, 3600.0, dynamic=True,
    )  # fmt: skip


class LifeCycle(ManagedEntity):
    """The transitions of a node: its parts go up one after the other and come down in reverse order.

    configure: reads the parameters and returns the parts, first those that others need. release: drops the references
    to them after cleanup. If a part fails to go up, those before it come down again, and the reason is logged and
    shown in the diagnostics. If one fails to come down, the others do, and the node ends up unconfigured. Nothing
    that a part raises ends the node.

    This is the only managed entity of its node, because rclpy runs them in no particular order.
    """

    def __init__(
        self,
        node: LifecycleNode,
        parameters: Parameters,
        diagnostics: Diagnostics,
        configure: Callable[[], Iterable[ManagedEntity]],
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self.node, self._parameters, self._diagnostics = node, parameters, diagnostics
        self._configure, self._release = configure, release
        self._configured: list[ManagedEntity] = []
        self._active: list[ManagedEntity] = []
        node.add_managed_entity(self)

    @property
    def is_active(self) -> bool:
        """Whether the node is active, or is being activated."""
        return bool(self._active)

    def is_too_old(self, stamp: int) -> bool:
        """Whether a result, with the stamp (ns) of its image, must not be published because of `max_age`."""
        return self._diagnostics.is_too_old(stamp, self._parameters.read(LifeCycleSettings).max_age)

    def start(self) -> None:
        """Configure and activate the node unless `autostart` is false."""
        try:
            if (
                self._parameters.read(LifeCycleSettings).autostart
                and self.node.trigger_configure() == SUCCESS
            ):
                self.node.trigger_activate()
        except Exception as error:
            self._report("start", error)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            check_qos_overrides(self.node)
            for part in self._configure():
                _check(part.on_configure(state), part)
                self._configured.append(part)
        except Exception as error:
            self._report("configure", error)
            self._clean_up(state)
            return FAILURE
        self._parameters.locked = True
        self._diagnostics.error = ""
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._diagnostics.frame_received()  # the input timeout counts from now
        try:
            for part in self._configured:
                _check(part.on_activate(state), part)
                self._active.append(part)
        except Exception as error:
            self._report("activate", error)
            self._deactivate(state)
            return FAILURE
        self._diagnostics.error = ""
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return SUCCESS if self._deactivate(state) else ERROR

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return SUCCESS if self._clean_up(state) else ERROR

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._deactivate(state)
        self._clean_up(state)
        return SUCCESS

    on_error = on_shutdown

    def _deactivate(self, state: LifecycleState) -> bool:
        """Deactivate all active parts. Returns whether none failed."""
        succeeded = True
        while self._active:
            part = self._active.pop()
            try:
                _check(part.on_deactivate(state), part)
            except Exception as error:
                self._report("deactivate", error)
                succeeded = False
        return succeeded

    def _clean_up(self, state: LifecycleState) -> bool:
        """Clean up all configured parts. Returns whether none failed."""
        succeeded = True
        while self._configured:
            part = self._configured.pop()
            try:
                _check(part.on_cleanup(state), part)
            except Exception as error:
                self._report("clean up", error)
                succeeded = False
        try:
            self._release()
        except Exception as error:
            self._report("clean up", error)
            succeeded = False
        self._parameters.locked = False
        return succeeded

    def _report(self, transition: str, error: Exception) -> None:
        """Log why a transition failed, and show it in the diagnostics."""
        if not self.node.context.ok():
            return  # a signal has shut ROS down during the transition
        is_known = isinstance(error, DepthRosError)
        cause = str(error) if is_known else f"{type(error).__name__}: {error}"
        self._diagnostics.error = f"cannot {transition}: {cause}"
        trace = "" if is_known else "\n" + "".join(traceback.format_exception(error))
        self.node.get_logger().error(self._diagnostics.error + trace)


def _check(result: TransitionCallbackReturn, part: ManagedEntity) -> None:
    if result != SUCCESS:
        raise DepthRosError(f"{type(part).__name__} returned {result.name}")


class ManagedNode(Protocol):
    """A node with a `LifeCycle`."""

    life_cycle: LifeCycle
    diagnostics: Diagnostics


def run(name: str, make: Callable[[Worker], Iterable[ManagedNode]], args: list[str] | None = None) -> int:
    """Run the nodes that `make` returns until SIGINT or SIGTERM arrives.

    Returns 0, or 1 if ROS cannot be initialised or the nodes cannot be made, for example because of an invalid
    parameter value.
    """
    watch = SignalWatch(before_end=lambda: engine.close(0.0))
    worker: Worker | None = None
    is_initialised = False
    try:
        configure_allocator()
        environment_problem = initialise_ros(args)
        is_initialised = True
        worker = Worker()
        nodes = list(make(worker))
        for node in nodes:
            node.diagnostics.environment_problem = environment_problem
        _spin(nodes, watch)
    except ExternalShutdownException:
        pass
    except Exception as error:
        is_shut_down = is_initialised and not rclpy.ok()  # by a signal that Python has not noted yet
        if not (watch.received or is_shut_down):
            get_logger(name).fatal(_start_problem(error))
            return 1
    finally:
        _end(worker, watch)
    return 0


def _start_problem(error: Exception) -> str:
    """Why the nodes do not start; with a traceback if it is a bug."""
    if isinstance(error, (DepthRosError, ParameterException)):
        return str(error)
    if not rclpy.ok():
        return f"ROS cannot be initialised: {error}; check the arguments and the ROS_ and RMW_ environment variables"
    return "".join(traceback.format_exception(error))


def _spin(nodes: list[ManagedNode], watch: SignalWatch) -> None:
    """Start the nodes and run their callbacks until ROS is shut down. No exception in a callback ends them."""
    executor = SingleThreadedExecutor()
    _executors.append(executor)
    for node in nodes:
        executor.add_node(node.life_cycle.node)
        if not watch.received:
            node.life_cycle.start()
    while rclpy.ok() and not watch.received:
        try:
            executor.spin()
        except ExternalShutdownException:
            return
        except BaseException as error:  # SystemExit, too: libraries call sys.exit
            for node in nodes:  # the executor does not tell which of them it was
                node.diagnostics.report(error)


def _end(worker: Worker | None, watch: SignalWatch) -> None:
    """End the threads that use networks: those that build and load engines and models, and the worker."""
    end = time.monotonic() + EXIT_TIMEOUT
    engines_ended = engine.close(EXIT_TIMEOUT)
    swaps_ended = model_swap.close(max(0.0, end - time.monotonic()))
    worker_ended = worker is None or worker.close(max(0.0, end - time.monotonic()))
    watch.close()
    if not (engines_ended and swaps_ended and worker_ended):
        # A network still runs. Python's finalization would destroy objects that its threads use: the process aborts
        # ("terminate called without an active exception"). There is nothing to save, so it ends without finalization.
        end_process()
