"""ROS parameters generated from settings dataclasses: defaults, ranges, units and texts live there only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from depth_ros.config import problem_with, settings_from
from depth_ros.errors import DepthRosError

T = TypeVar("T")

_OF_RCLPY = ("use_sim_time", "start_type_description_service", "qos_overrides.")


class Parameters:
    """The parameters of `node`, one for every field of the settings dataclasses `kinds`.

    Those that are not dynamic can be set until the node is configured and are refused, with the reason, while
    `locked` is true: unlike read-only ones they can mend a node whose configuration failed. The node must
    declare its overrides by itself (`automatically_declare_parameters_from_overrides`): names that nobody
    knows come to light in `unknown`. others: names that other nodes of the process know, to whom all is given too.

    Raises DepthRosError where a start value is not allowed.
    """

    def __init__(self, node: Node, *kinds: type, others: Iterable[str] = ()) -> None:
        self.locked = False
        self._fields = {field.name: field for kind in kinds for field in dataclasses.fields(kind)}
        self.names = tuple(self._fields)
        self._values = {name: _declare(node, field) for name, field in self._fields.items()}
        node.add_on_set_parameters_callback(self._set)
        given = node.get_parameters_by_prefix("")
        known = {*self._fields, *others}
        self.unknown = sorted(n for n in given if n not in known and not n.startswith(_OF_RCLPY))

    def name_unknown(self, complain: Callable[[str], None]) -> None:
        """Say which given parameters nobody knows, if there are any."""
        if self.unknown:
            unknown, known = ", ".join(self.unknown), ", ".join(self.names)
            complain(f"unknown parameters {unknown}; known are {known}")

    def read(self, kind: type[T]) -> T:
        """The present values as an instance of one of the settings dataclasses."""
        names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
        return settings_from(kind, {name: self._values[name] for name in names}, "parameters")

    def _set(self, parameters: list[Parameter]) -> SetParametersResult:
        ours = [parameter for parameter in parameters if parameter.name in self._fields]
        for parameter in ours:
            field = self._fields[parameter.name]
            problem = problem_with(field, parameter.value)
            if not problem and self.locked and not field.metadata["dynamic"]:
                problem = (
                    f"'{parameter.name}' is read when the node is configured: "
                    "deactivate and clean up the node first (ros2 lifecycle set)"
                )
            if problem:
                return SetParametersResult(successful=False, reason=problem)
        self._values.update((parameter.name, parameter.value) for parameter in ours)
        return SetParametersResult(successful=True)


def names_of(*kinds: type) -> set[str]:
    """The parameters that a node with these settings dataclasses has."""
    return {field.name for kind in kinds for field in dataclasses.fields(kind)}


def _declare(node: Node, field: dataclasses.Field) -> Any:
    """Declare the parameter of one field, or describe it if an override has declared it; its value."""
    if not node.has_parameter(field.name):
        return node.declare_parameter(field.name, field.default, _descriptor(field)).value
    value = node.get_parameter(field.name).value
    problem = problem_with(field, value)
    if problem:
        raise DepthRosError(f"parameter {problem}")
    node.set_descriptor(field.name, _descriptor(field))
    return value


def _descriptor(field: dataclasses.Field) -> ParameterDescriptor:
    """What `ros2 param describe` shows. Typing is dynamic so that `problem_with` words every refusal, and
    because a whole number is a fine value for a real one."""
    about = field.metadata
    unit = f" [{about['unit']}]" if about["unit"] else ""
    when = "" if about["dynamic"] else " (read when the node is configured)"
    descriptor = ParameterDescriptor(
        name=field.name, description=f"{about['text']}{unit}{when}", dynamic_typing=True
    )
    if about["choices"]:
        descriptor.additional_constraints = "one of " + ", ".join(about["choices"])
    if about["minimum"] is not None and about["maximum"] is not None:
        if isinstance(field.default, int):
            descriptor.integer_range = [IntegerRange(from_value=about["minimum"], to_value=about["maximum"])]
        else:
            low, high = float(about["minimum"]), float(about["maximum"])
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor
