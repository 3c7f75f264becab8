"""Description of what a published network takes and returns as an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from depth_ros.errors import DepthRosError


@dataclass(frozen=True)
class Preset:
    """What a published network takes and returns.

    inputs, outputs: {name in the graph: meaning}, in its order; meanings as in `networks.onnx.Settings`. Where the
    names differ, the order counts. values: inputs that always have the same value. settings: of family onnx. size:
    width and height, px, of graphs without a size of their own. source: where the network, or the code that exports it,
    is. unverified: what was not compared with the published weights; empty if nothing.
    """

    task: str
    description: str
    source: str
    licence: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    scale: str = "metric"
    size: tuple[int, int] = (640, 480)
    fit: str = "aspect"
    settings: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    training_data: tuple[str, ...] = ("not stated: see the source of the weights",)
    unverified: str = "the published weights: only graphs with its inputs and outputs were imported"


def meanings(names: list[str], given: Mapping[str, str], kind: str, source: str) -> list[str]:
    """The meaning of each name of a graph. Raises DepthRosError where they are not those of the preset.

    kind: "inputs" or "outputs", source: of the meanings, both for the error. Outputs that the preset does not name are
    not used.
    """
    if all(name in given for name in names):
        return [given[name] for name in names]
    if kind == "outputs" and all(name in names for name in given):
        return [given.get(name, "") for name in names]
    if len(names) == len(given):
        return list(given.values())
    raise DepthRosError(
        f"the graph has the {kind} {', '.join(names)}, but {source} expects {', '.join(given)}: give the meaning of "
        f"each, in order, with --set {kind}=..."
    )
