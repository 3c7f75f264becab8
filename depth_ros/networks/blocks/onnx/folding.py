"""A graph for inputs of given shapes: what does not depend on their content is computed, and what remains are steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks.onnx.calls import Call, Tensors
from depth_ros.networks.blocks.onnx.node import DTYPES, Function, Node
from depth_ros.networks.blocks.onnx.operators import OPERATORS
from depth_ros.networks.blocks.onnx.placing import PLACING
from depth_ros.networks.blocks.onnx.view import Arrangement, Group, View

SHAPE_OPERATORS = ("Shape", "Size")


@dataclass(frozen=True)
class Step:
    """One operator of fixed shapes. arguments: names of tensors; "" where an optional one is left out. released:
    tensors that no later step needs."""

    function: Callable
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    released: tuple[str, ...] = ()


class Folding(Tensors):
    """Computes all of a graph that does not depend on the content of its inputs, for inputs of these shapes.

    content: see `graph`. weights: integers among them, by name; indices are computed from them. suffix: of the names of
    constants, which differ between shapes. values: constants as they are, everything else as tensors without content
    (device meta). views: how the latter are stored. outputs: names of the tensors that are the results.
    """

    def __init__(
        self,
        content: dict[str, Any],
        shapes: tuple[tuple[int, ...], ...],
        weights: dict[str, Tensor],
        suffix: str,
    ) -> None:
        self.opset, self.suffix = content["opset"], suffix
        self.steps, self.views = list[Step](), dict[str, View]()
        self.values: dict[str, Tensor] = dict(weights)
        self.constants: dict[str, Tensor] = {}
        self._arranged: dict[tuple[str, Arrangement], str] = {}
        for name, constant in content["constants"].items():
            value = torch.tensor(constant["values"], dtype=DTYPES[constant["dtype"]])
            self.values[name] = value.reshape(constant["shape"])
        for name, weight in content["weights"].items():
            if name not in weights:
                self._declare(name, weight["shape"], DTYPES[weight["dtype"]])
        for each, shape in zip(content["inputs"], shapes, strict=True):
            self._declare(each["name"], shape, torch.float32)
        self._add(content["nodes"])
        self.outputs = [self.arranged(self.view(name)) for name in content["outputs"]]
        self.steps = _without_unused(self.steps, self.outputs)

    def view(self, name: str) -> View:
        """How a value is stored; a constant becomes one of the tensors of the steps."""
        if name in self.views:
            return self.views[name]
        self.constants[name + self.suffix] = self.values[name]
        return View.stored(name + self.suffix, self.values[name].shape)

    def arranged(self, view: View, groups: Sequence[Group] | None = None) -> str:
        """The tensor with these axes, without `groups` the value itself."""
        arrangement = view.arrangement(view.groups if groups is None else groups)
        if arrangement.keeps(view.shape):
            return view.name
        key = (view.name, arrangement)
        if key not in self._arranged:
            name = self._arranged[key] = f"{view.name}~{len(self._arranged)}"
            if view.name in self.constants:
                self.constants[name] = arrangement(self.constants[view.name])
            else:
                self.steps.append(Step(arrangement, (view.name,), (name,)))
        return self._arranged[key]

    def call(self, function: Function, arguments: Sequence[str], results: Sequence[str]) -> None:
        """A step."""
        self.steps.append(Step(function, tuple(arguments), tuple(results)))

    def constant(self, name: str, value: Tensor) -> View:
        """A value that a step needs besides those of the graph; `name` is unique."""
        self.values[name] = value
        return self.view(name)

    def is_constant(self, view: View) -> bool:
        """Whether a value does not depend on the inputs."""
        return view.name in self.constants

    def _declare(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> None:
        self.values[name] = torch.empty(tuple(shape), dtype=dtype, device="meta")
        self.views[name] = View.stored(name, tuple(shape))

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
            self.values[name] = self.values[inner]
            if inner in self.views:
                self.views[name] = self.views[inner]

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
        if is_constant:
            return
        views = [
            self.view(name) if name and i not in described.read else None
            for i, name in enumerate(node["inputs"])
        ]
        call = Call(described, function, views, list(results), [tuple(x.shape) for x in results.values()])
        placed = PLACING[node["op"]](self, call) if node["op"] in PLACING else None
        self.views.update(zip(results, placed or self._in_order(call)))

    def _in_order(self, call: Call) -> list[View]:
        """Views of results of an operator that needs its inputs as the graph has them."""
        self.call(call.function, [self.arranged(view) if view else "" for view in call.views], call.results)
        return [View.stored(name, shape) for name, shape in zip(call.results, call.shapes)]


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
