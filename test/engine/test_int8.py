"""Quantised convolutions: the result stays, the arithmetic becomes integer, and sensitive convolutions are left out."""

import numpy as np
import pytest
import torch
from torch import nn

from depth_ros.card import find_card, load_model
from depth_ros.engine import EngineSettings, backend, candidates, fake_quantisation, int8, open_engine
from depth_ros.engine.check import Check, check_inputs
from depth_ros.engine.fake_quantisation import (
    PER_CHANNEL,
    PER_TENSOR,
    QUANTISED,
    SIGNED,
    UNSIGNED,
    Observer,
    parts,
    with_fake_quantisation,
)
from depth_ros.engine.precision import lowered
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
    """Numbers of quantised activations and kernels."""
    nodes = [node for node in program.graph.nodes if node.target in (PER_TENSOR, PER_CHANNEL, QUANTISED)]
    kernels = [node for node in nodes if node.args[0].op == "get_attr"]
    return [len(nodes) - len(kernels), len(kernels)]


@pytest.mark.parametrize(("integers", "limit"), [(UNSIGNED, 0.003), (SIGNED, 0.006)])
def test_the_result_stays_and_every_tensor_is_quantised_once(unequal, integers, limit):
    model, inputs = unequal
    program = int8.quantised(model, inputs, integers)
    assert quantisers_in(program) == [3, 3]  # the image (with two consumers) and two maps; three kernels
    assert 1e-5 < Check.of(model, inputs).change(program) < limit


@pytest.mark.parametrize("integers", [UNSIGNED, SIGNED])
def test_a_small_map_beside_a_large_one_is_scaled_up(unequal, monkeypatch, integers):
    model, inputs = unequal
    check = Check.of(model, inputs)
    good = check.change(int8.quantised(model, inputs, integers))
    monkeypatch.setattr(fake_quantisation, "_only_consumer_is", lambda node, chosen: False)
    monkeypatch.setattr(int8, "MAX_CHANGE", 1.0)
    monkeypatch.setattr(Check, "problem", lambda self, run: "")
    assert check.change(int8.quantised(model, inputs, integers)) > 3 * good


def test_the_mean_of_a_convolution_is_corrected_in_its_bias(unequal):
    model, _ = unequal
    with torch.no_grad():
        model.large.weight[:, :, 1, 1] = 1e5  # one outlier sets the scale; the others become zero
        program = torch.export.export(model.large, (torch.rand(1, 3, 64, 64),)).module()
        observer = Observer(program)
        x = torch.rand(1, 3, 64, 64)
        observer.observe((x,))
        found = with_fake_quantisation(program, observer.ranges, [0], UNSIGNED)(x)
        bias = (program(x) - found).mean((0, 2, 3)).abs()
        assert (bias < 0.05 * (program(x) - found).abs().mean((0, 2, 3)).clamp(min=10)).all()


def test_convolutions_with_the_largest_effect_keep_their_precision():
    assert int8.tolerable([0.003, 0.5, 0.002, 0.004, float("inf")], 0.005) == [2, 0]
    assert int8.tolerable([], 0.005) == []


def test_int8_is_used_only_if_the_model_or_the_user_allows_it():
    settings = EngineSettings(backend="openvino", device="cpu")
    assert ("openvino", "int8") not in candidates(settings, "cpu", [])
    if VNNI:
        assert candidates(settings, "cpu", [], int8=True)[0] == ("openvino", "int8")
        requested = EngineSettings(backend="openvino", precision="int8", device="cpu")
        assert candidates(requested, "cpu", [])[0] == ("openvino", "int8")


@needs_vnni
@pytest.mark.parametrize("name", ["mono_driving", "mono"])
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


class BothViews(nn.Module):
    """Both images in one batch, as in a stereo network."""

    def __init__(self, one):
        super().__init__()
        self.one = one

    def forward(self, left, right):
        both = self.one(torch.cat([left, right]))
        return both[:1] + both[1:]


def test_images_in_one_batch_are_quantised_together(unequal):
    model, (image,) = unequal
    both = BothViews(model).eval()
    program = int8.quantised(both, (image, image.flip(2)), SIGNED)
    assert quantisers_in(program) == [3, 3]
    assert Check.of(both, (image, image.flip(2))).change(program) < 0.006


def test_only_channels_that_are_concatenated_have_ranges_of_their_own():
    class Joined(nn.Module):
        def forward(self, a, b):
            return torch.cat([torch.cat([a, b]), torch.cat([b, a])], 1)

    maps = (torch.rand(1, 3, 4, 6), torch.rand(1, 3, 4, 6))
    graph = torch.export.export(Joined(), maps).module().graph
    *_, last = (node for node in graph.nodes if node.op == "call_function")
    sources = parts(last)
    assert [channels for _, channels in sources] == [3, 3]  # the batches themselves are not taken apart
    assert all(node.meta["val"].shape == (2, 3, 4, 6) for node, _ in sources)


def test_steps_span_the_observed_range():
    """255 steps from the lowest to the highest value on CPUs, 254 around zero for TensorRT."""
    operator, (step, zero, *limits) = UNSIGNED.for_values(-1.0, 4.1, 1.0)
    assert operator == PER_TENSOR and step == pytest.approx(0.02) and [zero, *limits] == [50, 0, 255]
    operator, ((step,),) = SIGNED.for_values(-4.1, 4.1, 2.0)
    assert operator == QUANTISED and step == pytest.approx(4.1 / 127 / 2)


def test_values_are_rounded_as_by_tensorrt():
    """In float32 even between float16 values: to the even integer at a tie, limited to -128 and 127 steps."""
    x = torch.tensor([0.24, 0.25, 0.75, -0.75, 63.4, 99.0, -99.0]).half()
    expected = torch.tensor([0.0, 0.0, 1.0, -1.0, 63.5, 63.5, -64.0]).half()
    assert torch.equal(torch.ops.depth_ros.quantised(x, [0.5]), expected)
    rows = torch.ops.depth_ros.quantised(torch.tensor([[0.6, 1.0], [0.6, 1.0]]), [0.5, 1.0])
    assert torch.equal(rows, torch.tensor([[0.5, 1.0], [1.0, 1.0]]))


def test_a_network_that_int8_destroys_is_refused(unequal, monkeypatch):
    model, inputs = unequal
    monkeypatch.setattr(Check, "problem", lambda self, run: "all wrong")
    with pytest.raises(DepthRosError, match="no convolution of this network can be quantised"):
        int8.quantised(model, inputs, SIGNED)


@pytest.fixture(scope="module")
def indoor():
    """A shipped model at half its size, and its program for TensorRT."""
    card = find_card("mono")
    model = load_model(card)
    inputs = check_inputs(card, 160, 96, "cpu")
    return model, inputs, lowered(model, "int8", inputs, "torch_tensorrt")


def test_a_shipped_model_agrees_in_the_arithmetic_of_tensorrt(indoor):
    """Signed integers, float16 between them."""
    model, inputs, program = indoor
    activations, kernels = quantisers_in(program)
    assert 40 <= kernels <= 55 and activations >= 40
    assert program.get_parameter("network.level2.weight").dtype == torch.float16
    check = Check.of(model, inputs)
    assert check.problem(program) == ""
    assert 1e-4 < check.change(program) < 0.01


def test_every_kernel_has_its_step_in_the_graph(indoor):
    _, _, program = indoor
    nodes = [node for node in program.graph.nodes if node.target == QUANTISED]
    assert [len(node.args[1]) for node in nodes if node.args[0].op != "get_attr"] == [1] * quantisers_in(
        program
    )[0]
    for node in nodes:
        if node.args[0].op == "get_attr":
            kernel = program.get_buffer(node.args[0].target).float()
            expected = (kernel.abs().flatten(1).amax(1) / 127).clamp(min=1e-8 / 127)
            assert torch.allclose(torch.tensor(node.args[1]), expected, rtol=2e-3, atol=1e-7)


def test_a_compiler_that_folds_constants_leaves_quantised_kernels(unequal):
    """As Torch-TensorRT does; without its quantise layer a kernel would be computed in floating point."""
    from torch._inductor.constant_folding import ConstantFolder

    class Folder(ConstantFolder):
        def is_impure(self, node):
            return False

    program = int8.quantised(*unequal, SIGNED)
    floats = tuple(each.float() for each in unequal[1])
    exported = torch.export.export(program, floats).run_decompositions()
    before = [node for node in exported.graph.nodes if "quantised" in str(node.target)]
    module = exported.module()
    folder = Folder(module)
    folder.run()
    folded = [node for node in folder.node_replacements if "quantised" in str(node.target)]
    assert len(before) == 6 and folded == []
