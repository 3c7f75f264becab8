"""A graph of ONNX operators as a module of torch.

A stored graph is JSON: {"opset", "inputs": [{"name", "shape"}], "outputs": [name], "nodes": [{"op", "inputs",
"outputs", "attributes"}], "constants": {name: {"dtype", "shape", "values"}}, "weights": {name: {"key", "dtype",
"shape"}}}. Weights are tensors of the model's safetensors file. No protobuf is needed to run it, and no code of the
file is run.

Graphs compute with shapes as with images. For every size of the inputs, all that does not depend on their content is
computed once (`folding`), and what remains are operators of fixed shapes, which every compiler takes.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor, nn

from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks.onnx.folding import Folding, Step
from depth_ros.networks.blocks.onnx.node import DTYPES


class Graph(nn.Module):
    """The graph of a JSON text; see above. Floating tensors have the precision of the parameters."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.content: dict[str, Any] = json.loads(text)
        self.input_shapes = [each["shape"] for each in self.content["inputs"]]
        self.output_names: list[str] = self.content["outputs"]
        self.keys = {name: weight["key"] for name, weight in self.content["weights"].items()}
        for weight in self.content["weights"].values():
            value = torch.zeros(weight["shape"], dtype=DTYPES[weight["dtype"]])
            if value.is_floating_point():
                self.register_parameter(weight["key"], nn.Parameter(value, requires_grad=False))
            else:
                self.register_buffer(weight["key"], value)
        self._programs: dict[tuple, tuple[list[Step], list[str]]] = {}

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the floating tensors."""
        return next((p.dtype for p in self.parameters()), torch.float32)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs of the graph. The first call with inputs of new shapes must not be a trace of torch.export."""
        dtype = self.dtype
        steps, outputs = self.program(*(tuple(x.shape) for x in inputs))
        values: dict[str, Tensor] = {name: getattr(self, key) for name, key in self.keys.items()}
        for each, value in zip(self.content["inputs"], inputs, strict=True):
            values[each["name"]] = value.to(dtype) if value.is_floating_point() else value
        for step in steps:
            found = step.function(*(values[name] if name else None for name in step.arguments))
            for name, value in zip(step.results, found if isinstance(found, (tuple, list)) else (found,)):
                values[name] = value.to(dtype) if value.is_floating_point() else value
            for name in step.released:
                del values[name]
        return tuple(values[name] for name in outputs)

    def program(self, *shapes: tuple[int, ...]) -> tuple[list[Step], list[str]]:
        """The operators for inputs of these shapes, and the names of the tensors that are the outputs. Raises
        DepthRosError naming an operator that is not supported."""
        if shapes not in self._programs:
            if torch.compiler.is_compiling():
                raise DepthRosError("a graph has to be run once before it is exported")
            with torch.device("cpu"), torch.inference_mode(False), torch.no_grad():
                weights = {name: getattr(self, self.keys[name]).cpu() for name in self.content["weights"]}
                integers = {name: value for name, value in weights.items() if not value.is_floating_point()}
                folding = Folding(self.content, shapes, integers, f"@{len(self._programs)}")
                self._programs[shapes] = folding.steps, folding.outputs
                self._keep(folding)
        return self._programs[shapes]

    def _keep(self, folding: Folding) -> None:
        """Make buffers of the constants that the steps use, which move to other devices with the module."""
        device = next((p.device for p in self.parameters()), torch.device("cpu"))
        used = {name for step in folding.steps for name in step.arguments} | set(folding.outputs)
        for name in sorted(used & set(folding.constants)):
            key = f"constant_{len(self.keys)}"
            self.register_buffer(key, folding.constants[name].to(device), persistent=False)
            self.keys[name] = key
