"""Quantised convolutions: the result stays, the arithmetic becomes integer, and sensitive convolutions are left out."""

import numpy as np
import pytest
import torch
from torch import nn

from depth_ros.card import find_card, load_model
from depth_ros.engine import EngineSettings, backend, candidates, int8, open_engine
from depth_ros.engine.check import check_inputs
from depth_ros.errors import DepthRosError

VNNI = "int8" in backend("openvino").precisions("cpu")
needs_vnni = pytest.mark.skipif(not VNNI, reason="this processor has no VNNI, or there is no OpenVINO")


class Unequal(nn.Module):
    """A small map and one 300 times as large, concatenated; both affect the result."""

    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Conv2d(3, 8, 3, padding=1)
        self.large = nn.Conv2d(3, 8, 3, padding=1)
        self.both = nn.Conv2d(16, 4, 3, padding=1)
        with torch.no_grad():
            self.large.weight *= 300
            self.both.weight[:, 8:] /= 300

    def forward(self, image):
        x = (image.float() / 255).permute(0, 3, 1, 2)
        x = self.both(torch.cat([self.small(x).relu(), self.large(x)], 1))
        return torch.exp(x.mean(1))


@pytest.fixture()
def unequal():
    torch.manual_seed(0)
    image = torch.randint(0, 256, (1, 32, 48, 3), dtype=torch.uint8)
    return Unequal().eval(), (image,)


def quantisers_in(program):
    operators = torch.ops.aten
    names = (
        operators.fake_quantize_per_tensor_affine.default,
        operators.fake_quantize_per_channel_affine.default,
    )
    return [sum(node.target == name for node in program.graph.nodes) for name in names]


def test_the_result_stays_and_every_tensor_is_quantised_once(unequal):
    model, inputs = unequal
    program = int8.quantised(model, inputs)
    assert quantisers_in(program) == [3, 3]  # the image (with two consumers) and two maps; three kernels
    with torch.no_grad():
        assert 1e-5 < int8.change(model(*inputs), program(*inputs)) < 0.003


def test_a_small_map_beside_a_large_one_is_scaled_up(unequal, monkeypatch):
    model, inputs = unequal
    with torch.no_grad():
        good = int8.change(model(*inputs), int8.quantised(model, inputs)(*inputs))
        monkeypatch.setattr(int8, "_only_consumer_is", lambda node, chosen: False)
        monkeypatch.setattr(int8, "MAX_CHANGE", 1.0)
        assert int8.change(model(*inputs), int8.quantised(model, inputs)(*inputs)) > 3 * good


def test_the_mean_of_a_convolution_is_corrected_in_its_bias(unequal):
    model, _ = unequal
    with torch.no_grad():
        model.large.weight[:, :, 1, 1] = 1e5  # one outlier sets the scale; the others become zero
        program = torch.export.export(model.large, (torch.rand(1, 3, 64, 64),)).module()
        observer = int8.Observer(program)
        x = torch.rand(1, 3, 64, 64)
        observer.observe((x,))
        found = int8.with_fake_quantisation(program, observer.ranges, [0])(x)
        bias = (program(x) - found).mean((0, 2, 3)).abs()
        assert (bias < 0.05 * (program(x) - found).abs().mean((0, 2, 3)).clamp(min=10)).all()


def test_convolutions_with_the_largest_effect_keep_their_precision():
    assert int8.tolerable([0.003, 0.5, 0.002, 0.004, float("inf")]) == [2, 0]
    assert int8.tolerable([]) == []


def test_int8_is_used_only_if_the_model_or_the_user_allows_it():
    settings = EngineSettings(backend="openvino", device="cpu")
    assert ("openvino", "int8") not in candidates(settings, "cpu", [])
    if VNNI:
        assert candidates(settings, "cpu", [], int8=True)[0] == ("openvino", "int8")
        requested = EngineSettings(backend="openvino", precision="int8", device="cpu")
        assert candidates(requested, "cpu", [])[0] == ("openvino", "int8")


@needs_vnni
@pytest.mark.parametrize("name", ["mono_driving", "mono_indoor"])
def test_shipped_models_run_in_int8_and_agree(name, engine_cache):
    import openvino

    card = find_card(name)
    width, height = card.width // 64 * 32, card.height // 64 * 32
    engine = open_engine(card, width, height, EngineSettings(device="cpu"))
    assert (engine.backend, engine.precision) == ("openvino", "int8"), engine.reason
    inputs = check_inputs(card, width, height, "cpu")
    with torch.inference_mode():
        expected = load_model(card)(*inputs)[0].numpy()
    difference = np.abs(engine(*(each[0].numpy() for each in inputs)) - expected) / expected
    assert 1e-4 < np.nanmedian(difference) < 0.01
    compiled = openvino.Core().compile_model(next(engine_cache.glob("*-int8-*/engine.xml")), "CPU")
    layers = [op.get_rt_info() for op in compiled.get_runtime_model().get_ops()]
    kinds = [
        info["primitiveType"].astype(str) for info in layers if "Convolution" in info["layerType"].astype(str)
    ]
    assert sum("I8" in kind for kind in kinds) > 0.7 * len(kinds) > 30


def test_a_network_that_processes_both_views_at_once_is_refused(unequal):
    class BothViews(torch.nn.Module):
        def __init__(self, one):
            super().__init__()
            self.one = one

        def forward(self, left, right):
            return self.one(torch.cat([left, right]))

    model, (image,) = unequal
    with pytest.raises(DepthRosError, match="one image at a time; this one processes 2"):
        int8.quantised(BothViews(model).eval(), (image, image))
