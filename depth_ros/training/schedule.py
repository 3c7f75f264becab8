"""Schedules: the learning rate over the steps of a training run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR


class Schedule(Protocol):
    """A kind of schedule and its settings."""

    def build(self, optimiser: Optimizer, learning_rate: float, steps: int, done: int) -> LRScheduler:
        """The schedule of a run of `steps` steps, `done` of which are done. learning_rate: the highest."""


@dataclass(frozen=True)
class OneCycle:
    """Up to the learning rate and down to almost zero by cosines (Smith and Topin 2019).

    warm_up: fraction of the steps until the highest learning rate. The momentum (beta1 of Adam) falls from 0.95 to 0.85
    meanwhile and rises again, whatever that of the optimiser is.
    """

    warm_up: float = 0.1

    def build(self, optimiser: Optimizer, learning_rate: float, steps: int, done: int) -> LRScheduler:
        return OneCycleLR(
            optimiser, learning_rate, total_steps=steps + 1, pct_start=self.warm_up, last_epoch=done - 1
        )


@dataclass(frozen=True)
class Constant:
    """The same learning rate in all steps."""

    def build(self, optimiser: Optimizer, learning_rate: float, steps: int, done: int) -> LRScheduler:
        return _scaled(optimiser, learning_rate, done, lambda step: 1.0)


@dataclass(frozen=True)
class StepDecay:
    """The learning rate times `factor` once after each of the given fractions of the steps."""

    fractions: tuple[float, ...] = (0.6, 0.8)
    factor: float = 0.5

    def build(self, optimiser: Optimizer, learning_rate: float, steps: int, done: int) -> LRScheduler:
        milestones = [round(fraction * steps) for fraction in self.fractions]
        return _scaled(
            optimiser,
            learning_rate,
            done,
            lambda step: self.factor ** sum(step >= each for each in milestones),
        )


@dataclass(frozen=True)
class PeriodicDecay:
    """The learning rate times `factor` after every `every` steps."""

    every: int = 10_000
    factor: float = 0.5

    def build(self, optimiser: Optimizer, learning_rate: float, steps: int, done: int) -> LRScheduler:
        return _scaled(optimiser, learning_rate, done, lambda step: self.factor ** (step // self.every))


@dataclass(frozen=True)
class Polynomial:
    """The learning rate times (1 - step / steps) to the power `power`; 1 for a straight line to zero."""

    power: float = 1.0

    def build(self, optimiser: Optimizer, learning_rate: float, steps: int, done: int) -> LRScheduler:
        return _scaled(optimiser, learning_rate, done, lambda step: max(0.0, 1 - step / steps) ** self.power)


SCHEDULES: dict[str, type[Schedule]] = {
    "one_cycle": OneCycle,
    "constant": Constant,
    "step_decay": StepDecay,
    "periodic_decay": PeriodicDecay,
    "polynomial": Polynomial,
}
"""Settings of a schedule by its name in recipe files and in --set."""


def _scaled(
    optimiser: Optimizer, learning_rate: float, done: int, factor: Callable[[int], float]
) -> LRScheduler:
    for group in optimiser.param_groups:
        group["initial_lr"] = learning_rate  # that of the recipe, even if changed since the checkpoint
    return LambdaLR(optimiser, factor, last_epoch=done - 1)
