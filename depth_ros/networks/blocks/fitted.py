"""A network that was trained at one size, for the images of any camera, with results in the geometry of the camera.

The images are stretched, cropped and resized, or resized into a margin, as those of its training were, and their
intrinsics follow; depth, disparity and labels are resized back, and invalid outside the crop. All of it is part of the
module that is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.networks.blocks.fit import Fit, View

MARGIN_COLOUR = (123.675, 116.28, 103.53)
"""The mean of ImageNet, which becomes zero where a network normalises by it."""


def image_in_input(view: View, image: Tensor) -> Tensor:
    """Images (..., H, W, 3) in 0..255 as input (..., h, w, 3) float32, resized with antialiasing."""
    x = _window(view, image.float().movedim(-1, -3))
    width, height = view.inside
    if view.height != height:
        x = resize_weights(view.height, height, x.device) @ x
    if view.width != width:
        x = x @ resize_weights(view.width, width, x.device).T
    if any(view.margin):
        colour = torch.tensor(MARGIN_COLOUR, device=x.device)[:, None, None]
        x = _with_margin(view, x - colour) + colour
    return x.movedim(-3, -1)


def channels_in_input(view: View, channels: Tensor) -> Tensor:
    """Labels or extra channels (B, N, H, W) as input (B, N, h, w) float32: those of the nearest pixels."""
    window = _window(view, channels.float())
    return _with_margin(view, F.interpolate(window, view.inside[::-1], mode="nearest"))


def intrinsics_in_input(view: View, K: Tensor) -> Tensor:
    """Intrinsics (B, 3, 3) of the image as those of the input."""
    sx, sy = view.scale
    # not a matrix product, which compilers may round to 16 bits
    x = sx * (K[:, 0] - view.left * K[:, 2]) + (0.5 * (sx - 1) + view.margin[0]) * K[:, 2]
    y = sy * (K[:, 1] - view.top * K[:, 2]) + (0.5 * (sy - 1) + view.margin[1]) * K[:, 2]
    return torch.stack([x, y, K[:, 2]], 1)


def depth_in_image(view: View, depth: Tensor) -> Tensor:
    """Depth (B, h, w) of the input as that of the image (B, H, W), interpolated linearly in inverse depth; NaN
    outside the window and where most of the depth that would be interpolated is NaN."""
    if view.is_identity:
        return depth
    valid = torch.isfinite(depth)
    inverse = torch.where(valid, 1 / torch.where(valid, depth, 1.0), 0.0)
    inverse, weight = _map_in_image(view, torch.stack([inverse, valid.float()], 1)).unbind(1)
    return torch.where(weight >= 0.5, weight / inverse.clamp(min=1e-9), torch.nan)


def std_in_image(view: View, std: Tensor) -> Tensor:
    """Standard deviation (B, h, w) m of depth of the input as that of the image (B, H, W); NaN outside the window and
    where any standard deviation that would be interpolated is NaN."""
    if view.is_identity:
        return std
    inside = _map_in_image(view, torch.ones_like(std)[:, None])[:, 0]
    return torch.where(inside >= 0.5, _map_in_image(view, std[:, None])[:, 0], torch.nan)


def disparity_in_image(view: View, disparity: Tensor) -> Tensor:
    """Disparity or its standard deviation (B, h, w), px of the input, as (B, H, W) px of the image."""
    inside = _map_in_image(view, torch.ones_like(disparity)[:, None])[:, 0]
    pixels = _map_in_image(view, disparity[:, None])[:, 0] / view.scale[0]
    return torch.where(inside >= 0.5, pixels, torch.nan)


def labels_in_image(view: View, labels: Tensor) -> Tensor:
    """Labels (B, h, w) int32 of the input as those of the image (B, H, W); -1 outside the window."""
    inside = _without_margin(view, labels.float()[:, None])
    window = F.interpolate(inside + 1, (view.height, view.width), mode="nearest")
    return (_padded(view, window)[:, 0] - 1).to(labels.dtype)


def _window(view: View, image: Tensor) -> Tensor:
    """The window of images (..., H, W)."""
    return image[..., view.top : view.top + view.height, view.left : view.left + view.width]


def _map_in_image(view: View, maps: Tensor) -> Tensor:
    """Maps (B, C, h, w) of the input as maps (B, C, H, W) of the image, zero outside the window."""
    size, maps = (view.height, view.width), _without_margin(view, maps)
    if maps.shape[-2:] != size:
        maps = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    return _padded(view, maps)


def _with_margin(view: View, maps: Tensor) -> Tensor:
    """Maps (..., h, w) of what is inside the margin of the input, with a margin of zeros."""
    left, top, right, bottom = view.margin
    return F.pad(maps, (left, right, top, bottom)) if any(view.margin) else maps


def _without_margin(view: View, maps: Tensor) -> Tensor:
    """Maps (..., h, w) of the input without its margin."""
    left, top, right, bottom = view.margin
    return maps[..., top : maps.shape[-2] - bottom, left : maps.shape[-1] - right]


def _padded(view: View, maps: Tensor) -> Tensor:
    right = view.image_width - view.left - view.width
    bottom = view.image_height - view.top - view.height
    if not (view.left or view.top or right or bottom):
        return maps
    return F.pad(maps, (view.left, right, view.top, bottom))


def resize_weights(size: int, new_size: int, device: torch.device) -> Tensor:
    """Weights (new_size, size) of the pixels of a row of `size` px in one of `new_size` px.

    A triangle filter, as wide as the larger of old and new pixel: linear interpolation where the row gets longer, and
    what PIL calls BILINEAR, which avoids aliasing, where it gets shorter.
    """
    scale = size / new_size
    centre = scale * (torch.arange(new_size, device=device, dtype=torch.float32) + 0.5) - 0.5
    distance = (centre[:, None] - torch.arange(size, device=device, dtype=torch.float32)).abs()
    weights = (1 - distance / max(scale, 1.0)).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


INPUTS: dict[str, tuple[Callable[[View, Tensor], Tensor], ...]] = {
    "depth": (image_in_input, intrinsics_in_input, channels_in_input),
    "stereo_depth": (image_in_input, image_in_input),
    "ego_motion": (image_in_input, intrinsics_in_input),
    "object_motion": (image_in_input, channels_in_input, intrinsics_in_input),
    "planes": (image_in_input, intrinsics_in_input),
}
"""Task -> how each input is adapted (see the contract in depth_ros.networks)."""


def _unchanged(view: View, result: Tensor) -> Tensor:
    return result


RESULTS: dict[str, tuple[Callable[[View, Tensor], Tensor], ...]] = {
    "depth": (depth_in_image, std_in_image),
    "stereo_depth": (disparity_in_image, disparity_in_image),
    "ego_motion": (_unchanged,),
    "object_motion": (_unchanged, _unchanged),
    "planes": (depth_in_image, _unchanged, labels_in_image),
}
"""Task -> how each result is adapted: motions and planes do not depend on the size of the image."""


class Fitted(nn.Module):
    """A model of task `task`, for images of any size instead of that of its training; same contract."""

    def __init__(self, model: nn.Module, task: str, fit: Fit) -> None:
        super().__init__()
        self.model, self.task, self.fit = model, task, fit
        self.size_multiple = 1
        self.deviations = getattr(model, "deviations", ())

    def forward(self, *inputs: Tensor) -> Any:
        """The results of the model, in the geometry of the given images."""
        height, width = (inputs[0].shape[axis] for axis in (-3, -2))
        view = self.fit.view(width, height)
        found = self.model(
            *(adapt(view, each) for adapt, each in zip(INPUTS[self.task], inputs, strict=False))
        )
        if isinstance(found, Tensor):
            return RESULTS[self.task][0](view, found)
        return tuple(adapt(view, each) for adapt, each in zip(RESULTS[self.task], found, strict=False))


def fitted(model: nn.Module, task: str, fit: Fit) -> nn.Module:
    """The model for images of any size: itself, unless its input has a fixed size."""
    return Fitted(model, task, fit) if fit.is_fixed else model
