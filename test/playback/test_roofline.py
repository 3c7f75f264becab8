"""Operations and values of layers that can be counted by hand, and the times that follow from a peak."""

import pytest
import torch
from torch import nn

from depth_ros.card import find_card, load_model
from depth_ros.engine.check import check_inputs
from depth_ros.playback import roofline
from depth_ros.playback.roofline import Layer, Peak, Roofline, layers_of, measure


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), (1, 3, 10, 12), Layer(2 * 27 * 8 * 120, 360 + 216 + 8 + 960)),
        (nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False), (1, 8, 10, 12),
         Layer(2 * 9 * 8 * 30, 960 + 72 + 240)),
        (nn.Linear(5, 6), (4, 5), Layer(2 * 4 * 5 * 6, 20 + 30 + 6 + 24)),
    ],
)  # fmt: skip
def test_operations_and_values_of_a_layer(layer, shape, expected):
    network = nn.Sequential(layer, nn.ReLU())  # fused, so that it costs nothing
    assert layers_of(network, (torch.rand(shape),)) == [expected]


def test_a_layer_takes_as_long_as_its_arithmetic_or_its_memory():
    layers = [Layer(operations=1000, values=10), Layer(operations=10, values=1000)]
    of = Roofline(layers, Peak({"float32": 100.0, "float16": 200.0}, bandwidth=40.0))
    assert of.shortest("float32") == pytest.approx(1000 / 100 + 4 * 1000 / 40)
    assert of.shortest("float16") == pytest.approx(1000 / 200 + 2 * 1000 / 40)
    assert of.shortest("int8") is None
    assert of.summary()["gflop"] == pytest.approx(1.01e-6)


def test_all_operations_of_a_shipped_model_are_counted():
    from torch.utils.flop_counter import FlopCounterMode

    card = find_card("mono")
    model, inputs = load_model(card), check_inputs(card, 160, 96, "cpu")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*inputs)
    layers = layers_of(model, inputs)
    assert sum(layer.operations for layer in layers) == counter.get_total_flops() > 1e8
    assert len(layers) == sum(isinstance(part, nn.Conv2d) for part in model.modules())


def test_the_peak_of_this_processor_is_measured(monkeypatch):
    monkeypatch.setattr(roofline, "MATRIX", {"cpu": 256})
    monkeypatch.setattr(roofline, "COPIED", {"cpu": 1 << 20})
    before = torch.get_float32_matmul_precision()
    peak = measure("cpu", {"float32", "bfloat16", "int8"})
    assert torch.get_float32_matmul_precision() == before
    assert 1e8 < peak.operations["float32"] < 1e14 and 1e7 < peak.bandwidth < 1e13
    assert peak.operations.get("int8", 1e99) >= peak.operations["bfloat16"]

    def missing(a, b):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(torch, "_int_mm", missing)
    assert set(measure("cpu", {"float32", "int8"}).operations) == {"float32"}
