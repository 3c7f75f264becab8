"""Images of any size for networks that were trained at one size, and their results in the geometry of the camera."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from depth_ros.datatypes import Camera
from depth_ros.networks.blocks.fit import WHOLE, Fit, View
from depth_ros.networks.blocks.fitted import fitted, image_in_input, intrinsics_in_input, resize_weights

NYU = (8 / 320, 6 / 240, 312 / 320, 234 / 240)
CITYSCAPES = (192 / 2048, 256 / 1024, 1856 / 2048, 768 / 1024)


@pytest.mark.parametrize(("fit", "image", "window"), [
    (Fit("stretch", 512, 256), (1242, 375), (0, 0, 1242, 375)),
    (Fit("stretch", 416, 128, CITYSCAPES), (2048, 1024), (192, 256, 1664, 512)),
    (Fit("crop", 304, 228, NYU), (640, 480), (16, 12, 608, 456)),
    (Fit("crop", 304, 228, NYU), (1242, 375), (383, 9, 476, 357)),
    (Fit("crop", 172, 230), (640, 480), (140, 0, 359, 480)),
])  # fmt: skip
def test_windows_of_images(fit, image, window):
    view = fit.view(*image)
    assert (view.left, view.top, view.width, view.height) == window
    assert (view.input_width, view.input_height) == (fit.width, fit.height)


def test_a_letterbox_keeps_the_aspect_ratio():
    """By hand: 640x480 into 1064x616 is 821x616, with 243 px on the sides; 1242x375 is 1064x321, with 295 px above and
    below. Intrinsics as by OpenCV's pixel centres, then moved by the margin."""
    fit = Fit("letterbox", 1064, 616)
    assert fit.is_fixed
    view = fit.view(640, 480)
    assert view.margin == (121, 0, 122, 0) and view.inside == (821, 616)
    assert (view.left, view.top, view.width, view.height) == (0, 0, 640, 480)
    assert fit.view(1242, 375).margin == (0, 147, 0, 148) and fit.view(1242, 375).inside == (1064, 321)
    assert fit.view(1064, 616).is_identity and not view.is_identity
    K = torch.tensor([[[500.0, 0, 319.5], [0, 520.0, 239.5], [0, 0, 1]]], dtype=torch.float64)
    expected = [[500 * 821 / 640, 0, 320 * 821 / 640 - 0.5 + 121], [0, 520 * 616 / 480, 307.5], [0, 0, 1]]
    np.testing.assert_allclose(intrinsics_in_input(view, K)[0].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("size", [(60, 90), (90, 60)])
def test_the_margin_of_a_letterbox_is_mean_colour_and_is_cut_from_the_result(size):
    width, height = size
    image = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8)
    network = Constant(torch.full((1, 48, 96), torch.nan), torch.full((1, 48, 96), torch.nan))
    view = Fit("letterbox", 96, 48).view(width, height)
    left, top, right, bottom = view.margin
    inside = (slice(None), slice(top, 48 - bottom), slice(left, 96 - right))
    for result, value in zip(network.results, (4.0, 0.5)):
        result[inside] = value
    depth, std = fitted(network, "depth", Fit("letterbox", 96, 48))(image, torch.eye(3)[None])
    torch.testing.assert_close(depth, torch.full((1, height, width), 4.0))
    torch.testing.assert_close(std, torch.full((1, height, width), 0.5))
    given = network.inputs[0].clone()
    resized = F.interpolate(
        image.permute(0, 3, 1, 2).float(), view.inside[::-1], mode="bilinear", antialias=True
    )
    torch.testing.assert_close(given[inside], resized.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-2)
    given[inside] = torch.tensor([123.675, 116.28, 103.53])
    torch.testing.assert_close(given, torch.tensor([123.675, 116.28, 103.53]).expand(given.shape))


def test_labels_and_disparity_of_a_letterbox_are_those_of_the_image():
    """By hand: 64x96 into 96x48 is 32x48, half its size, with 32 px on both sides."""
    fit, image = Fit("letterbox", 96, 48), torch.zeros(1, 96, 64, 3, dtype=torch.uint8)
    disparity = torch.arange(96.0).expand(1, 48, 96)
    found = fitted(Constant(disparity), "stereo_depth", fit)(image, image)
    torch.testing.assert_close(found[0, 50, 1:-1], 2 * (32 + (torch.arange(1, 63) + 0.5) / 2 - 0.5))
    labels = torch.arange(48 * 96, dtype=torch.int32).reshape(1, 48, 96)
    depth, planes = torch.ones(1, 48, 96), torch.rand(1, 6, 4)
    _, _, found = fitted(Constant(depth, planes, labels), "planes", fit)(image, torch.eye(3)[None])
    assert torch.equal(found[:, ::2, ::2], labels[:, :, 32:64])


def test_other_fits_leave_images_as_they_are():
    for mode in ("aspect", "width"):
        view = Fit(mode, 512, 256, CITYSCAPES).view(640, 480)
        assert view == View(640, 480, 0, 0, 640, 480, 640, 480) and view.is_identity
    assert not Fit("stretch", 512, 256).view(640, 480).is_identity
    model = nn.Identity()
    assert fitted(model, "depth", Fit("aspect", 512, 256)) is model


@pytest.mark.parametrize("size", [(50, 20), (20, 50), (37, 37), (150, 90)])
def test_images_are_resized_with_antialiasing(size):
    """As by an independent implementation, whose filter is that of PIL, with which training images were resized."""
    image = torch.randint(0, 256, (1, 60, 90, 3), dtype=torch.uint8)
    found = image_in_input(Fit("stretch", *size).view(90, 60), image)
    expected = F.interpolate(image.permute(0, 3, 1, 2).float(), size[::-1], mode="bilinear", antialias=True)
    torch.testing.assert_close(found.permute(0, 3, 1, 2), expected, rtol=1e-4, atol=1e-2)


def test_weights_average_where_a_row_gets_shorter_and_interpolate_where_it_gets_longer():
    shorter, longer = (resize_weights(4, n, torch.device("cpu")) for n in (2, 8))
    torch.testing.assert_close(shorter[0], torch.tensor([3, 3, 1, 0]) / 7)
    torch.testing.assert_close(longer[3], torch.tensor([0.0, 0.75, 0.25, 0.0]))


@pytest.mark.parametrize("fit", [Fit("stretch", 416, 128, CITYSCAPES), Fit("crop", 304, 228, NYU)])
def test_intrinsics_follow_the_window_and_its_size(fit):
    camera = Camera.pinhole(1280, 720, 900.0, 910.0, 633.0, 370.0)
    view = fit.view(1280, 720)
    expected = camera.cropped(view.left, view.top, view.width, view.height).resized(fit.width, fit.height).K
    found = intrinsics_in_input(view, torch.from_numpy(camera.K)[None])[0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


class DepthOfX(nn.Module):
    """1 / depth is linear along the row: a function of the position on the sensor, in the geometry of the input."""

    def forward(self, image, intrinsics):
        assert image.shape[1:3] == (48, 96)
        u = torch.arange(96.0)
        x = (u - intrinsics[:, 0, 2, None]) / intrinsics[:, 0, 0, None]
        return (1 / (2 + x))[:, None].expand(-1, 48, -1)


@pytest.mark.parametrize("fit", [Fit("stretch", 96, 48), Fit("stretch", 96, 48, (0.25, 0.25, 0.75, 1.0)),
                                 Fit("crop", 96, 48), Fit("letterbox", 96, 48)])  # fmt: skip
@pytest.mark.parametrize("size", [(200, 120), (64, 48)])
def test_depth_is_at_the_pixels_of_the_camera(fit, size):
    """At every pixel inside the window, except for the outermost, which are not extrapolated; NaN outside."""
    width, height = size
    K = torch.tensor([[[120.0, 0, 95], [0, 120.0, 60], [0, 0, 1]]])
    depth = fitted(DepthOfX(), "depth", fit)(torch.zeros(1, height, width, 3, dtype=torch.uint8), K)
    assert depth.shape == (1, height, width)
    view = fit.view(width, height)
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[view.top : view.top + view.height, view.left : view.left + view.width] = True
    assert torch.equal(torch.isfinite(depth[0]), inside)
    edge = int(view.width / 96) + 1
    columns = slice(view.left + edge, view.left + view.width - edge)
    expected = 1 / (2 + (torch.arange(float(width)) - 95) / 120)
    row = view.top + view.height // 2
    torch.testing.assert_close(depth[0, row, columns], expected[columns], rtol=1e-4, atol=0)


class Constant(nn.Module):
    """Returns fixed results for inputs of 96x48."""

    def __init__(self, *results):
        super().__init__()
        self.results = results

    def forward(self, *inputs):
        self.inputs = inputs
        return self.results if len(self.results) > 1 else self.results[0]


def test_invalid_depth_stays_invalid_and_does_not_spread():
    depth = torch.full((1, 48, 96), 4.0)
    depth[:, 12:24, 24:48] = torch.nan
    found = fitted(Constant(depth), "depth", Fit("stretch", 96, 48))(
        torch.zeros(1, 96, 192, 3, dtype=torch.uint8), torch.eye(3)[None]
    )[0]
    assert torch.isnan(found[24:48, 48:96]).all()
    found[24:48, 48:96] = 4.0
    torch.testing.assert_close(found, torch.full((96, 192), 4.0))


def test_disparity_is_in_pixels_of_the_image():
    """A tenth of the width of the window, whatever its size."""
    disparity, std = torch.full((1, 48, 96), 9.6), torch.full((1, 48, 96), 0.5)
    image = torch.zeros(1, 100, 200, 3, dtype=torch.uint8)
    stretched = fitted(Constant(disparity, std), "stereo_depth", Fit("stretch", 96, 48))
    found, deviation = stretched(image, image)
    torch.testing.assert_close(found, torch.full((1, 100, 200), 20.0))
    torch.testing.assert_close(deviation, torch.full((1, 100, 200), 0.5 * 200 / 96))
    half = fitted(Constant(disparity), "stereo_depth", Fit("stretch", 96, 48, (0.0, 0.0, 1.0, 0.5)))
    found = half(image, image)
    torch.testing.assert_close(found[:, :50], torch.full((1, 50, 200), 20.0))
    assert torch.isnan(found[:, 50:]).all()


def test_labels_are_those_of_the_nearest_pixel_in_both_directions():
    labels = torch.arange(48 * 96, dtype=torch.int32).reshape(1, 48, 96) % 7 - 1
    depth, planes = torch.ones(1, 48, 96), torch.rand(1, 6, 4)
    model = fitted(Constant(depth, planes, labels), "planes", Fit("stretch", 96, 48, (0.0, 0.0, 1.0, 0.5)))
    _, same, found = model(torch.zeros(1, 192, 192, 3, dtype=torch.uint8), torch.eye(3)[None])
    assert torch.equal(same, planes) and found.dtype == torch.int32
    assert torch.equal(found[:, :96], labels.repeat_interleave(2, 1).repeat_interleave(2, 2))
    assert (found[:, 96:] == -1).all()

    instances = torch.randint(0, 4, (1, 3, 96, 192), dtype=torch.uint8)
    network = Constant(torch.eye(4)[None, None], torch.ones(1, 1))
    images = torch.zeros(1, 3, 96, 192, 3, dtype=torch.uint8)
    fitted(network, "object_motion", Fit("stretch", 96, 48))(images, instances, torch.eye(3)[None])
    assert network.inputs[0].shape == (1, 3, 48, 96, 3)
    assert torch.equal(network.inputs[1].to(torch.uint8), instances[:, :, ::2, ::2])


def test_an_image_of_the_trained_size_is_not_changed():
    image = torch.randint(0, 256, (1, 48, 96, 3), dtype=torch.uint8)
    network = Constant(torch.rand(1, 48, 96) + 1)
    K = torch.tensor([[[70.0, 0, 40], [0, 71.0, 20], [0, 0, 1]]])
    found = fitted(network, "depth", Fit("stretch", 96, 48, WHOLE))(image, K)
    assert torch.equal(found, network.results[0])
    assert torch.equal(network.inputs[0], image.float()) and torch.equal(network.inputs[1], K)


class Filter(nn.Module):
    """A convolution of the image, at the size 96x48, as depth or disparity."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, image, other):
        assert image.shape[1:3] == (48, 96)
        return 5 + self.conv(image.permute(0, 3, 1, 2) / 255)[:, 0]


@pytest.mark.parametrize("task", ["depth", "stereo_depth"])
@pytest.mark.parametrize("fit", [Fit("stretch", 96, 48), Fit("crop", 96, 48, (0.0, 0.25, 1.0, 1.0)),
                                 Fit("letterbox", 96, 48)])  # fmt: skip
def test_network_and_geometry_are_exported_as_one_program(task, fit):
    """Strictly, so that every compiler gets all of it; the images are converted before anything else."""
    image = torch.randint(0, 256, (1, 70, 110, 3), dtype=torch.uint8)
    other = image.flip(2) if task == "stereo_depth" else torch.eye(3)[None]
    model = fitted(Filter(), task, fit).eval()
    with torch.no_grad():
        program = torch.export.export(model, (image, other), strict=True)
        torch.testing.assert_close(program.module()(image, other), model(image, other), equal_nan=True)
    inputs = [n for n in program.graph.nodes if n.op == "placeholder" and n.meta["val"].dtype == torch.uint8]
    targets = {str(user.target) for node in inputs for user in node.users}
    assert inputs and targets <= {"aten.to.dtype", "aten._assert_tensor_metadata.default"}
