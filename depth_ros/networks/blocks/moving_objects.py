"""Moving objects in clips of three frames, for the loss of struct2depth (Casser et al., AAAI 2019).

Frames are warped into the view of the middle camera; there each object is moved by its own motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from depth_ros.networks.blocks.synthesis import in_image, project, sample, transform_points, warp

MIN_OBJECT_PIXELS = 16
"""Pixels that an object must have in each of the three frames; smaller ones are treated as background."""


@dataclass(frozen=True)
class TrackedObjects:
    """The P objects of a batch that are visible in all three frames of their clip.

    owner: (B, 3, H, W) int64, p + 1 at the pixels of object p, 0 for the background. clip: (P,) clip of each object.
    label: (P,) its id in the labels. masks: (P, 3, H, W) float, 1 at its pixels.
    """

    owner: Tensor
    clip: Tensor
    label: Tensor
    masks: Tensor


def track_objects(labels: Tensor) -> TrackedObjects:
    """The objects of instance labels (B, 3, H, W), 0 = background, one id per object in all frames of a clip."""
    flat = labels.flatten(2).long()
    pixels = flat.new_zeros(*flat.shape[:2], 256).scatter_add(2, flat, torch.ones_like(flat))
    tracked = (pixels >= MIN_OBJECT_PIXELS).all(1)  # (B, 256)
    tracked[:, 0] = False
    number = tracked.flatten().cumsum(0).view_as(tracked) * tracked
    owner = number[:, None].expand(-1, 3, -1).gather(2, flat).unflatten(2, labels.shape[2:])
    clip, label = tracked.nonzero(as_tuple=True)
    numbers = torch.arange(1, len(clip) + 1, device=labels.device)[:, None, None, None]
    return TrackedObjects(owner, clip, label, (owner[clip] == numbers).float())


def warp_to_middle(frames: Tensor, depth: Tensor, sources: tuple[Tensor, Tensor], K: Tensor) -> Tensor:
    """Frames (B, 3, C, H, W) warped into the middle camera.

    depth: (B, 1, H, W) of the middle frame. sources: T_first_middle and T_last_middle (B, 4, 4).
    """
    first, last = (warp(frames[:, i], depth, T, K)[0] for i, T in zip((0, 2), sources, strict=True))
    return torch.stack([first, frames[:, 1], last], 1)


def synthesise_middle(
    frames: Tensor, owner: Tensor, depth: Tensor, K: Tensor, motions: Tensor | None
) -> list[Tensor]:
    """The middle frame (B, 3, H, W) synthesised from the first and from the last: background and moved objects.

    frames: (B, 3, 3, H, W), of `warp_to_middle`. owner: see `TrackedObjects`. motions: (P, 2, 4, 4) of the objects, or
    None. Only pixels of objects are transformed, which are a small part of the image.
    """
    clip, row, column = (owner[:, 1] > 0).nonzero(as_tuple=True)
    number = owner[clip, 1, row, column] - 1
    synthesised = []
    for i, source in enumerate((0, 2)):
        background = ((owner[:, source] == 0) & (owner[:, 1] == 0))[:, None]
        image = frames[:, source] * background
        if motions is not None:
            z = depth[clip, 0, row, column]
            x = (column - K[clip, 0, 2]) / K[clip, 0, 0]
            y = (row - K[clip, 1, 2]) / K[clip, 1, 1]
            points = torch.stack([x * z, y * z, z], 1)[:, :, None, None]
            pixels = project(transform_points(motions[number, i], points), K[clip])
            values = _sample_each(frames[:, source], clip, pixels)
            image = image.permute(0, 2, 3, 1).index_put((clip, row, column), values).permute(0, 3, 1, 2)
        synthesised.append(image)
    return synthesised


def _sample_each(images: Tensor, index: Tensor, pixels: Tensor) -> Tensor:
    """(N, C): for each of pixels (N, 2, 1, 1) the value of `sample` in image number index (N,) of (B, C, H, W)."""
    height, width = images.shape[2:]
    x, y = pixels[:, 0, 0, 0], pixels[:, 1, 0, 0]
    rows = y.clamp(0, height - 1) + index * height  # in all images, stacked vertically
    positions = torch.stack([x, rows])[None, :, None]
    atlas = images.transpose(0, 1).flatten(1, 2)[None]
    return sample(atlas, positions)[0, :, 0].T * in_image(pixels, height, width)[:, 0, 0]


def mask_heights(masks: Tensor) -> Tensor:
    """(P, 3) number of rows from the uppermost to the lowest pixel of masks (P, 3, H, W), both included."""
    rows = masks.amax(3) * torch.arange(1, masks.shape[2] + 1, device=masks.device)
    lowest, uppermost = rows.amax(2), torch.where(rows > 0, rows, torch.inf).amin(2)
    return lowest - uppermost + 1


def size_prior(depth: Tensor, objects: TrackedObjects, fy: Tensor, height: Tensor) -> Tensor:
    """The size prior of the paper: sum over objects and frames, mean over the clips, of `size_errors`.

    depth: (B, 3, H, W). fy: (B,) px. height: (P,) of the objects in units of depth, or () for all. The expected depth
    is fy * height / rows. The prior keeps the depth of objects that move with the camera from growing to infinity.
    """
    expected = (fy[objects.clip] * height)[:, None] / mask_heights(objects.masks)
    return size_errors(depth[objects.clip], objects.masks, expected).sum() / len(depth)


def released_size_prior(depth: Tensor, objects: TrackedObjects, fy: Tensor, height: Tensor) -> Tensor:
    """The size prior of the released code: the mean over the ids of a clip, of which the background is one, summed over
    frames and clips; an object is one row less high. Arguments as in `size_prior`; the background has the mean height.
    """
    background = (objects.owner == 0).float()
    count = 1 + torch.bincount(objects.clip, minlength=len(depth))
    total = depth.new_zeros(())
    clips = torch.arange(len(depth), device=depth.device)
    for clip, masks, size in ((objects.clip, objects.masks, height), (clips, background, height.mean())):
        rows = (mask_heights(masks) - 1).clamp(min=1)
        errors = size_errors(depth[clip], masks, (fy[clip] * size)[:, None] / rows)
        total = total + (errors / count[clip, None]).sum()
    return total


def size_errors(depth: Tensor, masks: Tensor, expected: Tensor) -> Tensor:
    """(P, 3): mean |depth - expected| on each mask (P, 3, H, W), divided by the mean of the depth map (P, 3, H, W)."""
    error = ((depth - expected[..., None, None]).abs() * masks).sum((2, 3)) / masks.sum((2, 3)).clamp(min=1)
    return error / depth.mean((2, 3))
