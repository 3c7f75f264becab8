"""Family mannequin: names and sizes of the released networks, optional inputs, and every term of the loss."""

from __future__ import annotations

import pytest
import torch

from depth_ros.errors import DepthRosError
from depth_ros.networks import mannequin, parameter_counts
from depth_ros.networks.mannequin import Model, Settings, loss


def test_networks_have_the_published_number_of_parameters():
    counts = parameter_counts("mannequin")
    assert counts["image"] == 5_357_730
    assert counts["parallax"] == 5_376_546
    assert counts["keypoints"] == 5_382_818


def test_state_dict_has_the_names_and_shapes_of_the_released_weights():
    with torch.device("meta"):
        network = mannequin.NETWORKS["image"]()
    state = network.state_dict()
    assert len(state) == 781
    modules = list(network.modules())
    assert sum(isinstance(m, mannequin.Unit) for m in modules) == 22
    assert sum(isinstance(m, torch.nn.Conv2d) for m in modules) == 157
    norms = [m for m in modules if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 155 and sum(m.affine for m in norms) == 1
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    assert shapes["seq.0.weight"] == (128, 3, 7, 7) and "seq.1.weight" in shapes
    # unit A, on the skip path of the outer level
    assert shapes["seq.3.list.1.0.convs.3.3.weight"] == (16, 64, 11, 11)
    inner = "seq.3.list.0.3.list"
    assert shapes[f"{inner}.0.2.convs.2.3.weight"] == (64, 32, 5, 5)  # D of level 3, after pooling and B
    assert shapes[f"{inner}.1.1.convs.1.0.weight"] == (64, 128, 1, 1)  # C on its skip path
    # F: level 2 has its skip path first
    assert shapes[f"{inner}.0.3.list.0.1.convs.3.3.weight"] == (64, 64, 11, 11)
    assert shapes[f"{inner}.0.3.list.1.3.list.0.0.convs.0.0.weight"] == (64, 256, 1, 1)  # E of level 1
    assert shapes["pred_layer.weight"] == shapes["uncertainty_layer.0.weight"] == (1, 64, 3, 3)
    assert "seq.3.list.0.1.convs.0.1.running_mean" in shapes
    assert "seq.3.list.0.1.convs.0.1.weight" not in shapes


def test_norm_is_batch_norm_without_weights_and_keeps_the_precision():
    torch.manual_seed(0)
    norm, expected = mannequin.Norm(8), torch.nn.BatchNorm2d(8, affine=False)
    x = torch.randn(2, 8, 5, 6)
    assert torch.equal(norm(x), expected(x))  # of the batch
    norm, expected = norm.eval(), expected.eval()
    assert torch.equal(norm(x), expected(x))  # of the running statistics, which are equal too
    assert list(norm.state_dict()) == list(expected.state_dict())
    program = torch.export.export(norm.half(), (x.half(),))
    assert {buffer.dtype for buffer in program.buffers() if buffer.is_floating_point()} == {torch.float16}
    (node,) = (node for node in program.graph.nodes if "batch_norm" in str(node.target))
    assert node.args[1] is not None and node.args[2] is not None  # TensorRT would add float32 ones


@pytest.mark.parametrize("name", mannequin.INPUTS)
def test_output_has_the_size_of_the_input(name):
    with torch.device("meta"):
        network = mannequin.NETWORKS[name]()
        depth, confidence = network(torch.empty(1, 3 + len(mannequin.INPUTS[name]), 48, 80))
    assert depth.shape == confidence.shape == (1, 48, 80)


def test_extra_inputs_are_required_and_change_the_depth():
    torch.manual_seed(0)
    model = Model(Settings(inputs="parallax", width_divisor=8)).eval()
    image = torch.randint(0, 256, (1, 32, 48, 3), dtype=torch.uint8)
    K, extra = torch.eye(3)[None], torch.zeros(1, 3, 32, 48)
    assert model.extra_inputs == ("people", "parallax", "confidence")
    with pytest.raises(DepthRosError, match="also takes the inputs people, parallax, confidence"):
        model(image, K)
    with torch.no_grad():
        alone = model(image, K, extra)
        assert alone.shape == (1, 32, 48) and alone.dtype == torch.float32 and (alone > 0).all()
        extra[:, 1] = torch.linspace(-1, 1, 48)
        assert not torch.allclose(model(image, K, extra), alone)


class LogDepth(torch.nn.Module):
    """A model whose parameter is ln depth."""

    def __init__(self, value):
        super().__init__()
        self.value = torch.nn.Parameter(value)

    def log_depth(self, image, extra=None):
        return self.value


def batch(log_depth, image=None):
    shape = log_depth.shape
    grey = torch.full((*shape, 3), 100, dtype=torch.uint8) if image is None else image
    return {"image": grey, "depth": log_depth.exp(), "weight": torch.ones(shape)}


def test_data_term_is_half_the_mean_over_ordered_pairs():
    torch.manual_seed(0)
    ground_truth, predicted = torch.zeros(2, 4, 5), torch.randn(2, 4, 5)
    data = batch(ground_truth)
    data["depth"][0, 0, :3] = torch.nan
    errors = [predicted[0].flatten()[3:], predicted[1].flatten()]
    expected = sum(0.5 * (r[:, None] - r[None]).square().mean() for r in errors) / 2
    assert loss(LogDepth(predicted), data)["scale_invariant"].item() == pytest.approx(
        1.5 * expected.item(), rel=1e-5
    )
    people = torch.zeros(2, 4, 5)
    people[1, 2:] = 1
    pairs = 0.5 * (errors[1][10:, None] - errors[1][None]).square().mean() / 2
    term = loss(LogDepth(predicted), {**data, "people": people})["scale_invariant"].item()
    assert term == pytest.approx((expected + 0.5 * pairs).item(), rel=1e-5)


def test_only_smoothness_depends_on_the_scale_of_depth():
    torch.manual_seed(0)
    log_depth = torch.rand(1, 40, 48)
    terms = loss(LogDepth(log_depth + 1.7), batch(log_depth))
    assert terms["scale_invariant"].item() == pytest.approx(0, abs=1e-5)
    assert terms["gradient"].item() == pytest.approx(0, abs=1e-4)
    assert terms["smooth1"].item() > 0


def test_gradient_term_compares_pixels_two_apart_at_five_scales():
    """R rises by 0.01 per pixel in x, so pixels two apart at scale k differ by 0.02 * 2^k in x and by 0 in y."""
    ramp = (0.01 * torch.arange(96.0)).expand(1, 96, 96)
    term = loss(LogDepth(ramp.clone()), batch(torch.zeros(1, 96, 96)))["gradient"].item()
    assert term == pytest.approx(0.75 * sum(0.02 * 2**k / 2 for k in range(5)), rel=1e-4)


def test_smoothness_has_less_weight_where_the_image_changes():
    ramp = (0.01 * torch.arange(96.0)).expand(1, 96, 96)
    flat = loss(LogDepth(ramp.clone()), batch(ramp))
    assert flat["smooth1"].item() == pytest.approx(
        0.075 * sum(0.01 * 2**k * 0.5**k for k in range(5)), rel=1e-3
    )
    assert flat["smooth2"].item() == pytest.approx(0, abs=1e-6)
    edges = (torch.arange(96) % 2 * 255).to(torch.uint8)[None, None, :, None].expand(1, 96, 96, 3)
    steep = loss(LogDepth(ramp.clone()), batch(ramp, edges))["smooth1"].item()
    fine, coarse = 0.01 * torch.tensor(-1.0).exp().item(), 4 * 0.01  # coarser scales do not show the stripes
    assert steep == pytest.approx(0.075 * (fine + coarse), rel=1e-3)


def test_a_few_steps_reduce_the_loss():
    torch.manual_seed(0)
    model = Model(Settings(width_divisor=8))
    mannequin.initialise(model)
    data = batch(torch.linspace(0, 1, 48).expand(2, 32, 48).clone())
    data["image"] = torch.randint(0, 256, (2, 32, 48, 3), dtype=torch.uint8)
    optimiser, values = torch.optim.Adam(model.parameters(), 4e-3), []
    for _ in range(8):
        optimiser.zero_grad()
        terms = loss(model.train(), data)
        terms["loss"].backward()
        optimiser.step()
        values.append(terms["loss"].item())
    assert values[-1] < 0.7 * values[0]


def test_exported_model_gives_the_same_values():
    torch.manual_seed(0)
    model = Model(Settings(width_divisor=16)).eval()
    arguments = (torch.randint(0, 256, (1, 32, 48, 3), dtype=torch.uint8), torch.eye(3)[None])
    with torch.no_grad():
        exported = torch.export.export(model, arguments).module()
        torch.testing.assert_close(exported(*arguments), model(*arguments))
