"""A graph of ONNX operators as a module of torch.

A stored graph is JSON: {"opset", "inputs": [{"name", "shape"}], "outputs": [name], "nodes": [{"op", "inputs",
"outputs", "attributes"}], "constants": {name: {"dtype", "shape", "values"}}, "weights": {name: {"key", "dtype",
"shape"}}}. Weights are tensors of the model's safetensors file. No protobuf is needed to run it, and no code of the
file is run.

Graphs compute with shapes as with images. For every size of the inputs, all that does not depend on their content is
computed once (`Graph.steps`), and what remains are operators of fixed shapes, which every compiler takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks.onnx.node import DTYPES, Node
from depth_ros.networks.blocks.onnx.operators import OPERATORS

SHAPE_OPERATORS = ("Shape", "Size")


@dataclass(frozen=True)
class Step:
    """One operator of fixed shapes. arguments: names of values; "" where an optional one is left out. released: values
    that no later step needs."""

    function: Callable
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    released: tuple[str, ...] = ()


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
        self._steps: dict[tuple, list[Step]] = {}

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the floating tensors."""
        return next((p.dtype for p in self.parameters()), torch.float32)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs of the graph. The first call with inputs of new shapes must not be a trace of torch.export."""
        dtype = self.dtype
        steps = self.steps(*(tuple(x.shape) for x in inputs))
        values: dict[str, Tensor] = {name: getattr(self, key) for name, key in self.keys.items()}
        for each, value in zip(self.content["inputs"], inputs, strict=True):
            values[each["name"]] = value.to(dtype) if value.is_floating_point() else value
        for step in steps:
            found = step.function(*(values[name] if name else None for name in step.arguments))
            for name, value in zip(step.results, found if isinstance(found, (tuple, list)) else (found,)):
                values[name] = value.to(dtype) if value.is_floating_point() else value
            for name in step.released:
                del values[name]
        return tuple(values[name] for name in self.output_names)

    def steps(self, *shapes: tuple[int, ...]) -> list[Step]:
        """The operators for inputs of these shapes. Raises DepthRosError naming an operator that is not supported."""
        if shapes not in self._steps:
            if torch.compiler.is_compiling():
                raise DepthRosError("a graph has to be run once before it is exported")
            with torch.device("cpu"), torch.inference_mode(False), torch.no_grad():
                folding = Folding(self, shapes)
                self._steps[shapes] = _without_unused(folding.steps, self.output_names)
                self._keep(folding.constants, self._steps[shapes])
        return self._steps[shapes]

    def _keep(self, constants: dict[str, Tensor], steps: list[Step]) -> None:
        """Make buffers of the constants that the steps use, which move to other devices with the module."""
        device = next((p.device for p in self.parameters()), torch.device("cpu"))
        for name in sorted({name for step in steps for name in step.arguments} & set(constants)):
            key = f"constant_{len(self.keys)}"
            self.register_buffer(key, constants[name].to(device), persistent=False)
            self.keys[name] = key


class Folding:
    """Computes all of a graph that does not depend on the content of its inputs, for inputs of these shapes.

    values: constants as they are, everything else as tensors without content (device meta). constants: those that steps
    use, by another name, since they differ between sizes.
    """

    def __init__(self, graph: Graph, shapes: tuple[tuple[int, ...], ...]) -> None:
        content = graph.content
        self.opset, self.steps, self.alias = content["opset"], list[Step](), dict[str, str]()
        self.values: dict[str, Tensor] = {}
        self.constants: dict[str, Tensor] = {}
        self.suffix = f"@{len(graph._steps)}"
        for name, constant in content["constants"].items():
            value = torch.tensor(constant["values"], dtype=DTYPES[constant["dtype"]])
            self.values[name] = value.reshape(constant["shape"])
        for name, weight in content["weights"].items():
            self.values[name] = torch.empty(weight["shape"], dtype=DTYPES[weight["dtype"]], device="meta")
        for each, shape in zip(content["inputs"], shapes, strict=True):
            self.values[each["name"]] = torch.empty(shape, device="meta")
        self._add(content["nodes"])
        for name in graph.output_names:  # the output of an If, or one that is constant
            if name in self.alias or not self.values[name].is_meta:
                self.steps.append(Step(_same, (self._argument(name),), (name,)))

    def _add(self, nodes: list[dict[str, Any]]) -> None:
        for node in nodes:
            if node["op"] == "If":
                self._branch(node)
                continue
            try:
                self._add_node(node)
            except DepthRosError as error:
                raise DepthRosError(f"{error} (node with result '{node['outputs'][0]}')") from error
            except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError, KeyError) as error:
                text = str(error).splitlines()[0]
                raise DepthRosError(
                    f"operator {node['op']} (node with result '{node['outputs'][0]}') cannot be converted: {text}"
                ) from error

    def _branch(self, node: dict[str, Any]) -> None:
        """The nodes of the branch of an If whose condition is constant."""
        condition = self.values[node["inputs"][0]]
        if condition.is_meta:
            raise DepthRosError(
                "operator If depends on the content of the image: simplify the graph (onnxsim)"
            )
        branch = node["attributes"]["then_branch" if bool(condition) else "else_branch"]
        self._add(branch["nodes"])
        for name, inner in zip(node["outputs"], branch["outputs"]):
            self.alias[name], self.values[name] = self.alias.get(inner, inner), self.values[inner]

    def _add_node(self, node: dict[str, Any]) -> None:
        make = OPERATORS.get(node["op"])
        if make is None:
            raise DepthRosError(f"operator {node['op']} is not supported")
        inputs = [self.values[name] if name else None for name in node["inputs"]]
        constants = [None if value is None or value.is_meta else value for value in inputs]
        present = [value is not None for value in inputs]
        described = Node(node["op"], node["attributes"], present, constants, len(node["outputs"]), self.opset)
        function = make(described)
        is_constant = node["op"] in SHAPE_OPERATORS or all(v is None or not v.is_meta for v in inputs)
        arguments = [None if i in described.read else value for i, value in enumerate(inputs)]
        if not is_constant:
            arguments = [None if value is None else value.to("meta") for value in arguments]
        found = function(*arguments)
        results = dict(zip(node["outputs"], found if isinstance(found, (tuple, list)) else (found,)))
        self.values.update(results)
        if not is_constant:
            names = ("" if i in described.read else name for i, name in enumerate(node["inputs"]))
            given = tuple(self._argument(name) if name else "" for name in names)
            self.steps.append(Step(function, given, tuple(results)))

    def _argument(self, name: str) -> str:
        """The name under which the steps find a value."""
        if self.values[name].is_meta:
            return self.alias.get(name, name)
        self.constants[name + self.suffix] = self.values[name]
        return name + self.suffix


def _same(x: Tensor) -> Tensor:
    return x


def _without_unused(steps: list[Step], outputs: list[str]) -> list[Step]:
    """The steps that the outputs depend on, each with the values that are released after it."""
    needed, kept = set(outputs), list[Step]()
    for step in reversed(steps):
        if not needed.intersection(step.results):
            continue
        names = set(step.arguments) - {""}
        last = (names | set(step.results)) - needed
        needed |= names
        kept.append(Step(step.function, step.arguments, step.results, tuple(sorted(last))))
    return kept[::-1]
