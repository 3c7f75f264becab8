"""ROS parameters generated from settings dataclasses, which define defaults, ranges, units and descriptions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Protocol, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, ReliabilityPolicy

from depth_ros.config import settings_from, value_problem
from depth_ros.errors import DepthRosError

T = TypeVar("T")
Value = bool | int | float | str

_QOS_POLICIES: dict[str, type[Enum]] = {
    "history": HistoryPolicy, "reliability": ReliabilityPolicy, "durability": DurabilityPolicy
}  # fmt: skip

_OTHER_QOS_POLICIES = (
    "deadline", "lifespan", "liveliness", "liveliness_lease_duration", "avoid_ros_namespace_conventions"
)  # fmt: skip
"""Policies that rclpy can override, too, but not in our nodes."""

_RCLPY_PARAMETERS = ("use_sim_time", "start_type_description_service", "qos_overrides.")
"""Names, or beginnings of names, that rclpy declares itself."""


class Swap(Protocol):
    """What exchanges the value of a parameter of a configured node in the background."""

    def problem(self, value: str) -> str:
        """Why a value is refused; empty if it is not."""
        ...

    def start(self, value: str) -> None: ...


class Parameters:
    """The parameters of `node`: one for every field of the settings dataclasses `kinds`.

    Parameters that are not dynamic can be set until the node is configured; while `locked` is true they are refused
    with the reason. Unlike read-only ones they can correct a node whose configuration failed. The node has to be made
    with `automatically_declare_parameters_from_overrides`; names that it does not have are then in `unknown`.
    `swaps` are asked about, and begin, changes of their parameters while `locked`.
    other_parameters: names that other nodes of the process have, because all nodes get all overrides.

    Raises DepthRosError if an override is invalid.
    """

    def __init__(self, node: Node, *kinds: type, other_parameters: Iterable[str] = ()) -> None:
        self.locked = False
        self.swaps: dict[str, Swap] = {}
        self._node = node
        self._fields = {field.name: field for kind in kinds for field in dataclasses.fields(kind)}
        self._values = {name: _declare(node, field) for name, field in self._fields.items()}
        node.add_on_set_parameters_callback(self._set)
        overrides = node.get_parameters_by_prefix("")
        known = {*self._fields, *other_parameters}
        self.unknown = sorted(n for n in overrides if n not in known and not n.startswith(_RCLPY_PARAMETERS))

    def warn_about_unknown(self, warn: Callable[[str], None]) -> None:
        """Warn if there are overrides for parameters that do not exist."""
        if self.unknown:
            unknown, known = ", ".join(self.unknown), ", ".join(self._fields)
            warn(f"unknown parameters {unknown}; known are {known}")

    def read(self, kind: type[T]) -> T:
        """The current values, as an instance of one of the settings dataclasses."""
        names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
        return settings_from(kind, {name: self._values[name] for name in names}, "parameters")

    def restore(self, name: str, value: Value) -> None:
        """Give a parameter another value; only in the thread of the executor."""
        self._node.set_parameters([Parameter(name, value=value)])

    def _set(self, parameters: list[Parameter]) -> SetParametersResult:
        known = [parameter for parameter in parameters if parameter.name in self._fields]
        for parameter in known:
            field = self._fields[parameter.name]
            problem = value_problem(field, parameter.value)
            if not problem and self.locked and not field.metadata["dynamic"]:
                problem = (
                    f"'{parameter.name}' is read when the node is configured: "
                    "deactivate and clean up the node first (ros2 lifecycle set)"
                )
            if not problem and self.locked and parameter.name in self.swaps:
                problem = self.swaps[parameter.name].problem(parameter.value)
            if problem:
                return SetParametersResult(successful=False, reason=problem)
        self._values.update((parameter.name, parameter.value) for parameter in known)
        for parameter in known:
            if self.locked and parameter.name in self.swaps:
                self.swaps[parameter.name].start(parameter.value)
        return SetParametersResult(successful=True)


def check_qos_overrides(node: Node) -> None:
    """Raises DepthRosError if a parameter qos_overrides.TOPIC.publisher.POLICY has an unknown policy or an impossible
    value: rclpy ignores the former, and what it raises for the latter does not always name it."""
    for name, parameter in node.get_parameters_by_prefix("qos_overrides").items():
        policy, value = name.rpartition(".")[2], parameter.value
        if policy == "depth":
            allowed = "" if type(value) is int and value >= 0 else "a whole number from 0"
        elif policy in _QOS_POLICIES:
            names = [each.name.lower() for each in _QOS_POLICIES[policy] if each.name.lower() != "unknown"]
            allowed = "" if value in names else ", ".join(names)
        elif policy in _OTHER_QOS_POLICIES:
            continue
        else:
            known = ", ".join(("depth", *_QOS_POLICIES))
            raise DepthRosError(
                f"parameter 'qos_overrides.{name}': there is no policy '{policy}'; known are {known}"
            )
        if allowed:
            raise DepthRosError(f"parameter 'qos_overrides.{name}' is {value!r}; allowed: {allowed}")


def names_of(*kinds: type) -> set[str]:
    """Names of the parameters of a node with these settings dataclasses."""
    return {field.name for kind in kinds for field in dataclasses.fields(kind)}


def _declare(node: Node, field: dataclasses.Field) -> Value:
    """Declare the parameter of one field, or describe it if its override has declared it. Returns its value."""
    if not node.has_parameter(field.name):
        return node.declare_parameter(field.name, field.default, _descriptor(field)).value
    value = node.get_parameter(field.name).value
    problem = value_problem(field, value)
    if problem:
        raise DepthRosError(f"parameter {problem}")
    node.set_descriptor(field.name, _descriptor(field))
    return value


def _descriptor(field: dataclasses.Field) -> ParameterDescriptor:
    """What `ros2 param describe` shows. Typing is dynamic: `value_problem` explains what it refuses, and accepts an
    integer for a floating-point parameter."""
    metadata = field.metadata
    unit = f" Unit: {metadata['unit']}." if metadata["unit"] else ""
    when = "" if metadata["dynamic"] else " Read when the node is configured."
    descriptor = ParameterDescriptor(
        name=field.name, description=f"{metadata['text']}{unit}{when}", dynamic_typing=True
    )
    if metadata["choices"]:
        descriptor.additional_constraints = "one of " + ", ".join(metadata["choices"])
    low, high = metadata["minimum"], metadata["maximum"]
    if low is not None and high is not None:
        if isinstance(field.default, int):
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high))
            ]
    return descriptor
