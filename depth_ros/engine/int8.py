"""8-bit integers after training: a program whose convolutions take and multiply int8.

Fake quantisation (Jacob et al., CVPR 2018) written into the exported graph, for a compiler to turn into integer
arithmetic: activations one scale a tensor, rounded where they are made so that every reader shares them; weights
one scale an output channel. Ranges are those of `examples`, made of the model's stored input.

Where all together move the result by more than `ALLOWED`, each convolution is tried alone, and those that move it
most keep their precision, until the rest stay below, as independent errors add. Mostly the first ones are left out,
on which all others rest.
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

ALLOWED = 0.008
"""Median relative change of the result with every convolution rounded; the check allows 0.01."""
SUMMED = 0.005
"""The same as it is predicted from each alone; those that are left out compute in 16 bits and add to it."""
MARGIN = 1.25
"""Times the range that the examples filled: other images have larger values."""

aten = torch.ops.aten
CONVOLUTIONS = {aten.conv2d.default, aten.convolution.default}
MOVING = {aten.cat.default, aten.upsample_nearest2d.vec, aten.pixel_shuffle.default}
"""Operators that only move values: int8 passes through them."""


@dataclass
class Seen:
    """What the values of a node were: the lowest, the highest (zero, the padding, among them), the mean of channels."""

    low: float
    high: float
    mean: Tensor

    def joined(self, other: Seen, count: int) -> Seen:
        """With one more example, the `count`-th."""
        mean = self.mean + (other.mean - self.mean) / count
        return Seen(min(self.low, other.low), max(self.high, other.high), mean)


def quantised(model: nn.Module, inputs: tuple[Tensor, ...]) -> fx.GraphModule:
    """`model` for inputs of these shapes, with rounded convolutions. The result runs on such inputs only.

    Raises DepthRosError for a network that works on several images at once, as those of pairs do.
    """
    with torch.no_grad():
        program = torch.export.export(model, inputs).module()
        observer = Observer(program)
        for example in examples(inputs):
            observer.observe(example)
        expected = first(program(*inputs))

        def changed(chosen: Iterable[int]) -> float:
            return change(expected, first(rounded(program, observer.seen, chosen)(*inputs)))

        each = range(len(convolutions(program)))
        chosen = each if changed(each) <= ALLOWED else tolerable([changed([i]) for i in each])
        return rounded(program, observer.seen, chosen)


def tolerable(changes: Sequence[float]) -> list[int]:
    """The indices of as many of the smallest `changes` as stay below SUMMED in the root of the sum of squares."""
    chosen: list[int] = []
    square = 0.0
    for i in sorted(range(len(changes)), key=changes.__getitem__):
        square += changes[i] ** 2
        if square > SUMMED**2:
            break
        chosen.append(i)
    return chosen


def first(results: Tensor | tuple[Tensor, ...]) -> Tensor:
    return results if isinstance(results, Tensor) else results[0]


def change(expected: Tensor, found: Tensor) -> float:
    """Median relative difference; infinite where nothing can be compared."""
    relative = ((found - expected) / expected).abs()
    known = relative[torch.isfinite(relative)]
    return float(known.median()) if len(known) else math.inf


def examples(inputs: tuple[Tensor, ...]) -> Iterable[tuple[Tensor, ...]]:
    """The stored input, and as a darker, a brighter, a flat and a noisy day, another view and another camera have it.

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
    """Runs a program on one example after the other and notes what its maps (1, C, H, W) were."""

    def __init__(self, program: fx.GraphModule) -> None:
        super().__init__(program)
        self.seen: dict[str, Seen] = {}
        self.count = 0

    def observe(self, example: tuple[Tensor, ...]) -> None:
        self.count += 1
        self.run(*example)

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if isinstance(result, Tensor) and result.is_floating_point() and result.dim() == 4:
            if n.op == "call_function" and len(result) > 1:
                raise DepthRosError(
                    f"int8 is for networks that work on one image at a time; this one works on {len(result)} at once"
                )
            margin = 1.0 if n.target == aten.hardtanh.default else MARGIN
            low, high = (margin * float(limit) for limit in result.aminmax())
            new = Seen(min(0.0, low), max(0.0, high), result.mean((0, 2, 3)))
            self.seen[n.name] = self.seen.get(n.name, new).joined(new, self.count)
        return result


def convolutions(program: fx.GraphModule) -> list[fx.Node]:
    return [
        node for node in program.graph.nodes if node.op == "call_function" and node.target in CONVOLUTIONS
    ]


def parts(node: fx.Node) -> list[tuple[fx.Node, int]]:
    """The nodes that make what `node` holds, each with the number of its channels there, in their order."""
    if node.target not in MOVING:
        return [(node, node.meta["val"].shape[1])]
    moved, *options = _arguments(node)
    shrink = options[0] ** 2 if node.target == aten.pixel_shuffle.default else 1
    maps = moved if isinstance(moved, (list, tuple)) else [moved]
    return [(maker, channels // shrink) for each in maps for maker, channels in parts(each)]


def _arguments(node: fx.Node) -> Any:
    """Those of a call; which may be other than nodes is known where they are used."""
    return node.args


def rounded(program: fx.GraphModule, seen: dict[str, Seen], chosen: Iterable[int]) -> fx.GraphModule:
    """A copy of `program` in which the convolutions of these indices are rounded, inputs and kernels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = fx.GraphModule(program, copy.deepcopy(program.graph))
    found = convolutions(program)
    inputs = {found[i]: parts(_arguments(found[i])[0]) for i in chosen}
    factors: dict[fx.Node, float] = {}
    for group in sharing({maker for maker, _ in makers} for makers in inputs.values()):
        factors |= _round_values(program.graph, group, seen, set(inputs))
    for node, makers in inputs.items():
        factor = torch.cat([torch.full((channels,), factors[maker]) for maker, channels in makers])
        mean = torch.cat([seen[maker.name].mean.reshape(channels, -1).mean(1) for maker, channels in makers])
        _round_kernel(program, node, factor.to(mean), mean)
    program.recompile()
    return program


def sharing(sets: Iterable[set[fx.Node]]) -> list[set[fx.Node]]:
    """The sets, those with common members united."""
    united: list[set[fx.Node]] = []
    for each in sets:
        common = [other for other in united if other & each]
        united = [other for other in united if not other & each]
        united.append(each.union(*common))
    return united


def _round_values(
    graph: fx.Graph, group: set[fx.Node], seen: dict[str, Seen], chosen: set[fx.Node]
) -> dict[fx.Node, float]:
    """Round the values of these nodes with one step, for all their readers; how many times each was stretched before.

    Concatenated maps share the step. Little would be left of one that is small beside the others: it is stretched
    to their range, and the kernels that read it shrink.
    """
    low, high = min(seen[node.name].low for node in group), max(seen[node.name].high for node in group)
    step = max((high - low) / 255, 1e-9)
    factors = {}
    for node in group:
        own = seen[node.name]
        room = [limit / value for limit, value in ((low, own.low), (high, own.high)) if value]
        fits = _read_only_by(node, chosen) and room
        factors[node] = (
            2.0 ** math.floor(math.log2(min(room))) if fits else 1.0
        )  # exact, for steps to be equal
        values = _behind(
            graph, node, aten.fake_quantize_per_tensor_affine.default,
            step / factors[node], round(-low / step), 0, 255,
        )  # fmt: skip
        if factors[node] != 1:
            _behind(graph, values, aten.mul.Tensor, factors[node])
    return factors


def _behind(graph: fx.Graph, node: fx.Node, operator: Callable, *arguments: float) -> fx.Node:
    """`operator` of `node`, put between it and all its readers."""
    with graph.inserting_after(node):
        new = graph.call_function(operator, (node, *arguments))
    node.replace_all_uses_with(new, delete_user_cb=lambda reader: reader is not new)
    return new


def _read_only_by(node: fx.Node, chosen: set[fx.Node]) -> bool:
    """Whether one of these convolutions, and not a depthwise one, is all that reads `node`."""
    readers = list(node.users)
    while len(readers) == 1 and readers[0].target in MOVING:
        node, readers = readers[0], list(readers[0].users)
    return len(readers) == 1 and readers[0] in chosen and _arguments(readers[0])[1].meta["val"].shape[1] > 1


def _round_kernel(program: fx.GraphModule, node: fx.Node, factor: Tensor, mean: Tensor) -> None:
    """Round the kernel of a convolution, each output channel with its own step.

    factor: how many times each input channel was stretched. mean: of each input channel before that; what the
    rounding changes on average is taken from the bias (Nagel et al., ICCV 2019).
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
