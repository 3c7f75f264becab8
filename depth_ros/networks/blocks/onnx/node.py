"""A node of an ONNX graph, whose function in torch is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from depth_ros.errors import DepthRosError

Function = Callable[..., "Tensor | Sequence[Tensor]"]
"""From tensors to tensors."""

DTYPES = {
    "float16": torch.float32,
    "bfloat16": torch.float32,
    "double": torch.float32,
    "float": torch.float32,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
"""Types of ONNX in torch. All floating types are float32: precision is the choice of the engine."""


@dataclass
class Node:
    """A node whose function is made.

    present: for every input whether it is there; optional ones may be left out. constants: their values where they are
    constant. outputs: number of results. read: positions of the inputs that the function does not need any more.
    """

    op: str
    attributes: dict[str, Any]
    present: list[bool]
    constants: list[Tensor | None]
    outputs: int
    opset: int
    read: set[int] = field(default_factory=set)

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def has(self, position: int) -> bool:
        """Whether there is an input at this position."""
        return position < len(self.present) and self.present[position]

    def values(self, position: int, attribute: str = "", default: Any = None) -> Any:
        """The constant input at this position as numbers, else the attribute. Raises DepthRosError if it is computed
        from the image."""
        if self.has(position):
            constant = self.constants[position]
            if constant is None:
                raise DepthRosError(
                    f"operator {self.op}: input {position} depends on the content of the image, but it decides the "
                    "shape of the result: export the graph with a fixed size, or simplify it (onnxsim)"
                )
            self.read.add(position)
            return constant.tolist()
        return self.get(attribute, default) if attribute else default

    def axes(self) -> list[int] | None:
        """The second input, or the attribute `axes`."""
        axes = self.values(1, "axes")
        return [axes] if isinstance(axes, int) else axes
