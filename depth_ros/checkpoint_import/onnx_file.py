"""Read an ONNX file: its graph as JSON, and its weights as tensors. See `networks.blocks.onnx.graph`.

Only data are read: files with operators of other libraries, which need their code, are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks.onnx.node import DTYPES
from depth_ros.networks.blocks.onnx.operators import OPERATORS

if TYPE_CHECKING:
    import onnx

MAX_CONSTANT = 64
"""Largest tensor that is stored in the JSON text; larger ones are weights."""
NEWEST_OPSET = 26
"""Opsets above this one may have changed the meaning of an operator."""
OWN_DOMAINS = ("", "ai.onnx")
FLOATS = ("float16", "bfloat16", "double", "float")


@dataclass
class GraphFile:
    """The content of an ONNX file. model: as read. graph: to be stored as JSON. weights: by key of the state dict."""

    model: onnx.ModelProto
    graph: dict[str, Any]
    weights: dict[str, Tensor] = field(default_factory=dict)


def read_onnx(file: Path) -> GraphFile:
    """Read an ONNX file, and the files with external data beside it.

    Raises DepthRosError if it is none, is damaged, or has operators that cannot be converted.
    """
    try:
        import onnx
    except ImportError as error:
        raise DepthRosError("importing ONNX files needs onnx: pip install onnx onnxruntime") from error
    if not file.is_file():
        raise DepthRosError(f"no file '{file}': give an ONNX file")
    try:
        model = onnx.load(str(file))
    except FileNotFoundError as error:
        raise DepthRosError(
            f"{file} has its weights in another file, which is missing ({error}): put it beside {file.name}"
        ) from error
    except Exception as error:  # protobuf raises its own kinds
        text = str(error).splitlines()[0][:200]
        raise DepthRosError(f"{file} cannot be read as an ONNX file ({text})") from error
    if not model.graph.node or not model.graph.input:
        raise DepthRosError(f"{file} is not an ONNX file of a network: it has no operators or no inputs")
    if model.functions:
        from onnx.inliner import inline_local_functions

        model = inline_local_functions(model)
    return _Reader(onnx, model, file).read()


class _Reader:
    def __init__(self, library: Any, model: onnx.ModelProto, file: Path) -> None:
        self.onnx, self.model, self.file = library, model, file
        self.weights: dict[str, Tensor] = {}
        self.constants: dict[str, Any] = {}
        self.named: dict[str, Any] = {}
        self.unknown: set[str] = set()

    def read(self) -> GraphFile:
        graph, opset = self.model.graph, self._opset()
        for tensor in graph.initializer:
            self._add_tensor(tensor.name, tensor)
        if len(graph.sparse_initializer):
            raise DepthRosError(
                f"{self.file} has sparse weights, which are not supported: export it with dense ones"
            )
        nodes = self._nodes(graph)
        if self.unknown:
            raise DepthRosError(
                f"{self.file} has operators that are not supported: {', '.join(sorted(self.unknown))}"
            )
        known = {*self.constants, *self.named}
        inputs = [
            {
                "name": each.name,
                "shape": self._shape(each),
                "dtype": self._dtype(each.type.tensor_type.elem_type),
            }
            for each in graph.input
            if each.name not in known
        ]
        content = {
            "opset": opset,
            "inputs": inputs,
            "outputs": [each.name for each in graph.output],
            "nodes": nodes,
            "constants": self.constants,
            "weights": self.named,
        }
        return GraphFile(self.model, content, self.weights)

    def _opset(self) -> int:
        opset = max(
            (each.version for each in self.model.opset_import if each.domain in OWN_DOMAINS), default=1
        )
        if not 7 <= opset <= NEWEST_OPSET:
            raise DepthRosError(
                f"{self.file} uses opset {opset}; supported are 7 to {NEWEST_OPSET}: export it with opset 17"
            )
        return opset

    def _nodes(self, graph: onnx.GraphProto) -> list[dict[str, Any]]:
        found = []
        for node in graph.node:
            attributes = {each.name: self._attribute(each) for each in node.attribute}
            if node.op_type == "Constant" and node.domain in OWN_DOMAINS:
                self._add_constant(node.output[0], node.attribute[0])
                continue
            supported = node.op_type in OPERATORS or node.op_type == "If"
            if node.domain not in OWN_DOMAINS or not supported:
                self.unknown.add(f"{node.domain}.{node.op_type}" if node.domain else node.op_type)
            if node.op_type == "ConstantOfShape":
                attributes = self._filled(node)
            outputs = list(node.output)
            while outputs and not outputs[-1]:
                outputs.pop()
            found.append(
                {"op": node.op_type, "inputs": list(node.input), "outputs": outputs, "attributes": attributes}
            )
        return found

    def _attribute(self, attribute: onnx.AttributeProto) -> Any:
        if attribute.type == self.onnx.AttributeProto.GRAPH:
            for tensor in attribute.g.initializer:
                self._add_tensor(tensor.name, tensor)
            return {"nodes": self._nodes(attribute.g), "outputs": [each.name for each in attribute.g.output]}
        if attribute.type == self.onnx.AttributeProto.TENSOR:
            return None  # of Constant and ConstantOfShape, which are read elsewhere
        value = self.onnx.helper.get_attribute_value(attribute)
        if attribute.name == "to":
            return self._dtype(value)
        if isinstance(value, bytes):
            return value.decode()
        return value if isinstance(value, (int, float)) else list(value)

    def _add_constant(self, name: str, attribute: onnx.AttributeProto) -> None:
        if attribute.name == "value":
            return self._add_tensor(name, attribute.t)
        value = np.asarray(self.onnx.helper.get_attribute_value(attribute))
        dtype = {"f": "float", "i": "int64"}[value.dtype.kind]
        return self._add(name, value.astype(np.float32 if dtype == "float" else np.int64), dtype)

    def _filled(self, node: onnx.NodeProto) -> dict[str, Any]:
        if not node.attribute:
            return {"value": 0.0, "dtype": "float"}
        tensor = node.attribute[0].t
        value = self.onnx.numpy_helper.to_array(tensor).reshape(-1)[0]
        return {"value": value.item(), "dtype": self._dtype(tensor.data_type)}

    def _add_tensor(self, name: str, tensor: onnx.TensorProto) -> None:
        self._add(name, self.onnx.numpy_helper.to_array(tensor), self._dtype(tensor.data_type))

    def _add(self, name: str, array: np.ndarray, dtype: str) -> None:
        if dtype in FLOATS:
            array = array.astype(np.float32)
        if array.size <= MAX_CONSTANT and (dtype not in FLOATS or np.isfinite(array).all()):
            self.constants[name] = {
                "dtype": dtype,
                "shape": list(array.shape),
                "values": array.reshape(-1).tolist(),
            }
            return
        key = re.sub(r"\W", "_", name) or "w"
        key = key if key not in self.weights and not key[0].isdigit() else f"w{len(self.weights)}_{key}"
        self.weights[key] = torch.from_numpy(np.array(array, order="C"))
        self.named[name] = {"key": key, "dtype": dtype, "shape": list(array.shape)}

    def _shape(self, value: onnx.ValueInfoProto) -> list[int | None]:
        dims = value.type.tensor_type.shape.dim
        return [
            each.dim_value if each.HasField("dim_value") and each.dim_value > 0 else None for each in dims
        ]

    def _dtype(self, number: int) -> str:
        name = self.onnx.TensorProto.DataType.Name(number).lower()
        if name not in DTYPES:
            raise DepthRosError(f"{self.file} has tensors of type {name}; supported are {', '.join(DTYPES)}")
        return name
