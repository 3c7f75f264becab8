"""Means that are made of slices are those of pooling, and so are their gradients."""

import torch
from torch.nn import functional as F

from depth_ros.networks.blocks.photometric import mean_3x3, ssim
from depth_ros.networks.blocks.video import halved


def test_mean_is_that_of_pooling():
    images = torch.rand(2, 3, 9, 13)
    torch.testing.assert_close(mean_3x3(images), F.avg_pool2d(images, 3, 1))


def test_gradient_of_the_mean():
    values = torch.rand(1, 2, 5, 6, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(mean_3x3, (values,))


def test_an_image_is_like_itself():
    image = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(ssim(image, image), torch.ones(1, 3, 6, 6))
    assert ssim(image, 1 - image).mean() < 0.2


def test_halved_keeps_the_clips_apart():
    clips = torch.rand(2, 3, 3, 8, 12)
    small = halved(clips)
    assert small.shape == (2, 3, 3, 4, 6)
    torch.testing.assert_close(small[1, 2], F.avg_pool2d(clips[1, 2], 2))
    torch.testing.assert_close(halved(clips[0]), small[0])
