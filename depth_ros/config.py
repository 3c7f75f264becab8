"""Settings: frozen dataclasses whose fields declare default, description, unit and range in one place.

`setting(...)` declares a field; `settings_from(cls, mapping)` creates an instance from YAML, the command line or ROS
parameters and rejects unknown keys and invalid values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from depth_ros.errors import DepthRosError

T = TypeVar("T")


def setting(
    default: Any,
    text: str,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    dynamic: bool = False,
) -> Any:
    """A dataclass field with description, unit and allowed values. dynamic: may change at run time."""
    metadata = {
        "text": text,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "dynamic": dynamic,
    }
    if isinstance(default, list):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def value_problem(field: dataclasses.Field, value: Any) -> str:
    """Why `value` is not allowed for `field`, with value, range and unit; empty if it is allowed."""
    factory = field.default_factory
    kind = type(field.default) if factory is dataclasses.MISSING else type(factory())
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        return f"'{field.name}' is {value!r}; it must be of type {kind.__name__}"
    choices = field.metadata["choices"]
    if choices and value not in choices:
        return f"'{field.name}' is {value!r}; allowed: {', '.join(map(repr, choices))}"
    low, high = field.metadata["minimum"], field.metadata["maximum"]
    unit = f" {field.metadata['unit']}" if field.metadata["unit"] else ""
    inside = (low is None or value >= low) and (high is None or value <= high)  # False for NaN
    if not inside:
        bounds = " and ".join(
            part
            for part in (
                f"at least {low}{unit}" if low is not None else "",
                f"at most {high}{unit}" if high is not None else "",
            )
            if part
        )
        return f"'{field.name}' is {value}{unit}; it must be {bounds}"
    return ""


def settings_from(cls: type[T], mapping: Mapping[str, Any], source: str) -> T:
    """An instance of the settings dataclass `cls` from `mapping`. source: where it comes from, for error messages.

    Raises DepthRosError for an unknown key or a value that is not allowed.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(mapping) - set(fields))
    if unknown:
        raise DepthRosError(f"{source}: unknown key '{unknown[0]}'; allowed keys: {', '.join(fields)}")
    for name, value in mapping.items():
        problem = value_problem(fields[name], value) if fields[name].metadata else ""
        if problem:
            raise DepthRosError(f"{source}: {problem}")
    return cls(**{k: float(v) if isinstance(fields[k].default, float) else v for k, v in mapping.items()})
