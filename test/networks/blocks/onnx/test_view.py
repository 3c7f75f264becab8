"""Values that are stored with other axes: arrangements equal what torch does with the value itself."""

from __future__ import annotations

import pytest
import torch

from depth_ros.networks.blocks.onnx.view import View

X = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)


def value(view: View) -> torch.Tensor:
    return view.arrangement(view.groups)(X)


def test_axes_are_permuted_split_joined_and_repeated():
    view = View.stored("x", X.shape)
    assert view.arrangement(view.groups).keeps((2, 3, 4, 6)) and view.sizes == (2, 3, 4, 6)
    last = view.permuted((0, 2, 3, 1))
    assert torch.equal(value(last), X.permute(0, 2, 3, 1)) and last.order == [0, 3, 1, 2]
    assert not last.arrangement(last.groups).keeps((2, 3, 4, 6))
    blocks = last.reshaped((2, 2, 2, 6, 3)).permuted((0, 1, 3, 2, 4)).reshaped((4, 6, 6))
    expected = X.permute(0, 2, 3, 1).reshape(2, 2, 2, 6, 3).permute(0, 1, 3, 2, 4).reshape(4, 6, 6)
    assert torch.equal(value(blocks), expected)
    tiled = last.tiled((1, 2, 1, 3))
    assert torch.equal(value(tiled), X.permute(0, 2, 3, 1).repeat(1, 2, 1, 3))
    assert torch.equal(value(tiled.reshaped((2, 2, 4, 18, 3))), value(tiled).reshape(2, 2, 4, 18, 3))


def test_axes_of_length_one_come_and_go_without_moving_anything():
    view = View.stored("x", X.shape)
    wide = view.reshaped((2, 1, 3, 4, 1, 6))
    assert wide.groups[1] == wide.groups[4] == () and wide.reshaped((2, 3, 4, 6)).groups == view.groups
    flat = wide.reshaped((2, 12, 6))
    assert flat.arrangement(flat.groups).order == (0, 1, 2) and flat.shape == (2, 3, 4, 6)


@pytest.mark.parametrize(("shape", "splits"), [
    ((3, 2, 4, 6), True), ((6, 2, 2, 6), True), ((4, 36), False), ((0,), False), ((2, 3, 4), False),
    ((6, 4, 3, 2, 2), False),
])  # fmt: skip
def test_a_shape_is_refused_where_an_axis_would_end_within_a_factor_of_another(shape, splits):
    view = View.stored("x", X.shape).permuted((3, 2, 1, 0))
    found = view.reshaped(shape)
    assert (found is not None) == splits
    if found is not None:
        assert torch.equal(value(found), X.permute(3, 2, 1, 0).reshape(shape))
