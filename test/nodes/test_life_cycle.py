"""Transitions of the parts of a node: order, failures, exceptions."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from rclpy.lifecycle import ManagedEntity, TransitionCallbackReturn

from depth_ros.errors import DepthRosError
from depth_ros.nodes.life_cycle import LifeCycle

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR


class Part(ManagedEntity):
    """Notes its transitions in `calls`; `failures` are raised, by the name of the transition."""

    def __init__(self, name: str, calls: list[str], **failures: Exception) -> None:
        self.name, self._calls, self._failures = name, calls, failures

    def _call(self, transition: str) -> TransitionCallbackReturn:
        self._calls.append(f"{transition} {self.name}")
        if transition in self._failures:
            raise self._failures[transition]
        return SUCCESS

    def on_configure(self, state):
        return self._call("configure")

    def on_activate(self, state):
        return self._call("activate")

    def on_deactivate(self, state):
        return self._call("deactivate")

    def on_cleanup(self, state):
        return self._call("cleanup")


class Setup:
    """A life cycle of parts a, b and c; failures: of b."""

    def __init__(self, **failures: Exception) -> None:
        self.calls: list[str] = []
        self.parts = [Part("a", self.calls), Part("b", self.calls, **failures), Part("c", self.calls)]
        self.parameters = SimpleNamespace(locked=False)
        self.diagnostics = SimpleNamespace(error="", frame_received=lambda: None)
        node = SimpleNamespace(
            add_managed_entity=lambda entity: None,
            get_logger=lambda: logging.getLogger("test"),
            get_parameters_by_prefix=lambda prefix: {},
            context=SimpleNamespace(ok=lambda: True),
        )
        self.release: Callable[[], None] = lambda: None
        self.life_cycle = LifeCycle(
            node, self.parameters, self.diagnostics, lambda: self.parts, lambda: self.release()
        )

    def take_calls(self) -> str:
        calls = ", ".join(self.calls)
        self.calls.clear()
        return calls


def test_parts_go_up_in_order_and_come_down_in_reverse():
    setup = Setup()
    assert setup.life_cycle.on_configure(None) == SUCCESS
    assert setup.take_calls() == "configure a, configure b, configure c" and setup.parameters.locked
    assert setup.life_cycle.on_activate(None) == SUCCESS and setup.life_cycle.is_active
    assert setup.take_calls() == "activate a, activate b, activate c"
    assert setup.life_cycle.on_deactivate(None) == SUCCESS and not setup.life_cycle.is_active
    assert setup.take_calls() == "deactivate c, deactivate b, deactivate a"
    assert setup.life_cycle.on_cleanup(None) == SUCCESS
    assert setup.take_calls() == "cleanup c, cleanup b, cleanup a" and not setup.parameters.locked


@pytest.mark.parametrize(
    "error, text",
    [
        (DepthRosError("no such file"), "no such file"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_a_failure_undoes_what_had_succeeded_and_is_shown(error: Exception, text: str):
    setup = Setup(configure=error)
    assert setup.life_cycle.on_configure(None) == FAILURE
    assert setup.take_calls() == "configure a, configure b, cleanup a" and not setup.parameters.locked
    assert setup.diagnostics.error == f"cannot configure: {text}"
    setup = Setup(activate=error)
    setup.life_cycle.on_configure(None)
    setup.calls.clear()
    assert setup.life_cycle.on_activate(None) == FAILURE and not setup.life_cycle.is_active
    assert setup.take_calls() == "activate a, activate b, deactivate a" and setup.parameters.locked
    assert setup.diagnostics.error == f"cannot activate: {text}"
    setup.parts[1]._failures.clear()
    assert setup.life_cycle.on_activate(None) == SUCCESS and setup.diagnostics.error == ""


def test_parts_that_cannot_be_made_are_a_failure():
    setup = Setup()
    setup.parts = None
    assert setup.life_cycle.on_configure(None) == FAILURE
    assert "cannot configure: TypeError" in setup.diagnostics.error


def test_a_part_that_fails_to_come_down_does_not_keep_the_others_up():
    setup = Setup(deactivate=RuntimeError("stuck"))
    setup.life_cycle.on_configure(None)
    setup.life_cycle.on_activate(None)
    setup.calls.clear()
    assert setup.life_cycle.on_deactivate(None) == ERROR
    assert setup.take_calls() == "deactivate c, deactivate b, deactivate a"
    assert setup.diagnostics.error == "cannot deactivate: RuntimeError: stuck"
    assert setup.life_cycle.on_error(None) == SUCCESS  # rclpy calls it next
    assert setup.take_calls() == "cleanup c, cleanup b, cleanup a"


def test_an_error_at_the_end_of_cleanup_is_shown_and_the_node_can_be_configured_again():
    setup = Setup()
    setup.release = lambda: [][0]
    setup.life_cycle.on_configure(None)
    assert setup.life_cycle.on_cleanup(None) == ERROR and not setup.parameters.locked
    assert setup.diagnostics.error == "cannot clean up: IndexError: list index out of range"
    assert setup.life_cycle.on_configure(None) == SUCCESS and setup.diagnostics.error == ""


def test_shutdown_brings_an_active_node_down():
    setup = Setup()
    setup.life_cycle.on_configure(None)
    setup.life_cycle.on_activate(None)
    setup.calls.clear()
    assert setup.life_cycle.on_shutdown(None) == SUCCESS
    assert setup.take_calls() == ("deactivate c, deactivate b, deactivate a, cleanup c, cleanup b, cleanup a")


REAL = """
import sys
sys.path.insert(0, "test/nodes")
import rclpy
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn as Return
from depth_ros.nodes.diagnostics import Diagnostics
from depth_ros.nodes.life_cycle import LifeCycle, LifeCycleSettings
from depth_ros.nodes.parameters import Parameters
from test_life_cycle import Part
rclpy.init()
node = LifecycleNode("node")
calls = []
parts = [Part("a", calls), Part("b", calls, deactivate=RuntimeError("stuck"))]
parameters = Parameters(node, LifeCycleSettings)
life_cycle = LifeCycle(
    node, parameters, Diagnostics(node, "test", dict, str), lambda: parts
)
life_cycle.start()
assert node._state_machine.current_state[1] == "active" and parameters.locked
assert node.trigger_deactivate() == Return.ERROR
assert node._state_machine.current_state[1] == "unconfigured" and not parameters.locked
assert calls[-4:] == ["deactivate b", "deactivate a", "cleanup b", "cleanup a"], calls
life_cycle.start()
assert node.trigger_shutdown() == Return.SUCCESS
assert node._state_machine.current_state[1] == "finalized"
"""


def test_a_real_node_ends_up_unconfigured_after_a_failed_deactivation():
    """In a process of its own: a life-cycle node keeps its DDS participant until the process ends."""
    result = subprocess.run([sys.executable, "-c", REAL], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


BUSY = """
from depth_ros import engine
from depth_ros.nodes import life_cycle
from depth_ros.nodes.signals import SignalWatch
engine.close = lambda timeout: False
life_cycle._end(None, SignalWatch(print))
print("finalization")
"""


def test_the_process_ends_without_finalization_while_an_engine_is_being_loaded():
    """Finalization would abort it."""
    result = subprocess.run([sys.executable, "-c", BUSY], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
