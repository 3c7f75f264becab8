"""Family monodepth: the published networks, conversion of disparity to depth, loss and augmentation."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from depth_ros.config import settings_from
from depth_ros.errors import DepthRosError
from depth_ros.networks import monodepth, parameter_counts
from depth_ros.networks.blocks.convolution import upsample_nearest
from depth_ros.networks.blocks.photometric import appearance
from depth_ros.networks.monodepth import (
    LossSettings,
    Model,
    Settings,
    augment,
    depth_from,
    loss,
    post_process,
)

COUNTS = {
    "vgg": 31_600_072,
    "vgg_stereo": 31_604_776,
    "resnet50": 58_452_008,
    "resnet50_lean": 49_466_152,
}
KITTI_FX, KITTI_WIDTH = 721.5377, 1242


def images(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


def intrinsics(fx: float, count: int = 1) -> torch.Tensor:
    return torch.tensor([[fx, 0.0, 0.0], [0.0, fx, 0.0], [0.0, 0.0, 1.0]]).expand(count, 3, 3)


@functools.cache
def built(**settings) -> Model:
    """A model with random weights, shared by tests; do not modify it."""
    torch.manual_seed(0)
    model = Model(Settings(**settings)).eval()
    monodepth.initialise(model)
    return model


def smooth_pair(shift: int, height: int, width: int) -> dict[str, torch.Tensor]:
    """A stereo pair of a wall of blurred noise: left pixel x is right pixel x - shift."""
    noise = torch.rand(1, 3, height, width + shift, generator=torch.Generator().manual_seed(1))
    for _ in range(3):
        noise = F.avg_pool2d(noise, 9, 1, 4, count_include_pad=False)
    noise = (noise - noise.min()) / (noise.max() - noise.min())
    wall = (255 * noise).to(torch.uint8).permute(0, 2, 3, 1)
    return {"image": wall[:, :, :width], "right": wall[:, :, shift:]}


class Disparities(nn.Module):
    """A model whose parameters are the disparities, px at full size, at four scales of 64x128."""

    def __init__(self, start: float) -> None:
        super().__init__()
        sizes = [(64 >> s, 128 >> s) for s in range(4)]
        self.px = nn.ParameterList([torch.full((1, 2, *size), start) for size in sizes])

    def disparities(self, left, right):
        return [px / 128 for px in self.px]


def test_networks_have_the_published_number_of_parameters():
    assert parameter_counts("monodepth") == COUNTS


@pytest.mark.parametrize("name", COUNTS)
def test_four_scales_of_two_disparities(name):
    with torch.device("meta"):
        scales = monodepth.NETWORKS[name]()(torch.empty(2, 6 if "stereo" in name else 3, 256, 512))
    assert [tuple(d.shape) for d in scales] == [(2, 2, 256 >> s, 512 >> s) for s in range(4)]


def test_disparities_range_from_zero_to_three_tenths_of_the_width():
    network = monodepth.NETWORKS["vgg"]()
    with torch.no_grad():
        network.decoder["disp1"].bias.copy_(torch.tensor([200.0, -200.0]))
        left, right = network(torch.rand(1, 3, 128, 128))[0][0]
    torch.testing.assert_close(left, torch.full((128, 128), 0.3))
    assert not right.any()


def test_images_are_scaled_to_zero_to_one():
    image = images(1, 128, 128)
    with torch.no_grad():
        expected = built().network(image.permute(0, 3, 1, 2) / 255)
        torch.testing.assert_close(built().disparities(image), expected)


def test_nearest_upsampling_repeats_pixels():
    upsampled = upsample_nearest(torch.tensor([[[[1.0, 2.0]]]]))
    assert upsampled.tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]


def test_only_the_last_unit_of_a_residual_stage_has_a_stride():
    stages, widths = monodepth.resnet50_stages(3)
    assert widths == [64, 64, 256, 512, 1024, 2048]
    with torch.no_grad():
        x = stages[1](stages[0](torch.rand(1, 3, 64, 64)))
        for stage, count, width in zip(stages[2:], (3, 4, 6, 3), widths[2:]):
            sizes = [x.shape[2]]
            for unit in stage:
                x = unit(x)
                sizes.append(x.shape[2])
            assert sizes == [sizes[0]] * count + [sizes[0] // 2]
            assert x.shape[1] == width


def test_residual_units_apply_elu_only_after_the_sum():
    unit = monodepth.Unit(4, 2, 1, project=True)
    with torch.no_grad():
        for parameter in unit.parameters():
            parameter.zero_()
        unit.residual[2].bias.fill_(-5.0)
        unit.shortcut.bias.fill_(4.0)
        torch.testing.assert_close(unit(torch.ones(1, 4, 2, 2)), torch.full((1, 8, 2, 2), math.exp(-1) - 1))


def test_max_pooling_is_padded_with_zeros():
    pooled = monodepth.resnet50_stages(3)[0][1](torch.full((1, 1, 8, 8), -1.0))[0, 0]
    expected = torch.full((4, 4), -1.0)
    expected[0], expected[:, 0] = 0, 0
    torch.testing.assert_close(pooled, expected)


def test_second_convolution_of_a_vgg_stage_has_the_stride():
    stages, widths = monodepth.vgg_stages(3)
    convolutions = [[block[0] for block in stage] for stage in stages]
    assert [[c.stride[0] for c in pair] for pair in convolutions] == [[1, 2]] * 7
    assert [pair[0].kernel_size[0] for pair in convolutions] == [7, 5, 3, 3, 3, 3, 3]
    assert widths == [32, 64, 128, 256, 512, 512, 512]


def test_depth_follows_from_focal_length_baseline_and_disparity():
    disparity = torch.full((1, 1, 1), 0.1) * KITTI_WIDTH
    depth = depth_from(disparity, torch.tensor([KITTI_FX]), Settings())
    assert depth.item() == pytest.approx(3.13712, abs=1e-5)  # 721.5377 * 0.54 / (0.1 * 1242)
    assert depth_from(disparity, torch.tensor([KITTI_FX]), Settings(baseline=0.22)).item() == pytest.approx(
        1.27809, abs=1e-5
    )


def test_depth_is_corrected_for_the_field_of_view_of_another_camera():
    """The depth of an object that covers the same fraction of the image is proportional to fx / width."""
    image, fx, width = images(1, 128, 256), 600.0, 256
    train_fx = KITTI_FX / KITTI_WIDTH * width  # of the training camera's image at this size
    with torch.no_grad():
        as_trained = built()(image, intrinsics(train_fx))
        fraction = built().disparities(image)[0][:, 0]
        torch.testing.assert_close(as_trained, train_fx * 0.54 / (fraction * width))
        torch.testing.assert_close(built()(image, intrinsics(fx)), as_trained * (fx / train_fx))


def test_zero_disparity_has_the_maximum_depth():
    depth = depth_from(torch.tensor([[[0.0, 1.0, 10.0]]]), torch.tensor([700.0]), Settings(max_depth=50.0))
    assert depth.flatten().tolist() == pytest.approx([50.0, 50.0, 37.8])


def test_each_image_of_a_batch_has_its_own_focal_length():
    image = images(1, 128, 128).expand(2, -1, -1, -1)
    with torch.no_grad():
        near, far = built()(image, torch.cat([intrinsics(100.0), intrinsics(200.0)]))
    torch.testing.assert_close(far, 2 * near)


def test_post_processing_takes_each_side_from_the_prediction_that_is_valid_there():
    normal, mirrored = torch.full((1, 1, 41), 1.0), torch.full((1, 1, 41), 3.0)
    expected = [3.0] * 3 + [2.5] + [2.0] * 33 + [1.5] + [1.0] * 3  # x = 0, 0.025, ...
    torch.testing.assert_close(post_process(normal, mirrored).flatten(), torch.tensor(expected))


def test_post_processing_combines_the_predictions_of_image_and_mirrored_image():
    image, K = images(1, 128, 256), intrinsics(150.0)
    model = Model(Settings(post_process=True)).eval()
    model.load_state_dict(built().state_dict())
    with torch.no_grad():
        normal = built().disparities(image)[0][:, 0]
        mirrored = built().disparities(image.flip(2))[0][:, 0].flip(2)
        expected = 150.0 * 0.54 / (256 * post_process(normal, mirrored))
        torch.testing.assert_close(model(image, K), expected)


def test_stereo_model_predicts_disparity_in_pixels_from_both_images():
    left, right = images(1, 128, 256), images(1, 128, 256, seed=1)
    model = built(stereo=True)
    assert (model.task, built().task) == ("stereo_depth", monodepth.TASK)
    with torch.no_grad():
        disparity, other = model(left, right), model(left, left)
        torch.testing.assert_close(disparity, 256 * model.disparities(left, right)[0][:, 0])
    assert disparity.shape == (1, 128, 256) and disparity.dtype == torch.float32
    assert not torch.allclose(disparity, other)


@pytest.mark.parametrize(("encoder", "multiple"), [("vgg", 128), ("resnet50", 64), ("resnet50_lean", 64)])
def test_sizes_that_are_no_multiple_are_rejected(encoder, multiple):
    with torch.device("meta"):
        model = Model(Settings(encoder=encoder))
        assert model.size_multiple == multiple
        image = torch.empty(1, multiple, 2 * multiple, 3, dtype=torch.uint8)
        assert model(image, torch.empty(1, 3, 3)).shape == (1, multiple, 2 * multiple)
        with pytest.raises(DepthRosError, match=f"multiples of {multiple} px; got 640x200: resize to 640x"):
            model(torch.empty(1, 200, 640, 3, dtype=torch.uint8), torch.empty(1, 3, 3))


def test_invalid_settings_are_rejected():
    with pytest.raises(DepthRosError, match="allowed: 'vgg', 'resnet50', 'resnet50_lean'"):
        settings_from(Settings, {"encoder": "vgg16"}, "card")
    with torch.device("meta"), pytest.raises(DepthRosError, match="'post_process' needs a single image"):
        Model(Settings(stereo=True, post_process=True))


@pytest.mark.parametrize("encoder", ["vgg", "resnet50"])
def test_transposed_convolutions_double_the_size_with_as_many_parameters(encoder):
    """Their kernels have the shapes of the convolutions that they replace, with inputs and outputs exchanged."""
    with torch.device("meta"):
        plain, transposed = (
            Model(Settings(encoder=encoder, upconv=name)) for name in ("nearest", "transposed")
        )
        image = torch.empty(1, 128, 256, 3, dtype=torch.uint8)
        sizes = [tuple(d.shape) for d in transposed.disparities(image)]
    assert sizes == [(1, 2, 128 >> s, 256 >> s) for s in range(4)]
    shapes = [{key: tuple(value.shape) for key, value in m.state_dict().items()} for m in (plain, transposed)]
    assert shapes[0].keys() == shapes[1].keys()
    changed = {key for key in shapes[0] if shapes[0][key] != shapes[1][key]}
    assert changed and all("upconv" in key and key.endswith("weight") for key in changed)
    assert all(shapes[1][key] == tuple(shapes[0][key][i] for i in (1, 0, 2, 3)) for key in changed)


def test_transposed_convolutions_use_their_input_once():
    """An input pixel reaches the 3x3 outputs that start at twice its position; the last row and column are cut."""
    layer = monodepth.UPCONVS["transposed"](1, 1)
    with torch.no_grad():
        layer[0].weight.fill_(1.0)
        layer[0].bias.zero_()
        x = torch.zeros(1, 1, 3, 3)
        x[0, 0, 1, 1] = 1.0
        expected = torch.zeros(6, 6)
        expected[2:5, 2:5] = 1.0
        torch.testing.assert_close(layer(x)[0, 0], expected)


def test_narrow_networks_have_fewer_channels():
    with torch.device("meta"):
        for encoder in ("vgg", "resnet50"):
            full, narrow = (Model(Settings(encoder=encoder, width_divisor=d)) for d in (1, 8))
            counts = [sum(p.numel() for p in m.parameters()) for m in (full, narrow)]
            assert 50 < counts[0] / counts[1] < 64


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"encoder": "resnet50", "post_process": True},
        {"stereo": True},
        {"upconv": "transposed", "width_divisor": 8},
    ],
)
def test_exported_model_gives_the_same_values(settings):
    model, image = built(**settings), images(1, 128, 128)
    arguments = (image, images(1, 128, 128, seed=1) if model.settings.stereo else intrinsics(75.0))
    with torch.no_grad():
        exported = torch.export.export(model, arguments).module()
        torch.testing.assert_close(exported(*arguments), model(*arguments))


def test_bfloat16_weights_change_depth_by_less_than_half_a_percent():
    image, K = images(1, 128, 256), intrinsics(150.0)
    model = Model(Settings()).eval()
    model.load_state_dict(built().state_dict())
    with torch.no_grad():
        exact, rounded = built()(image, K), model.bfloat16()(image, K)
        assert model.disparities(image)[0].dtype == torch.float32  # the sigmoid is not rounded
    assert rounded.dtype == torch.float32
    assert ((rounded - exact).abs() / exact).median() < 0.005


def test_initial_kernels_are_xavier_uniform_and_biases_zero():
    convolution = built().network.decoder["iconv5"][0]  # 512 to 256 channels
    assert convolution.weight.var().item() == pytest.approx(2 / (9 * (512 + 256)), rel=0.02)
    assert not any(parameter.any() for name, parameter in built().named_parameters() if name.endswith("bias"))


def test_equal_constant_disparities_are_inconsistent_only_outside_the_other_view():
    """8 of 128 columns are outside at every scale, so each view and scale adds d * d."""
    terms = loss(Disparities(8.0), smooth_pair(8, 64, 128))
    assert terms["consistency"].item() == pytest.approx(8 * (8 / 128) ** 2, rel=1e-5)
    assert terms["smoothness"].item() == 0


def test_loss_is_the_weighted_sum_of_its_terms():
    model, batch = Disparities(6.0), smooth_pair(8, 64, 128)
    with torch.no_grad():
        for px in model.px:
            px.add_(torch.rand(px.shape, generator=torch.Generator().manual_seed(0)))
    terms = loss(model, batch)
    expected = terms["appearance"] + 0.1 * terms["smoothness"] + terms["consistency"]
    torch.testing.assert_close(terms["loss"], expected)
    other = loss(model, batch, LossSettings(smoothness_weight=2.0, consistency_weight=0.5))
    expected = terms["appearance"] + 2.0 * terms["smoothness"] + 0.5 * terms["consistency"]
    torch.testing.assert_close(other["loss"], expected)


def test_smoothness_is_halved_at_each_coarser_scale_and_can_include_both_axes():
    flat = {key: torch.zeros(1, 64, 128, 3, dtype=torch.uint8) for key in ("image", "right")}
    model = Disparities(0.0)
    for s, px in enumerate(model.px):
        with torch.no_grad():  # slope of 1 per pixel in x and 2 in y, in the left view only
            px[0, 0] = 128 * (torch.arange(128 >> s) + 2 * torch.arange(64 >> s)[:, None])
    across = 1 + 1 / 2 + 1 / 4 + 1 / 8
    assert loss(model, flat)["smoothness"].item() == pytest.approx(across)
    both = LossSettings(smoothness_axes="xy")
    assert loss(model, flat, both)["smoothness"].item() == pytest.approx(3 * across)


def test_image_pyramid_averages_areas():
    """Stripes of one pixel with a mean of 128 differ from a grey of 128 at full size only."""
    stripes = torch.full((1, 64, 128, 3), 100, dtype=torch.uint8)
    stripes[:, :, ::2] = 156
    pair = {"image": stripes, "right": torch.full_like(stripes, 128)}
    left, right = (pair[key].permute(0, 3, 1, 2) / 255 for key in ("image", "right"))
    total = loss(Disparities(0.0), pair)["appearance"].item()
    assert total == pytest.approx(2 * appearance(left, right).item(), rel=1e-4)


def test_true_disparity_has_the_least_appearance_loss():
    pair = smooth_pair(8, 64, 128)
    costs = {px: loss(Disparities(float(px)), pair)["appearance"].item() for px in (-8, 0, 4, 8, 12)}
    assert min(costs, key=costs.get) == 8


def test_minimising_the_loss_finds_the_disparity_of_both_views():
    pair, model = smooth_pair(8, 64, 128), Disparities(5.0)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.2)
    for _ in range(60):
        optimiser.zero_grad()
        loss(model, pair)["loss"].backward()
        optimiser.step()
    for view in model.px[0][0]:
        inner = view[:, 16:-16].detach()
        assert inner.median().item() == pytest.approx(8, abs=0.1)
        assert ((inner - 8).abs() < 1).float().mean() > 0.9


def test_a_few_steps_on_one_pair_reduce_the_loss():
    torch.manual_seed(0)
    model, pair = Model(Settings()), smooth_pair(8, 128, 128)
    monodepth.initialise(model)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    values = []
    for _ in range(5):
        optimiser.zero_grad()
        total = loss(model, pair)["loss"]
        total.backward()
        optimiser.step()
        values.append(total.item())
    assert values[-1] < 0.9 * values[0]
    assert all(parameter.grad.any() for parameter in model.parameters())


def test_mirroring_swaps_the_views():
    batch = {"image": images(64, 4, 8), "right": images(64, 4, 8, seed=1), "depth": torch.ones(64, 4, 8)}
    out = augment(batch, torch.Generator().manual_seed(0))
    assert set(out) == {"image", "right"} and out["image"].dtype == torch.uint8
    kinds = {"unchanged": 0, "mirrored": 0, "recoloured": 0}
    for left, right, new_left, new_right in zip(batch["image"], batch["right"], out["image"], out["right"]):
        if torch.equal(new_left, left) and torch.equal(new_right, right):
            kinds["unchanged"] += 1
        elif torch.equal(new_left, right.flip(1)) and torch.equal(new_right, left.flip(1)):
            kinds["mirrored"] += 1
        else:
            kinds["recoloured"] += 1
    assert 8 <= kinds["unchanged"] <= 24 and 8 <= kinds["mirrored"] <= 24  # of 64, 16 expected
    assert 22 <= kinds["recoloured"] <= 42


def test_both_views_get_the_same_colours_within_the_published_range():
    grey = torch.full((256, 2, 2, 3), 64, dtype=torch.uint8)
    out = augment({"image": grey, "right": grey.clone()}, torch.Generator().manual_seed(0))
    assert torch.equal(out["image"], out["right"])
    changed = out["image"].float() / 255
    value = 64 / 255
    assert changed.min() >= value**1.2 * 0.5 * 0.8 - 0.01
    assert changed.max() <= value**0.8 * 2.0 * 1.2 + 0.01
    assert changed[:, 0, 0].std(0).min() > 0.05  # colours vary
    assert (changed[:, 0, 0, 0] != changed[:, 0, 0, 1]).float().mean() > 0.3  # and differ by channel


def test_augmentation_is_reproducible_with_its_generator():
    batch = {"image": images(4, 4, 8), "right": images(4, 4, 8, seed=1)}
    first, second = (augment(batch, torch.Generator().manual_seed(7)) for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
