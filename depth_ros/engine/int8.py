"""Post-training quantisation: a program whose convolutions run in int8.

Fake quantisation (Jacob et al., CVPR 2018) is written into the exported graph, for a compiler to convert to integer
arithmetic: activations with one scale a tensor, quantised where they are computed so that all consumers share them;
weights with one scale an output channel. Ranges are observed on `examples`, made from the model's stored input.

If quantising all convolutions changes the result by more than `MAX_CHANGE`, each is quantised alone, and those with
the largest effect keep their precision until the others stay within `MAX_SUMMED_CHANGE`, assuming that independent
errors add in quadrature. Usually the first convolutions are left out, on which all others depend.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from depth_ros.errors import DepthRosError

MAX_CHANGE = 0.008
"""Largest median relative change of the result with every convolution quantised; the check allows 0.01."""
MAX_SUMMED_CHANGE = 0.005
"""The same as predicted from single convolutions; those left out compute in 16 bits and add to it."""
RANGE_MARGIN = 1.25
"""Factor on the range observed on the examples: other images have larger values."""

aten = torch.ops.aten
CONVOLUTIONS = {aten.conv2d.default, aten.convolution.default}
MOVING = {aten.cat.default, aten.upsample_nearest2d.vec, aten.pixel_shuffle.default}
"""Operators that only rearrange values: int8 passes through them."""


@dataclass
class ValueRange:
    """Observed values of a node: minimum and maximum, both including zero (padding), and the mean of each channel."""

    low: float
    high: float
    mean: Tensor

    def merged(self, other: ValueRange, count: int) -> ValueRange:
        """Including one more example, the `count`-th."""
        mean = self.mean + (other.mean - self.mean) / count
        return ValueRange(min(self.low, other.low), max(self.high, other.high), mean)


def quantised(model: nn.Module, inputs: tuple[Tensor, ...]) -> fx.GraphModule:
    """`model` with quantised convolutions, as a program for inputs of these shapes only.

    Raises DepthRosError for a network that processes several images at once, such as a stereo network.
    """
    with torch.no_grad():
        program = torch.export.export(model, inputs).module()
        observer = Observer(program)
        for example in examples(inputs):
            observer.observe(example)
        expected = first(program(*inputs))

        def change_of(chosen: Iterable[int]) -> float:
            return change(expected, first(with_fake_quantisation(program, observer.ranges, chosen)(*inputs)))

        each = range(len(convolutions(program)))
        chosen = each if change_of(each) <= MAX_CHANGE else tolerable([change_of([i]) for i in each])
        return with_fake_quantisation(program, observer.ranges, chosen)


def tolerable(changes: Sequence[float]) -> list[int]:
    """Indices of the smallest `changes` whose root of the sum of squares stays within MAX_SUMMED_CHANGE."""
    chosen: list[int] = []
    square = 0.0
    for i in sorted(range(len(changes)), key=changes.__getitem__):
        square += changes[i] ** 2
        if square > MAX_SUMMED_CHANGE**2:
            break
        chosen.append(i)
    return chosen


def first(results: Tensor | tuple[Tensor, ...]) -> Tensor:
    return results if isinstance(results, Tensor) else results[0]


def change(expected: Tensor, found: Tensor) -> float:
    """Median relative difference; infinite if no value can be compared."""
    relative = ((found - expected) / expected).abs()
    valid = relative[torch.isfinite(relative)]
    return float(valid.median()) if len(valid) else math.inf


def examples(inputs: tuple[Tensor, ...]) -> Iterable[tuple[Tensor, ...]]:
    """The stored input, and variations of it: darker, brighter, low contrast, noisy, mirrored, other intrinsics.

    Images are the uint8 tensors (..., H, W, 3), intrinsics the (B, 3, 3) float32 ones.
    """
    noise = torch.Generator().manual_seed(0)

    def changed(
        gain: float, offset: float, sigma: float, centre: float, mirrored: bool
    ) -> tuple[Tensor, ...]:
        def of(x: Tensor) -> Tensor:
            if x.dtype == torch.uint8 and x.shape[-1] == 3:
                y = x.flip(-2) if mirrored else x
                y = y * gain + offset + sigma * torch.randn(x.shape, generator=noise).to(x.device)
                return y.round().clamp(0, 255).to(torch.uint8)
            if x.shape[-2:] == (3, 3):
                return x * x.new_tensor([[1.0, 1.0, centre], [1.0, 1.0, centre], [1.0, 1.0, 1.0]])
            return x

        return tuple(of(x) for x in inputs)

    yield inputs
    yield changed(0.35, 0.0, 2.0, 1.0, True)
    yield changed(1.6, 0.0, 0.0, 0.6, False)
    yield changed(0.5, 90.0, 0.0, 1.4, True)
    yield changed(1.0, 0.0, 12.0, 1.0, False)


class Observer(fx.Interpreter):
    """Runs a program on examples and records the value ranges of its feature maps (1, C, H, W)."""

    def __init__(self, program: fx.GraphModule) -> None:
        super().__init__(program)
        self.ranges: dict[str, ValueRange] = {}
        self.count = 0

    def observe(self, example: tuple[Tensor, ...]) -> None:
        self.count += 1
        self.run(*example)

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if isinstance(result, Tensor) and result.is_floating_point() and result.dim() == 4:
            if n.op == "call_function" and len(result) > 1:
                raise DepthRosError(
                    f"int8 is for networks that process one image at a time; this one processes {len(result)} at once"
                )
            margin = 1.0 if n.target == aten.hardtanh.default else RANGE_MARGIN
            low, high = (margin * float(limit) for limit in result.aminmax())
            new = ValueRange(min(0.0, low), max(0.0, high), result.mean((0, 2, 3)))
            self.ranges[n.name] = self.ranges.get(n.name, new).merged(new, self.count)
        return result


def convolutions(program: fx.GraphModule) -> list[fx.Node]:
    return [
        node for node in program.graph.nodes if node.op == "call_function" and node.target in CONVOLUTIONS
    ]


def parts(node: fx.Node) -> list[tuple[fx.Node, int]]:
    """The nodes that compute the channels of `node`, in order, each with its number of channels there."""
    if node.target not in MOVING:
        return [(node, node.meta["val"].shape[1])]
    moved, *options = _arguments(node)
    shrink = options[0] ** 2 if node.target == aten.pixel_shuffle.default else 1
    maps = moved if isinstance(moved, (list, tuple)) else [moved]
    return [(source, channels // shrink) for each in maps for source, channels in parts(each)]


def _arguments(node: fx.Node) -> Any:
    """Arguments of a call, untyped: the callers know which of them are nodes."""
    return node.args


def with_fake_quantisation(
    program: fx.GraphModule, ranges: dict[str, ValueRange], chosen: Iterable[int]
) -> fx.GraphModule:
    """A copy of `program` with fake quantisation of inputs and kernels of the chosen convolutions, given by index."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = fx.GraphModule(program, copy.deepcopy(program.graph))
    found = convolutions(program)
    inputs = {found[i]: parts(_arguments(found[i])[0]) for i in chosen}
    factors: dict[fx.Node, float] = {}
    for group in merged_sets({source for source, _ in sources} for sources in inputs.values()):
        factors |= _quantise_values(program.graph, group, ranges, set(inputs))
    for node, sources in inputs.items():
        factor = torch.cat([torch.full((channels,), factors[source]) for source, channels in sources])
        mean = torch.cat(
            [ranges[source.name].mean.reshape(channels, -1).mean(1) for source, channels in sources]
        )
        _quantise_kernel(program, node, factor.to(mean), mean)
    program.recompile()
    return program


def merged_sets(sets: Iterable[set[fx.Node]]) -> list[set[fx.Node]]:
    """The sets, with those that have common members merged."""
    merged: list[set[fx.Node]] = []
    for each in sets:
        common = [other for other in merged if other & each]
        merged = [other for other in merged if not other & each]
        merged.append(each.union(*common))
    return merged


def _quantise_values(
    graph: fx.Graph, group: set[fx.Node], ranges: dict[str, ValueRange], chosen: set[fx.Node]
) -> dict[fx.Node, float]:
    """Quantise the values of these nodes with one step for all their consumers; returns the factor of each node.

    Concatenated maps share the step. A map that is small beside the others would lose its resolution: it is scaled
    up to their range by a power of two, and the kernels that consume it are scaled down.
    """
    low, high = min(ranges[node.name].low for node in group), max(ranges[node.name].high for node in group)
    step = max((high - low) / 255, 1e-9)
    factors = {}
    for node in group:
        own = ranges[node.name]
        room = [limit / value for limit, value in ((low, own.low), (high, own.high)) if value]
        fits = _only_consumer_is(node, chosen) and room
        factors[node] = (
            2.0 ** math.floor(math.log2(min(room))) if fits else 1.0
        )  # exact, for steps to be equal
        values = _insert_after(
            graph, node, aten.fake_quantize_per_tensor_affine.default,
            step / factors[node], round(-low / step), 0, 255,
        )  # fmt: skip
        if factors[node] != 1:
            _insert_after(graph, values, aten.mul.Tensor, factors[node])
    return factors


def _insert_after(graph: fx.Graph, node: fx.Node, operator: Callable, *arguments: float) -> fx.Node:
    """Insert `operator` between `node` and all its consumers."""
    with graph.inserting_after(node):
        new = graph.call_function(operator, (node, *arguments))
    node.replace_all_uses_with(new, delete_user_cb=lambda reader: reader is not new)
    return new


def _only_consumer_is(node: fx.Node, chosen: set[fx.Node]) -> bool:
    """Whether the only consumer of `node` is one of these convolutions, and not a depthwise one."""
    consumers = list(node.users)
    while len(consumers) == 1 and consumers[0].target in MOVING:
        node, consumers = consumers[0], list(consumers[0].users)
    return (
        len(consumers) == 1
        and consumers[0] in chosen
        and _arguments(consumers[0])[1].meta["val"].shape[1] > 1
    )


def _quantise_kernel(program: fx.GraphModule, node: fx.Node, factor: Tensor, mean: Tensor) -> None:
    """Quantise the kernel of a convolution with one step an output channel.

    factor: scale factor of each input channel. mean: of each input channel before scaling; the mean error of the
    quantised kernel is corrected in the bias (Nagel et al., ICCV 2019).
    """
    _, kernel_node, bias_node, *_ = _arguments(node)
    kernel = program.get_parameter(kernel_node.target).detach()
    if kernel.shape[1] == len(factor):
        kernel = kernel / factor[:, None, None]
    step = kernel.abs().amax((1, 2, 3)).clamp(min=1e-8) / 127
    zero = torch.zeros(len(step), dtype=torch.int32, device=step.device)
    rounding = aten.fake_quantize_per_channel_affine.default
    error = (rounding(kernel, step, zero, 0, -127, 127) - kernel).sum((2, 3))
    shift = error @ (factor * mean) if error.shape[1] == len(mean) else error[:, 0] * mean
    bias = -shift if bias_node is None else program.get_parameter(bias_node.target).detach() - shift
    tensors = {"kernel": kernel, "step": step, "zero": zero, "bias": bias}
    with program.graph.inserting_before(node):
        for name, tensor in tensors.items():
            program.register_buffer(f"{node.name}_{name}", tensor)
        held = [program.graph.get_attr(f"{node.name}_{name}") for name in tensors]
        node.update_arg(1, program.graph.call_function(rounding, (*held[:3], 0, -127, 127)))
        node.update_arg(2, held[3])
