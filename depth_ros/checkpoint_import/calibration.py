"""Batch norms of released models that were only ever run with the statistics of the batch at hand.

What such a model says of an image depends on the others beside it, and on every detail of the one. Statistics over
images like those of the robot make it a function of the image alone.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from depth_ros.card import Card
from depth_ros.datasets import Folder, open_folder
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify

IMAGES = 32
"""How many images, evenly spread over the folder, the statistics are means over."""


@torch.inference_mode()
def calibrate(model: nn.Module, card: Card, data: Path) -> Card:
    """Give the batch norms of a model the mean statistics over images of a folder; returns its card with that said.

    Raises DepthRosError where the folder has fewer images than the model takes at once.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    folder = open_folder(data)
    if len(folder) < card.frames:
        raise DepthRosError(f"{data} has {len(folder)} images; model {card.name} needs {card.frames} at once")
    for norm in norms:
        norm.batch_statistics = False  # type: ignore[assignment]
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all that comes
        norm.train()
    starts = np.linspace(0, len(folder) - card.frames, min(IMAGES, len(folder) - card.frames + 1))
    for start in starts.round().astype(int):
        model(*_inputs(folder, int(start), card))
    model.eval()
    note = f"batch norms calibrated on {len(starts)} images of {data.name}"
    settings = {**card.settings, "batch_statistics": False}
    return dataclasses.replace(card, settings=settings, description=f"{card.description}; {note}")


def _inputs(folder: Folder, start: int, card: Card) -> tuple[Tensor, ...]:
    """What a model of the card's task takes, of neighbouring images at the card's size; no objects are marked."""
    images = []
    for index in range(start, start + card.frames):
        frame = folder[index].left
        image, camera = rectify(frame.image, frame.camera)
        images.append(cv2.resize(image, (card.width, card.height), interpolation=cv2.INTER_AREA))
    K = torch.from_numpy(camera.resized(card.width, card.height).K).float()[None]
    stack = torch.from_numpy(np.stack(images))[None]
    if card.task == "object_motion":
        return stack, torch.zeros(stack.shape[:4], dtype=torch.uint8), K
    return (stack, K) if card.task == "ego_motion" else (stack[:, 0], K)
