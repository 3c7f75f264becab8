"""Fixed statistics for batch norms of released models that only ever used those of the current batch.

The result of such a model for an image depends on the other images of the batch and on every detail of its own content.
With statistics over images like the robot's, it is a function of the image alone.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from depth_ros.card import Card
from depth_ros.engine import engine_size
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify
from depth_ros.networks.blocks.fitted import fitted
from depth_ros.recordings import Recording, open_recording

IMAGES = 32
"""Number of inputs, evenly spread over the folder, over which the statistics are averaged."""


@torch.inference_mode()
def calibrate(model: nn.Module, card: Card, data: Path) -> Card:
    """Set the statistics of a model's batch norms to their means over images of a folder; returns the updated card.

    Raises DepthRosError if the folder has fewer images than one input of the model.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    folder = open_recording(data)
    if len(folder) < card.frames:
        raise DepthRosError(
            f"{data} has {len(folder)} images; one input of model {card.name} needs {card.frames}"
        )
    for norm in norms:
        norm.batch_statistics = False  # type: ignore[assignment]
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all inputs
        norm.train()
    starts = np.linspace(0, len(folder) - card.frames, min(IMAGES, len(folder) - card.frames + 1))
    run = fitted(model, card.task, card.input_fit)
    for start in starts.round().astype(int):
        run(*_inputs(folder, int(start), card))
    model.eval()
    note = f"batch norms calibrated on {len(starts)} images of {data.name}"
    settings = {**card.settings, "batch_statistics": False}
    return dataclasses.replace(card, settings=settings, description=f"{card.description}; {note}")


def _inputs(folder: Recording, start: int, card: Card) -> tuple[Tensor, ...]:
    """Inputs of a model of the card's task: consecutive images from `start` as an engine gets them, without objects."""
    images = []
    for index in range(start, start + card.frames):
        frame = folder[index].left
        image, camera = rectify(frame.image, frame.camera)
        size = engine_size(card, camera.width, camera.height)
        images.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    K = torch.from_numpy(camera.resized(*size).K).float()[None]
    stack = torch.from_numpy(np.stack(images))[None]
    if card.task == "object_motion":
        return stack, torch.zeros(stack.shape[:4], dtype=torch.uint8), K
    return (stack, K) if card.task == "ego_motion" else (stack[:, 0], K)
