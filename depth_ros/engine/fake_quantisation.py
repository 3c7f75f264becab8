"""Fake quantisation of the convolutions in an exported program (Jacob et al., CVPR 2018).

Activations have one step a tensor and are quantised where they are computed, so that all consumers share them; kernels
have one step an output channel. A compiler converts the operators to integers.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

RANGE_MARGIN = 1.25
"""Factor on the range observed on the examples: other images have larger values."""

aten = torch.ops.aten
CONVOLUTIONS = {aten.conv2d.default, aten.convolution.default}
PER_TENSOR, PER_CHANNEL = (
    aten.fake_quantize_per_tensor_affine.default,
    aten.fake_quantize_per_channel_affine.default,
)
MOVING = {aten.cat.default, aten.upsample_nearest2d.vec, aten.pixel_shuffle.default}
"""Operators that only rearrange values: int8 passes through them."""


torch.library.define(
    "depth_ros::quantised",
    "(Tensor x, float[] steps) -> Tensor",
    tags=(torch.Tag.nondeterministic_seeded,),  # keeps compilers from folding it into constant kernels
)


@torch.library.impl("depth_ros::quantised", "CompositeExplicitAutograd")
def quantised_like_tensorrt(x: Tensor, steps: list[float]) -> Tensor:
    """Fake quantisation to -128 to 127 steps in float32: one step for `x`, or one for each x[i]."""
    step = torch.tensor(steps, device=x.device).reshape(-1, *[1] * (x.dim() - 1))
    return ((x / step).round().clamp(-128, 127) * step).to(x.dtype)


@torch.library.register_fake("depth_ros::quantised")
def _like(x: Tensor, steps: list[float]) -> Tensor:
    return torch.empty_like(x)


QUANTISED = torch.ops.depth_ros.quantised.default


@dataclass(frozen=True)
class Integers:
    """The 8-bit integers that a compiler takes for activations. symmetric: signed, and 0 stands for 0.0."""

    symmetric: bool

    def for_values(self, low: float, high: float, factor: float) -> tuple[Callable, tuple]:
        """Operator that quantises values from `low` to `high`, scaled by `factor`, and its arguments behind them."""
        step = max((high - low) / (254 if self.symmetric else 255), 1e-9)
        if self.symmetric:
            return QUANTISED, ([step / factor],)
        return PER_TENSOR, (step / factor, round(-low / step), 0, 255)


UNSIGNED = Integers(symmetric=False)
"""For CPUs, with torch's operators. Results of ReLU have one bit more than in `SIGNED`."""
SIGNED = Integers(symmetric=True)
"""For TensorRT, with `depth_ros::quantised`, which its backend converts."""


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


class Observer(fx.Interpreter):
    """Runs a program on examples and records the value ranges of its feature maps (B, C, H, W)."""

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
            margin = 1.0 if n.target == aten.hardtanh.default else RANGE_MARGIN
            low, high = (margin * float(limit) for limit in result.aminmax())
            new = ValueRange(min(0.0, low), max(0.0, high), result.float().mean((0, 2, 3)))
            self.ranges[n.name] = self.ranges.get(n.name, new).merged(new, self.count)
        return result


def convolutions(program: fx.GraphModule) -> list[fx.Node]:
    """The 2-D convolutions with constant kernels."""
    calls = [node for node in program.graph.nodes if node.target in CONVOLUTIONS]
    return [node for node in calls if _arguments(node)[1].op == "get_attr" and node.meta["val"].dim() == 4]


def parts(node: fx.Node) -> list[tuple[fx.Node, int]]:
    """The nodes that compute the channels of `node`, in order, each with its number of channels there."""
    if not _moves_values(node):
        return [(node, node.meta["val"].shape[1])]
    moved, *options = _arguments(node)
    shrink = options[0] ** 2 if node.target == aten.pixel_shuffle.default else 1
    maps = moved if isinstance(moved, (list, tuple)) else [moved]
    return [(source, channels // shrink) for each in maps for source, channels in parts(each)]


def _moves_values(node: fx.Node) -> bool:
    """Whether a node only rearranges values within the images of a batch."""
    return node.target in MOVING and (node.target != aten.cat.default or _arguments(node)[1:] in ((1,), [1]))


def _arguments(node: fx.Node) -> Any:
    """Arguments of a call, untyped: the callers know which of them are nodes."""
    return node.args


def with_fake_quantisation(
    program: fx.GraphModule, ranges: dict[str, ValueRange], chosen: Iterable[int], integers: Integers
) -> fx.GraphModule:
    """A copy of `program` with fake quantisation of inputs and kernels of the chosen convolutions, given by index."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = fx.GraphModule(program, copy.deepcopy(program.graph))
    found = convolutions(program)
    inputs = {found[i]: parts(_arguments(found[i])[0]) for i in chosen}
    factors: dict[fx.Node, float] = {}
    for group in merged_sets({source for source, _ in sources} for sources in inputs.values()):
        factors |= _quantise_values(program.graph, group, ranges, set(inputs), integers)
    for node, sources in inputs.items():
        factor = torch.cat([torch.full((channels,), factors[source]) for source, channels in sources])
        mean = torch.cat(
            [ranges[source.name].mean.reshape(channels, -1).mean(1) for source, channels in sources]
        )
        _quantise_kernel(program, node, factor.to(mean), mean, integers)
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
    graph: fx.Graph,
    group: set[fx.Node],
    ranges: dict[str, ValueRange],
    chosen: set[fx.Node],
    integers: Integers,
) -> dict[fx.Node, float]:
    """Quantise the values of these nodes with one step for all their consumers; returns the factor of each node.

    Concatenated maps share the step. A map that is small beside the others would lose its resolution: it is scaled
    up to their range by a power of two, and the kernels that consume it are scaled down.
    """
    low, high = min(ranges[node.name].low for node in group), max(ranges[node.name].high for node in group)
    if integers.symmetric:
        low, high = -max(-low, high), max(-low, high)
    factors = {}
    for node in group:
        own = ranges[node.name]
        room = [limit / value for limit, value in ((low, own.low), (high, own.high)) if value]
        fits = _only_consumer_is(node, chosen) and room
        factors[node] = (
            2.0 ** math.floor(math.log2(min(room))) if fits else 1.0
        )  # exact, for steps to be equal
        operator, arguments = integers.for_values(low, high, factors[node])
        values = _insert_after(graph, node, operator, *arguments)
        if factors[node] != 1:
            _insert_after(graph, values, aten.mul.Tensor, factors[node])
    return factors


def _insert_after(graph: fx.Graph, node: fx.Node, operator: Callable, *arguments: Any) -> fx.Node:
    """Insert `operator` between `node` and all its consumers."""
    with graph.inserting_after(node):
        new = graph.call_function(operator, (node, *arguments))
    node.replace_all_uses_with(new, delete_user_cb=lambda reader: reader is not new)
    return new


def _only_consumer_is(node: fx.Node, chosen: set[fx.Node]) -> bool:
    """Whether the only consumer of `node` is one of these convolutions, and not a depthwise one."""
    consumers = list(node.users)
    while len(consumers) == 1 and _moves_values(consumers[0]):
        node, consumers = consumers[0], list(consumers[0].users)
    return (
        len(consumers) == 1
        and consumers[0] in chosen
        and _arguments(consumers[0])[1].meta["val"].shape[1] > 1
    )


def _quantise_kernel(
    program: fx.GraphModule, node: fx.Node, factor: Tensor, mean: Tensor, integers: Integers
) -> None:
    """Quantise the kernel of a convolution with one step an output channel.

    factor: scale factor of each input channel. mean: of each input channel before scaling; the mean error of the
    quantised kernel is corrected in the bias (Nagel et al., ICCV 2019).
    """
    x, kernel_node, *options = _arguments(node)
    bias_node = options.pop(0) if options else None
    stored = program.get_parameter(kernel_node.target).detach()
    kernel = stored.float()
    if kernel.shape[1] == len(factor):
        kernel = kernel / factor[:, None, None]
    step = kernel.abs().amax((1, 2, 3)).clamp(min=1e-8) / 127
    zero = torch.zeros(len(step), dtype=torch.int32, device=step.device)
    error = (PER_CHANNEL(kernel, step, zero, 0, -127, 127) - kernel).sum((2, 3))
    shift = error @ (factor * mean) if error.shape[1] == len(mean) else error[:, 0] * mean
    bias = -shift if bias_node is None else program.get_parameter(bias_node.target).detach().float() - shift

    def held(name: str, tensor: Tensor) -> fx.Node:
        program.register_buffer(f"{node.name}_{name}", tensor)
        return program.graph.get_attr(f"{node.name}_{name}")

    with program.graph.inserting_before(node):
        inputs = [held("kernel", kernel.to(stored))]
        if integers.symmetric:
            rounded = program.graph.call_function(QUANTISED, (*inputs, step.tolist()))
        else:
            inputs += [held("step", step), held("zero", zero)]
            rounded = program.graph.call_function(PER_CHANNEL, (*inputs, 0, -127, 127))
        node.args = (x, rounded, held("bias", bias.to(stored)), *options)
