"""Both forms of the up-projection compute the same, and weights convert between them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks.up_projection import (
    FastUp,
    PlainUp,
    UpProjection,
    fast_state,
    plain_state,
)


@pytest.mark.parametrize("size", [(6, 7), (1, 1), (5, 2)])
def test_interleaved_form_equals_the_plain_form_and_converts_back(size):
    torch.manual_seed(0)
    plain = UpProjection(5, 4, PlainUp).double().eval()
    fast = UpProjection(5, 4, FastUp).double().eval()
    fast.load_state_dict(fast_state(plain.state_dict()))
    x = torch.randn(2, 5, *size, dtype=torch.float64)
    assert plain(x).shape == (2, 4, 2 * size[0], 2 * size[1])
    torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=1e-10)
    converted = plain_state(fast.state_dict())
    assert converted.keys() == plain.state_dict().keys()
    assert all(torch.equal(converted[key], value) for key, value in plain.state_dict().items())


def test_plain_form_is_a_transposed_convolution():
    torch.manual_seed(0)
    up, x = PlainUp(3, 2).double(), torch.randn(1, 3, 4, 5, dtype=torch.float64)
    kernel = up.conv.weight.flip(2, 3).transpose(0, 1)
    expected = F.conv_transpose2d(x, kernel, up.conv.bias, 2, 2, 1)
    torch.testing.assert_close(up(x), expected, rtol=0, atol=1e-10)


def test_zeros_before_shift_odd_rows_and_columns_by_one_input_pixel():
    torch.manual_seed(0)
    after, before = FastUp(2, 3).double(), FastUp(2, 3, zeros="before").double()
    before.load_state_dict(after.state_dict())
    x = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    a, b = after(x), before(x)
    torch.testing.assert_close(b[..., ::2, ::2], a[..., ::2, ::2])
    torch.testing.assert_close(b[..., 3::2, ::2], a[..., 1:-2:2, ::2])
    torch.testing.assert_close(b[..., ::2, 3::2], a[..., ::2, 1:-2:2])
    assert (a - b).abs().max() > 0.1


def test_different_biases_have_no_plain_form():
    torch.manual_seed(0)
    with pytest.raises(DepthRosError, match="biases of its four interleaved kernels differ"):
        plain_state(UpProjection(2, 2, FastUp).state_dict())
