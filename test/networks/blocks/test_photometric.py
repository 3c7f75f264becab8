"""Photometric losses: means of windows, SSIM, image pyramids of clips."""

import torch
from torch.nn import functional as F

from depth_ros.networks.blocks.photometric import mean_3x3, ssim
from depth_ros.networks.blocks.video_images import half_size


def test_mean_of_windows_equals_average_pooling():
    images = torch.rand(2, 3, 9, 13)
    torch.testing.assert_close(mean_3x3(images), F.avg_pool2d(images, 3, 1))


def test_gradient_of_the_mean_equals_finite_differences():
    values = torch.rand(1, 2, 5, 6, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(mean_3x3, (values,))


def test_ssim_is_one_for_equal_images_and_low_for_a_negative():
    image = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(ssim(image, image), torch.ones(1, 3, 6, 6))
    assert ssim(image, 1 - image).mean() < 0.2


def test_half_size_averages_each_frame_of_each_clip_separately():
    clips = torch.rand(2, 3, 3, 8, 12)
    small = half_size(clips)
    assert small.shape == (2, 3, 3, 4, 6)
    torch.testing.assert_close(small[1, 2], F.avg_pool2d(clips[1, 2], 2))
    torch.testing.assert_close(half_size(clips[0]), small[0])
