"""Post-training quantisation: a program whose convolutions run in int8.

The ranges of the activations are observed on `examples`, made from the model's stored input. If quantising all
convolutions changes the result by more than `MAX_CHANGE`, each is quantised alone, and those with the largest effect
keep their precision until the others stay within `MAX_SUMMED_CHANGE`, assuming that independent errors add in
quadrature, and the result passes the check of engines. Usually the first convolutions are left out, on which all others
depend.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, fx, nn

from depth_ros.engine.check import Check
from depth_ros.engine.fake_quantisation import Integers, Observer, convolutions, with_fake_quantisation
from depth_ros.engine.inductor_backend import remove_assertions
from depth_ros.errors import DepthRosError

MAX_CHANGE = 0.008
"""Largest median relative change of the result with every convolution quantised; the check allows 0.01."""
MAX_SUMMED_CHANGE = 0.005
"""The same as predicted from single convolutions; those left out compute in 16 bits and add to it."""
ATTEMPTS = 4
"""As long as the result fails the check, the limit is halved, this many times at most."""


def quantised(model: nn.Module, inputs: tuple[Tensor, ...], integers: Integers) -> fx.GraphModule:
    """`model` with quantised convolutions, as a program for inputs of these shapes only.

    Raises DepthRosError if that changes the result too much, whichever convolutions are left out.
    """
    with torch.no_grad():
        exported = torch.export.export(model, inputs)
        remove_assertions(exported)
        program = exported.module()
        observer = Observer(program)
        for example in examples(inputs):
            observer.observe(example)
        check = Check.of(program, inputs, tuple(getattr(model, "deviations", ())))

        def with_some(chosen: Iterable[int]) -> fx.GraphModule:
            return with_fake_quantisation(program, observer.ranges, chosen, integers)

        each = range(len(convolutions(program)))
        found = with_some(each)
        if check.change(found) <= MAX_CHANGE and not check.problem(found):
            return found
        changes = [check.change(with_some([i])) for i in each]
        for attempt in range(ATTEMPTS):
            found = with_some(tolerable(changes, MAX_SUMMED_CHANGE / 2**attempt))
            if not check.problem(found):
                return found
    raise DepthRosError(
        "no convolution of this network can be quantised without changing the result too much"
    )


def tolerable(changes: Sequence[float], limit: float) -> list[int]:
    """Indices of the smallest `changes` whose root of the sum of squares stays within `limit`."""
    chosen: list[int] = []
    square = 0.0
    for i in sorted(range(len(changes)), key=changes.__getitem__):
        square += changes[i] ** 2
        if square > limit**2:
            break
        chosen.append(i)
    return chosen


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
