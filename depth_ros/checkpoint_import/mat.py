"""Weights in a .mat file of MatConvNet: FCRN's models as their authors released them (BSD-2-Clause).

A `DagNN` is stored as a list of layers, each with the names of what goes in, what comes out and its parameters, and a
list of parameters. The names of the encoder's layers are those of Caffe's ResNet-50. The decoder is followed from
layer to layer, because nobody promised what its layers are called. Optional: pip install scipy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from depth_ros.errors import DepthRosError
from depth_ros.networks.fcrn import EPS, KERNELS

LETTERS = {(3 - rows, 3 - columns): name for name, (rows, columns) in KERNELS.items()}
"""Height and width of an interleaved kernel -> its name."""
ENCODER = ("conv1", "bn_conv1", "res", "bn")
"""How the names of the encoder's layers begin."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer. kind: "dagnn.Conv", ...; sources, result: names of maps; parameters: (h, w, in, out)
    kernel and bias of a convolution, or factor, offset and moments of a norm; pad: rows and columns of zeros
    before and after, or ()."""

    name: str
    kind: str
    sources: tuple[str, ...]
    result: str
    parameters: tuple[np.ndarray, ...]
    pad: tuple[int, ...] = ()


class Graph:
    """Layers, and the maps between them: which layer made one, which take it."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        self.layers = list(layers)
        self.made = {layer.result: layer for layer in self.layers}
        self.taken: dict[str, list[Layer]] = {}
        for layer in self.layers:
            for source in layer.sources:
                self.taken.setdefault(source, []).append(layer)

    def after(self, layer: Layer) -> Layer:
        """The only or first layer that takes what `layer` makes."""
        return self.taken[layer.result][0]


def read_mat(file: Path) -> dict[str, Tensor]:
    """{"layer/part": tensor} under the names that the released TensorFlow weights have, (h, w, in, out).

    "layer2x_br1_ConvB/pad" has the zeros (rows before, after, columns before, after) about an interleaved kernel.
    Raises DepthRosError if it is no .mat file, or no network of up-projections.
    """
    graph = Graph(read_layers(file))
    found: dict[str, Tensor] = {}
    try:
        for layer in graph.layers:
            if layer.name.startswith(ENCODER) and layer.parameters:
                found |= _variables(layer.name, layer)
        for name, layer in decoder(graph):
            found |= _variables(name, layer)
    except (StopIteration, RuntimeError, IndexError, KeyError, ValueError) as error:
        raise DepthRosError(f"{file} holds no network with FCRN's up-projections ({error!r})") from error
    return found


def read_layers(file: Path) -> Iterator[Layer]:
    """The layers of a stored DagNN, in the order of the file; one that was saved within a variable too."""
    try:
        from scipy.io.matlab import MatReadError, loadmat
    except ImportError as error:
        raise DepthRosError("reading .mat files needs another package: pip install scipy") from error
    try:
        content = loadmat(file)
        content = content if "layers" in content else content["net"][0, 0]
        values = {_text(entry["name"]): entry["value"] for entry in content["params"].flat}
        stored = list(content["layers"].flat)
    except NotImplementedError as error:
        raise DepthRosError(f"{file} is of MATLAB 7.3: load and save it there with '-v7'") from error
    except (MatReadError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DepthRosError(f"{file} holds no network of MatConvNet (layers and params): {error}") from error
    for entry in stored:
        block, kind = entry["block"], _text(entry["type"])
        pad = block[0, 0]["pad"].flatten() if kind == "dagnn.Conv" and block.size else ()
        names = _texts(entry["params"])
        yield Layer(
            _text(entry["name"]), kind, _texts(entry["inputs"]), _texts(entry["outputs"])[0],
            tuple(_whole(values[name]) for name in names), tuple(int(side) for side in pad),
        )  # fmt: skip


def _whole(array: np.ndarray) -> np.ndarray:
    """MATLAB drops the last axis of a kernel for one channel."""
    return array[..., None] if array.ndim == 3 else array


def _text(cell: np.ndarray) -> str:
    return str(cell.flat[0])


def _texts(cells: np.ndarray) -> tuple[str, ...]:
    """The texts of a cell array, or the one of a plain string."""
    return tuple(_text(np.atleast_1d(cell)) for cell in cells.flat)


def decoder(graph: Graph) -> Iterator[tuple[str, Layer]]:
    """The layers behind the encoder under their released names.

    Four convolutions of one map, told by the sizes of their kernels, and a Combine are an up-convolution; a norm
    follows. Two take the same map: the first goes through ReLU, a 3x3 convolution and its norm to the Sum of both.
    """
    layer = graph.made[next(name for name, takers in graph.taken.items() if len(takers) == 8)]
    yield "layer1", graph.made[layer.sources[0]]
    yield "layer1_BN", layer
    for level in ("2x", "4x", "8x", "16x"):
        for conv in graph.taken[layer.result]:
            norm = graph.after(graph.after(conv))
            branch = 2 if graph.after(norm).kind == "dagnn.Sum" else 1
            letter = LETTERS[conv.parameters[0].shape[:2]]
            yield f"layer{level}_br{branch}_Conv{letter}", conv
            if letter != "A":
                continue
            yield f"layer{level}_br{branch}_BN", norm
            if branch == 1:
                inner = graph.after(graph.after(norm))
                yield f"layer{level}_Conv", inner
                yield f"layer{level}_BN", graph.after(inner)
            else:
                total = graph.after(norm)
        layer = graph.after(total)
    while layer.kind != "dagnn.Conv":  # there may be dropout
        layer = graph.after(layer)
    yield "ConvPred", layer


def _variables(name: str, layer: Layer) -> dict[str, Tensor]:
    """What a layer holds, under TensorFlow's names. Moments are mean and sqrt(variance + epsilon)."""
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
