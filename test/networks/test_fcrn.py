"""Family fcrn: published sizes, focal length, reverse Huber loss."""

from __future__ import annotations

import itertools

import pytest
import torch

from depth_ros.networks import fcrn, parameter_counts
from depth_ros.networks.fcrn import Model, Settings, berhu, loss


def test_published_number_of_parameters():
    counts = parameter_counts("fcrn")
    assert counts["resnet50"] == 63_572_737
    with torch.device("meta"):
        network, plain = fcrn.NETWORKS["resnet50"](), fcrn.NETWORKS["resnet50_plain"]()
    count = lambda *modules: sum(p.numel() for m in modules for p in m.parameters())  # noqa: E731
    assert count(network.encoder) == 23_508_096
    assert count(network.layer1, network.bn1) == 2_100_224
    assert [count(up) for up in network.up] == [28_581_376, 7_147_264, 1_787_776, 447_424]
    assert count(network.predict) == 577
    biases = sum(
        m.bias.numel() for m in plain.modules() if getattr(m, "kernel_size", 0) and m.bias is not None
    )
    assert counts["resnet50_plain"] - biases == 63_563_008


def test_decoders_of_the_ablation_have_the_published_number_of_parameters():
    """Table 1 of the paper: 63.6, 43.1 and 28.5 million, with up-projection, up-convolution and deconvolution."""
    counts = parameter_counts("fcrn")
    encoder, first, widths = 23_508_096, 2_100_224, (1024, 512, 256, 128, 64)
    pairs = sum(i * o for i, o in itertools.pairwise(widths))
    norms, last = 2 * sum(widths[1:]), 577
    biases = 4 * sum(widths[1:])  # of the four interleaved kernels
    assert (
        counts["resnet50_up_convolution"]
        == encoder + first + 25 * pairs + biases + norms + last
        == 43_022_657
    )
    assert counts["resnet50_deconvolution"] == encoder + first + 4 * pairs + norms + last == 28_396_097


@pytest.mark.parametrize("decoder", ["up_convolution", "deconvolution"])
def test_other_decoders_obey_the_contract_and_learn(decoder):
    torch.manual_seed(0)
    model = Model(Settings(backbone="lite0", focal=50.0, decoder=decoder))
    fcrn.initialise(model)
    data = batch()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)
    values = []
    for _ in range(6):
        optimiser.zero_grad()
        terms = loss(model.train(), data)
        terms["loss"].backward()
        optimiser.step()
        values.append(terms["loss"].item())
    assert values[-1] < 0.8 * values[0]
    assert model.eval()(data["image"], data["intrinsics"]).shape == (2, 64, 96)


def test_squared_error_is_the_mean_square_of_the_valid_pixels(small):
    data = batch()
    small.eval()
    with torch.no_grad():
        terms = loss(small, data, fcrn.LossSettings(norm="l2"))
        difference = (
            small.canonical(data["image"]) - data["depth"]
        ).square()  # focal length 50 px, as in `small`
    expected = torch.stack([difference[0, 10:].mean(), difference[1].mean()]).mean()
    assert set(terms) == {"loss", "l2"} and terms["l2"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_output_has_the_published_size():
    with torch.device("meta"):
        assert fcrn.NETWORKS["resnet50"]()(torch.empty(1, 3, 228, 304)).shape == (1, 128, 160)


def test_encoder_has_the_strides_of_the_original_resnet():
    with torch.device("meta"):
        encoder = fcrn.ResNet50()
        stages = [encoder.res2, encoder.res3, encoder.res4, encoder.res5]
        assert [[unit.branch2a.stride[0] for unit in stage] for stage in stages] == [
            [1, 1, 1], [2, 1, 1, 1], [2, 1, 1, 1, 1, 1], [2, 1, 1],
        ]  # fmt: skip
        assert all(unit.branch2b.stride[0] == 1 for stage in stages for unit in stage)
    assert {m.eps for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-4}


def test_berhu_is_continuous_and_smooth_at_its_threshold():
    error = torch.tensor([[[0.5, -2.0, 10.0]]], dtype=torch.float64)  # c = 2
    assert berhu(error, torch.ones_like(error)).item() == pytest.approx((0.5 + 2 + (100 + 4) / 4) / 3)
    threshold = torch.tensor([[[2.0 - 1e-6, 2.0 + 1e-6, 10.0]]], dtype=torch.float64, requires_grad=True)
    berhu(threshold, torch.ones_like(threshold)).backward()
    assert (3 * threshold.grad[0, 0, :2]).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert 3 * threshold.grad[0, 0, 2].item() == pytest.approx(5)  # e / c: c itself is a constant


def test_berhu_averages_over_the_weighted_pixels_of_each_image():
    error = torch.tensor([[[1.0, 900.0]], [[1.0, 3.0]]])
    weight = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]])
    c = 0.6  # of 3, not of 900
    quadratic = lambda e: (e * e + c * c) / (2 * c)  # noqa: E731
    assert berhu(error, weight).item() == pytest.approx(
        (quadratic(1) + (quadratic(1) + quadratic(3)) / 2) / 2
    )
    assert berhu(torch.zeros(1, 1, 2), torch.ones(1, 1, 2)).item() == 0


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    model = Model(Settings(backbone="lite0", focal=50.0))
    fcrn.initialise(model)
    return model


def batch():
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8, generator=generator)
    depth = torch.linspace(1, 4, 96).expand(2, 64, 96).clone()
    depth[0, :10] = torch.nan
    K = torch.tensor([[50.0, 0, 48], [0, 50.0, 32], [0, 0, 1]]).expand(2, 3, 3)
    return {"image": image, "depth": depth, "weight": torch.ones(2, 64, 96), "intrinsics": K}


def test_depth_scales_with_the_focal_length(small):
    data = batch()
    with torch.no_grad():
        small.eval()
        near, far = (small(data["image"], data["intrinsics"] * k) for k in (1.0, 2.0))
    assert near.shape == (2, 64, 96) and near.dtype == torch.float32
    valid = torch.isfinite(near) & torch.isfinite(far)
    assert valid.float().mean() > 0.1
    torch.testing.assert_close(far[valid], 2 * near[valid])


def test_a_few_steps_reduce_the_loss(small):
    data, values = batch(), []
    model = Model(small.settings)
    model.load_state_dict(small.state_dict())
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(6):
        optimiser.zero_grad()
        terms = loss(model.train(), data)
        terms["loss"].backward()
        optimiser.step()
        values.append(terms["loss"].item())
    assert values[-1] < 0.7 * values[0]


def test_stretched_models_accept_any_even_size():
    with torch.device("meta"):
        model = Model(Settings(backbone="lite0", stretched=True))
        assert model.size_multiple == 2
        for size in ((228, 304), (230, 172), (64, 98)):
            image = torch.empty(1, *size, 3, dtype=torch.uint8)
            assert model(image, torch.empty(1, 3, 3)).shape == (1, *size)


def test_exported_model_gives_the_same_values(small):
    data = batch()
    arguments = (data["image"], data["intrinsics"].contiguous())
    with torch.no_grad():
        exported = torch.export.export(small.eval(), arguments).module()
        torch.testing.assert_close(exported(*arguments), small(*arguments), equal_nan=True)
