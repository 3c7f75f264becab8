"""Family fcrn: both forms of the up-projection, the published counts, the loss, and the released names."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from depth_ros.errors import DepthRosError
from depth_ros.networks import fcrn, parameter_counts
from depth_ros.networks.fcrn import FastUp, Model, PlainUp, Settings, UpProjection, berhu, loss


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


def test_published_size_of_the_output():
    with torch.device("meta"):
        assert fcrn.NETWORKS["resnet50"]()(torch.empty(1, 3, 228, 304)).shape == (1, 128, 160)


@pytest.mark.parametrize("size", [(6, 7), (1, 1), (5, 2)])
def test_interleaved_form_equals_unpooling_and_5x5(size):
    torch.manual_seed(0)
    plain = UpProjection(5, 4, PlainUp).double().eval()
    fast = UpProjection(5, 4, FastUp).double().eval()
    fast.load_state_dict(fcrn.fast_state(plain.state_dict()))
    x = torch.randn(2, 5, *size, dtype=torch.float64)
    assert plain(x).shape == (2, 4, 2 * size[0], 2 * size[1])
    torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=1e-10)
    back = fcrn.plain_state(fast.state_dict())
    assert back.keys() == plain.state_dict().keys()
    assert all(torch.equal(back[key], value) for key, value in plain.state_dict().items())


def test_unpooling_and_5x5_is_a_transposed_convolution():
    torch.manual_seed(0)
    up, x = PlainUp(3, 2).double(), torch.randn(1, 3, 4, 5, dtype=torch.float64)
    kernel = up.conv.weight.flip(2, 3).transpose(0, 1)
    expected = F.conv_transpose2d(x, kernel, up.conv.bias, 2, 2, 1)
    torch.testing.assert_close(up(x), expected, rtol=0, atol=1e-10)


def test_zeros_before_delay_odd_rows_and_columns_by_one_input_pixel():
    torch.manual_seed(0)
    after, before = FastUp(2, 3).double(), FastUp(2, 3, zeros="before").double()
    before.load_state_dict(after.state_dict())
    x = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    a, b = after(x), before(x)
    torch.testing.assert_close(b[..., ::2, ::2], a[..., ::2, ::2])
    torch.testing.assert_close(b[..., 3::2, ::2], a[..., 1:-2:2, ::2])
    torch.testing.assert_close(b[..., ::2, 3::2], a[..., ::2, 1:-2:2])
    assert (a - b).abs().max() > 0.1


def test_biases_that_differ_have_no_plain_form():
    torch.manual_seed(0)
    with pytest.raises(DepthRosError, match="biases of their own"):
        fcrn.plain_state(UpProjection(2, 2, FastUp).state_dict())


def test_encoder_strides_where_the_original_does():
    with torch.device("meta"):
        encoder = fcrn.ResNet50()
        stages = [encoder.res2, encoder.res3, encoder.res4, encoder.res5]
        assert [[unit.branch2a.stride[0] for unit in stage] for stage in stages] == [
            [1, 1, 1], [2, 1, 1, 1], [2, 1, 1, 1, 1, 1], [2, 1, 1],
        ]  # fmt: skip
        assert all(unit.branch2b.stride[0] == 1 for stage in stages for unit in stage)
    assert {m.eps for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-4}


def test_berhu_is_continuous_with_slope_one_where_it_bends():
    error = torch.tensor([[[0.5, -2.0, 10.0]]], dtype=torch.float64)  # c = 2
    assert berhu(error, torch.ones_like(error)).item() == pytest.approx((0.5 + 2 + (100 + 4) / 4) / 3)
    bend = torch.tensor([[[2.0 - 1e-6, 2.0 + 1e-6, 10.0]]], dtype=torch.float64, requires_grad=True)
    berhu(bend, torch.ones_like(bend)).backward()
    assert (3 * bend.grad[0, 0, :2]).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert 3 * bend.grad[0, 0, 2].item() == pytest.approx(5)  # e / c: c itself is a constant


def test_berhu_means_over_the_known_pixels_of_each_image():
    error = torch.tensor([[[1.0, 900.0]], [[1.0, 3.0]]])
    weight = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]])
    c = 0.6  # of 3, not of 900
    big = lambda e: (e * e + c * c) / (2 * c)  # noqa: E731
    assert berhu(error, weight).item() == pytest.approx((big(1) + (big(1) + big(3)) / 2) / 2)
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
    known = torch.isfinite(near) & torch.isfinite(far)
    assert known.float().mean() > 0.1
    torch.testing.assert_close(far[known], 2 * near[known])


def test_a_few_steps_learn(small):
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


def test_any_even_size_when_stretched():
    with torch.device("meta"):
        model = Model(Settings(backbone="lite0", stretched=True))
        assert model.size_multiple == 2
        for size in ((228, 304), (230, 172), (64, 98)):
            image = torch.empty(1, *size, 3, dtype=torch.uint8)
            assert model(image, torch.empty(1, 3, 3)).shape == (1, *size)


def test_released_names():
    """Every name once, as the released weights have them; norms with four vectors, the encoder without biases."""
    with torch.device("meta"):
        keys = list(Model(Settings(zeros="before")).state_dict())
    names = {key: fcrn.released_name(key) for key in keys}
    known = [name for name in names.values() if name]
    assert len(known) == len(set(known)) == len([key for key in keys if "num_batches" not in key])
    expected = {
        "network.encoder.conv1.bias": "conv1/biases",
        "network.encoder.bn_conv1.running_mean": "bn_conv1/mean",
        "network.encoder.res2.a.branch1.weight": "res2a_branch1/weights",
        "network.encoder.res4.f.branch2b.weight": "res4f_branch2b/weights",
        "network.encoder.res3.d.bn2c.running_var": "bn3d_branch2c/variance",
        "network.layer1.weight": "layer1/weights",
        "network.bn1.weight": "layer1_BN/scale",
        "network.up.0.up1.convB.weight": "layer2x_br1_ConvB/weights",
        "network.up.3.up2.convD.bias": "layer16x_br2_ConvD/biases",
        "network.up.1.bn2.bias": "layer4x_br2_BN/offset",
        "network.up.2.conv.bias": "layer8x_Conv/biases",
        "network.up.2.bn.weight": "layer8x_BN/scale",
        "network.predict.weight": "ConvPred/weights",
    }
    assert {key: names[key] for key in expected} == expected
    assert {name.split("/")[1] for name in known} == {
        "weights", "biases", "scale", "offset", "mean", "variance"
    }  # fmt: skip


def test_an_exported_model_gives_the_same_values(small):
    data = batch()
    arguments = (data["image"], data["intrinsics"].contiguous())
    with torch.no_grad():
        exported = torch.export.export(small.eval(), arguments).module()
        torch.testing.assert_close(exported(*arguments), small(*arguments), equal_nan=True)
