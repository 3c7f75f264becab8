"""Forwarding of results between the nodes of one process, without messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

from depth_ros.datatypes import Depth, Odometry
from depth_ros.estimators.odometry.scale import Scale

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class DepthSource(Enum):
    """Where a node takes its depth images from."""

    TOPICS = "topics"
    UPSTREAM_NODE = "a node of the same process"


@dataclass(frozen=True)
class DepthWithOdometry:
    """A frame in metres with its odometry."""

    depth: Depth
    odometry: Odometry


class ScaleSource(Protocol):
    """A node that estimates the scale of up-to-scale depth."""

    @property
    def scale(self) -> Scale | None:
        """Metres per unit of depth; None while it is unknown. Read in the worker thread."""
        ...


class Downstream(Protocol[T_contra]):
    """A node that works on the results of another node of its process."""

    def is_needed(self) -> bool:
        """Whether the node would use a result now."""
        ...

    def take(self, result: T_contra) -> None:
        """Process one result; called in the worker thread. Arrays are shared and must not be modified."""
        ...

    def restart(self) -> None:
        """Do not compare later results with earlier ones; called in the worker thread."""
        ...


def restart(downstream: Iterable[Downstream[T]]) -> None:
    """Tell the nodes that later results come from another model."""
    for node in downstream:
        node.restart()


def is_needed(downstream: Iterable[Downstream[T]]) -> bool:
    """Whether one of the nodes would use a result now."""
    return any(node.is_needed() for node in downstream)


def forward_to(downstream: Iterable[Downstream[T]], result: T) -> None:
    """Pass a result to the nodes that would use it now."""
    for node in downstream:
        if node.is_needed():
            node.take(result)
