"""Weights in a .mat file of MatConvNet: FCRN's models as their authors released them (BSD-2-Clause).

A `DagNN` is stored as a list of layers, each with the names of its inputs, outputs and parameters, and a list of
parameters. The names of the encoder's layers are those of Caffe's ResNet-50. The decoder is traversed from layer to
layer, since the names of its layers are not documented. Needs an optional package: pip install scipy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks.up_projection import EPS, KERNELS

KERNEL_NAMES = {(3 - rows, 3 - columns): name for name, (rows, columns) in KERNELS.items()}
"""Height and width of an interleaved kernel -> its name."""
ENCODER = ("conv1", "bn_conv1", "res", "bn")
"""Prefixes of the names of the encoder's layers."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer.

    kind: "dagnn.Conv", ... sources, result: names of the feature maps that it reads and writes. parameters: kernel
    (h, w, in, out) and bias of a convolution, or factor, offset and moments of a batch norm. pad: rows of zeros before
    and after, columns of zeros before and after, or ().
    """

    name: str
    kind: str
    sources: tuple[str, ...]
    result: str
    parameters: tuple[np.ndarray, ...]
    pad: tuple[int, ...] = ()


class Graph:
    """The layers of a network, and for every feature map the layer that writes it and those that read it."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        self.layers = list(layers)
        self.writer = {layer.result: layer for layer in self.layers}
        self.readers: dict[str, list[Layer]] = {}
        for layer in self.layers:
            for source in layer.sources:
                self.readers.setdefault(source, []).append(layer)

    def after(self, layer: Layer) -> Layer:
        """The first (or only) layer that reads the result of `layer`."""
        return self.readers[layer.result][0]


def read_mat(file: Path) -> dict[str, Tensor]:
    """{"layer/part": tensor} under the names of the released TensorFlow weights; kernels are (h, w, in, out).

    "layer2x_br1_ConvB/pad" is the padding of an interleaved kernel: zeros before and after the rows, before and after
    the columns. Raises DepthRosError if the file is not a .mat file or contains no network with up-projections.
    """
    graph = Graph(read_layers(file))
    variables: dict[str, Tensor] = {}
    try:
        for layer in graph.layers:
            if layer.name.startswith(ENCODER) and layer.parameters:
                variables |= _variables(layer.name, layer)
        for name, layer in decoder(graph):
            variables |= _variables(name, layer)
    except (StopIteration, RuntimeError, IndexError, KeyError, ValueError) as error:
        raise DepthRosError(f"{file} contains no network with FCRN's up-projections ({error!r})") from error
    return variables


def read_layers(file: Path) -> Iterator[Layer]:
    """The layers of a stored DagNN, in the order of the file. The DagNN may be in a variable `net`."""
    try:
        from scipy.io.matlab import MatReadError, loadmat
    except ImportError as error:
        raise DepthRosError("reading .mat files needs scipy: pip install scipy") from error
    try:
        content = loadmat(file)
        content = content if "layers" in content else content["net"][0, 0]
        values = {_text(entry["name"]): entry["value"] for entry in content["params"].flat}
        stored = list(content["layers"].flat)
    except NotImplementedError as error:
        raise DepthRosError(
            f"{file} is in the format of MATLAB 7.3, which is not supported: save it in MATLAB with '-v7'"
        ) from error
    except (MatReadError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DepthRosError(
            f"{file} contains no network of MatConvNet (layers and params): {error}"
        ) from error
    for entry in stored:
        block, kind = entry["block"], _text(entry["type"])
        pad = block[0, 0]["pad"].flatten() if kind == "dagnn.Conv" and block.size else ()
        names = _texts(entry["params"])
        yield Layer(
            _text(entry["name"]), kind, _texts(entry["inputs"]), _texts(entry["outputs"])[0],
            tuple(_with_output_axis(values[name]) for name in names), tuple(int(side) for side in pad),
        )  # fmt: skip


def _with_output_axis(array: np.ndarray) -> np.ndarray:
    """A kernel with four axes: MATLAB drops the last one if there is one output channel."""
    return array[..., None] if array.ndim == 3 else array


def _text(cell: np.ndarray) -> str:
    return str(cell.flat[0])


def _texts(cells: np.ndarray) -> tuple[str, ...]:
    """The strings of a cell array, or of a plain string."""
    return tuple(_text(np.atleast_1d(cell)) for cell in cells.flat)


def decoder(graph: Graph) -> Iterator[tuple[str, Layer]]:
    """The layers of the decoder and their names in the released TensorFlow weights.

    An up-convolution consists of four convolutions of one map, identified by the sizes of their kernels, and a
    Combine; a batch norm follows. Two up-convolutions read the same map: the first is followed by ReLU, a 3x3
    convolution and its batch norm, and by the Sum of both.
    """
    layer = graph.writer[next(name for name, readers in graph.readers.items() if len(readers) == 8)]
    yield "layer1", graph.writer[layer.sources[0]]
    yield "layer1_BN", layer
    for level in ("2x", "4x", "8x", "16x"):
        for conv in graph.readers[layer.result]:
            norm = graph.after(graph.after(conv))
            branch = 2 if graph.after(norm).kind == "dagnn.Sum" else 1
            kernel = KERNEL_NAMES[conv.parameters[0].shape[:2]]
            yield f"layer{level}_br{branch}_Conv{kernel}", conv
            if kernel != "A":
                continue
            yield f"layer{level}_br{branch}_BN", norm
            if branch == 1:
                inner = graph.after(graph.after(norm))
                yield f"layer{level}_Conv", inner
                yield f"layer{level}_BN", graph.after(inner)
            else:
                total = graph.after(norm)
        layer = graph.after(total)
    while layer.kind != "dagnn.Conv":  # dropout may come first
        layer = graph.after(layer)
    yield "ConvPred", layer


def _variables(name: str, layer: Layer) -> dict[str, Tensor]:
    """The parameters of a layer under TensorFlow's names. Its moments are mean and sqrt(variance + epsilon)."""
    if layer.kind == "dagnn.BatchNorm":
        factor, offset, moments = layer.parameters
        mean, deviation = moments.reshape(-1, 2).astype(np.float64).T
        arrays = {
            "scale": factor.ravel(),
            "offset": offset.ravel(),
            "mean": mean,
            "variance": deviation**2 - EPS,
        }
    else:
        arrays = {"weights": layer.parameters[0]}
        if len(layer.parameters) > 1:
            arrays["biases"] = layer.parameters[1].ravel()
        if len(layer.pad) == 4 and layer.pad[::2] != layer.pad[1::2]:
            arrays["pad"] = np.array(layer.pad)
    return {f"{name}/{part}": torch.from_numpy(np.array(array, np.float32)) for part, array in arrays.items()}
