"""Schedules: the learning rate in every step, also of a resumed run."""

import pytest
import torch
from torch import nn

from depth_ros.training.optimiser import Sgd, build_optimiser
from depth_ros.training.schedule import Constant, OneCycle, PeriodicDecay, Polynomial, StepDecay


def new_optimiser() -> torch.optim.Optimizer:
    return build_optimiser(Sgd(), [nn.Parameter(torch.zeros(1))], 0.2, 0.0)


def learning_rates(optimiser, schedule, steps: range, total: int) -> list[float]:
    """The learning rate of each of these steps of a run."""
    scheduler, rates = schedule.build(optimiser, 0.2, total, steps.start), []
    for _ in steps:
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


PUBLISHED = {
    Constant(): [0.2] * 10,
    StepDecay((0.6, 0.8), 0.5): [0.2] * 6 + [0.1] * 2 + [0.05] * 2,
    PeriodicDecay(4, 0.1): [0.2] * 4 + [0.02] * 4 + [0.002] * 2,
    Polynomial(): [0.2 * (1 - step / 10) for step in range(10)],
    Polynomial(0.5): [0.2 * (1 - step / 10) ** 0.5 for step in range(10)],
}


@pytest.mark.parametrize("schedule", PUBLISHED, ids=str)
def test_learning_rates_of_all_steps(schedule):
    assert learning_rates(new_optimiser(), schedule, range(10), 10) == pytest.approx(PUBLISHED[schedule])


@pytest.mark.parametrize("schedule", [*PUBLISHED, OneCycle()], ids=str)
def test_a_resumed_run_continues_the_schedule(schedule):
    whole = learning_rates(new_optimiser(), schedule, range(10), 10)
    first = new_optimiser()
    begun = learning_rates(first, schedule, range(5), 10)
    again = new_optimiser()
    again.load_state_dict(first.state_dict())
    assert begun + learning_rates(again, schedule, range(5, 10), 10) == pytest.approx(whole)


def test_one_cycle_rises_for_its_warm_up():
    rates = learning_rates(new_optimiser(), OneCycle(0.3), range(21), 21)
    assert rates[0] == pytest.approx(0.2 / 25) and max(rates) == pytest.approx(0.2, rel=0.01)
    assert abs(rates.index(max(rates)) - 6) <= 1 and rates[-1] < 3e-3
