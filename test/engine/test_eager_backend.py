"""Eager PyTorch on a GPU: as a CUDA graph, or as it is with the reason. On a fake GPU."""

from __future__ import annotations

import pytest
import torch
from fake_cuda import fake_gpu
from torch import Tensor, nn

from depth_ros.card import read_card
from depth_ros.engine import EngineSettings, eager_backend, pool
from depth_ros.networks import compact


class ReadsBack(nn.Module):
    """Copies a result to the CPU, which a CUDA graph cannot."""

    def forward(self, x: Tensor) -> Tensor:
        return x * float(x.amax().cpu())


@pytest.fixture()
def gpu(monkeypatch, engine_cache):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with fake_gpu(monkeypatch) as made:
        yield made


@pytest.fixture()
def card(small_model):
    return read_card(small_model)


def on_gpu(values: list[float]) -> Tensor:
    return torch.tensor(values).to("cuda")


def test_a_graph_computes_with_new_inputs(gpu):
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).to("cuda")
    run, how = eager_backend.runner(model, (on_gpu([[1.0, 2.0]]),))
    assert how == "runs the module as it is, in a CUDA graph"
    for values in ([[3.0, 4.0]], [[-1.0, 0.5]]):
        (found,) = run(on_gpu(values))
        with torch.inference_mode():
            torch.testing.assert_close(found.cpu(), model(on_gpu(values)).cpu())
    assert gpu.events["graph replay"] == 2


def test_a_module_that_cannot_be_captured_runs_as_it_is_with_the_reason(gpu):
    run, how = eager_backend.runner(ReadsBack(), (on_gpu([[1.0, 2.0]]),))
    assert how.startswith("runs the module as it is; no CUDA graph: CUDA error: operation not permitted")
    assert run(on_gpu([[1.0, 3.0]])).cpu().tolist() == [[3.0, 9.0]]


@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_the_reason_of_an_engine_says_how_it_runs(card, gpu, precision, monkeypatch):
    settings = EngineSettings("eager", precision, "cuda")
    engine = pool.EnginePool().open(card, 128, 64, settings)
    assert engine.reason == "runs the module as it is, in a CUDA graph"
    forward = compact.Model.forward
    monkeypatch.setattr(
        compact.Model,
        "forward",
        lambda self, *inputs: forward(self, *inputs) * float(inputs[1].cpu()[0, 2, 2]),
    )
    engine = pool.EnginePool().open(card, 128, 64, settings)
    assert (engine.backend, engine.precision) == ("eager", precision)
    assert "; no CUDA graph: CUDA error: operation not permitted" in engine.reason


def test_a_graph_that_differs_is_not_used(card, gpu, monkeypatch):
    monkeypatch.setattr(
        eager_backend.CudaGraph, "__call__", lambda self, *inputs: tuple(1.05 * x for x in self._results)
    )
    engine = pool.EnginePool().open(card, 128, 64, EngineSettings("eager", "float16", "cuda"))
    assert (engine.backend, engine.precision) == ("eager", "float32")
    assert engine.reason.startswith(
        "runs the module as it is; no CUDA graph: it differs on the check image (median 5"
    )
    assert "eager float16: differs from eager float32 on the check image" in engine.reason


def test_on_a_cpu_there_is_no_graph(card, engine_cache):
    engine = pool.EnginePool().open(card, 128, 64, EngineSettings("eager", "float32", "cpu"))
    assert engine.reason == "runs the module as it is"
