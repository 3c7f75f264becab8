"""Drawing of a network: one bar for every convolution, in the order of execution."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from html import escape
from typing import Any

import torch
from torch import Tensor, nn

from depth_ros.networks import model_class

WIDTH, HEIGHT, FOOT = 1080, 210, 44
LIGHTEST, DARKEST = 235, 90
"""Grey level of maps with few and with many channels."""


@dataclass(frozen=True)
class Layer:
    """Output of a convolution: channels, rows, columns."""

    channels: int
    height: int
    width: int

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"


def layers(
    family: str, task: str, size: tuple[int, int], settings: dict[str, Any]
) -> tuple[list[Layer], int]:
    """The convolutions of a model at an image size (width, height), in order, and its number of parameters."""
    module = importlib.import_module(f"depth_ros.networks.{family}")
    found: list[Layer] = []

    def record(_: nn.Module, __: object, output: Tensor) -> None:
        if output.ndim == 4:
            found.append(Layer(*output.shape[1:]))

    device = "cpu" if task == "planes" else "meta"  # their geometry does not run on the meta device
    with torch.device(device), torch.inference_mode():
        model = model_class(family, task)(module.Settings(**settings)).eval()
        for each in model.modules():
            if isinstance(each, nn.Conv2d | nn.ConvTranspose2d):
                each.register_forward_hook(record)
        model(*_inputs(task, size, settings.get("frames", 3)))
    return found, sum(parameter.numel() for parameter in model.parameters())


def _inputs(task: str, size: tuple[int, int], frames: int) -> tuple[Tensor, ...]:
    """Inputs of the contract without values."""
    width, height = size
    image = torch.empty(1, height, width, 3, dtype=torch.uint8)
    K = torch.empty(1, 3, 3)
    if task == "stereo_depth":
        return image, image
    if task == "ego_motion":
        return torch.empty(1, frames, height, width, 3, dtype=torch.uint8), K
    return image, K


def draw(title: str, drawn: list[Layer], parameters: int) -> str:
    """SVG of the layers: a bar's height is the number of rows (square root), its shade that of channels (logarithm)."""
    step = min(WIDTH / len(drawn), 40)
    tallest, most = max(layer.height for layer in drawn), max(layer.channels for layer in drawn)
    parts, last_label = [], -100.0
    for i, layer in enumerate(drawn):
        bar = max((HEIGHT - FOOT - 24) * math.sqrt(layer.height / tallest), 2)
        grey = LIGHTEST - (LIGHTEST - DARKEST) * math.log(layer.channels + 1) / math.log(most + 1)
        x, y = i * step, HEIGHT - FOOT - bar
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(step - 1, 1):.1f}" height="{bar:.1f}" '
            f'fill="rgb({0.5 * grey:.0f},{0.85 * grey:.0f},{0.8 * grey:.0f})"/>'
        )
        if (i == 0 or layer.size != drawn[i - 1].size) and x - last_label > 78 and x < WIDTH - 70:
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - FOOT + 16}">{layer.size}</text>')
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - FOOT + 32}">{layer.channels}</text>')
            last_label = x
    text = f"{title}: {len(drawn)} convolutions, {parameters / 1e6:.1f} million parameters. Below: size, channels"
    return (
        f'<svg class="network" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(text)}">'
        f'<text x="0" y="14">{escape(text)}</text>{"".join(parts)}</svg>'
    )
