"""onnx: any network of the task depth or stereo_depth that its authors, or users, saved as an ONNX graph.

`depth_ros import onnx FILE` stores the graph as JSON beside the card, and its weights as safetensors; see
`blocks.onnx.graph`. Normalisation, padding, the meaning of the outputs and the rule for the focal length are settings,
stored in the card, and part of the module that is compiled. Code and weights have the licence of their authors.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.config import setting
from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks.focal_length import mean_focal_length
from depth_ros.networks.blocks.onnx.graph import Graph

TASK = "depth"
NETWORKS: dict[str, Callable[[], nn.Module]] = {}
"""Empty: the networks are those of the imported files."""
FILE = "graph.json"
"""The graph in the folder of a model."""
MAX_DEPTH = 1e4
"""Maximum depth, m or 1 / minimum inverse depth, where a network predicts infinite depth."""
INPUTS = (
    "image", "left", "right", "pair", "left_half", "right_half", "intrinsics", "rays", "focal_length",
)  # fmt: skip
OUTPUTS = (
    "depth", "inverse_depth", "log_depth", "points", "disparity", "flow", "std", "log_std", "confidence", "valid",
    "sky", "scale", "",
)  # fmt: skip
DEPTHS, DISPARITIES = OUTPUTS[:4], OUTPUTS[4:6]
CHANNELS = {"points": 3, "flow": 2}
"""Channels of the outputs that are not maps of one value."""
SHIFT_STEPS = 8
"""Gauss-Newton steps for the shift of a point map; it changes by less than 1e-4 of the depth after four."""


@dataclass(frozen=True)
class Settings:
    """What a graph's inputs and outputs mean.

    inputs: one of INPUTS for each input of the graph. image, left, right: (B, 3, h, w), normalised. pair: left and
    right, stacked along the channels. left_half, right_half: at half their size. intrinsics: (B, 3, 3) px. rays: unit
    vectors (B, 3, h, w) through the pixels. focal_length: (B,) px.

    outputs: one of OUTPUTS for each output of the graph, "" if it is not used. depth, inverse_depth, log_depth,
    disparity (px of the input): maps. points: 3-D points, whose z is depth. flow: (B, 2, h, w), whose x is disparity.
    std, log_std: of the depth or disparity, in its unit. confidence, valid, sky: maps with the thresholds below.
    scale: a factor of all points.

    mean, std: of the channels in 0..1 (a graph that takes 0..255 has the standard deviation 1/255).
    """

    graph_sha256: str = setting("", "Checksum of graph.json.")
    inputs: list[str] = setting(["image"], "Meaning of each input of the graph.")
    outputs: list[str] = setting(["depth"], "Meaning of each output of the graph.")
    mean: list[float] = setting([0.485, 0.456, 0.406], "Mean of the channels in 0..1.")
    std: list[float] = setting([0.229, 0.224, 0.225], "Standard deviation of the channels in 0..1.")
    channels: str = setting("rgb", "Order of the channels.", choices=("rgb", "bgr", "grey"))
    layout: str = setting("nchw", "Axes of the images that the graph takes.", choices=("nchw", "nhwc"))
    multiple: int = setting(1, "Width and height of its input are multiples of this.", "px", 1, 512)
    padding: str = setting(
        "resize",
        "How images of another size become such multiples: by resizing, or by padding on the right and at the bottom.",
        choices=("resize", "replicate", "zeros"),
    )
    unit: float = setting(1.0, "Factor from the graph's result to m, 1/m or px.", "", -1e6, 1e6)
    canonical_focal_length: float = setting(
        0.0,
        "Depth is multiplied by the focal length divided by this; 0 = it is that of any camera.",
        "",
        0.0,
        1e5,
    )
    canonical_unit: str = setting(
        "px",
        "Unit of the focal lengths of this rule: px of the input, or widths of the image.",
        choices=("px", "width"),
    )
    solve_shift: bool = setting(
        False, "The points are known up to a shift along z, which the focal length determines."
    )
    max_depth: float = setting(0.0, "Farther pixels are NaN; 0 = no limit.", "m", 0.0, 1e5)
    min_confidence: float = setting(0.0, "Pixels with less confidence are NaN.", "", -1e9, 1e9)
    min_valid: float = setting(0.5, "Pixels with a smaller value of 'valid' are NaN.", "", -1e9, 1e9)
    max_sky: float = setting(0.3, "Pixels with a larger value of 'sky' are inf.", "", -1e9, 1e9)
    graph: str = setting("", "Content of graph.json; it is read from the folder of the model.")

    def __post_init__(self) -> None:
        for name, allowed in (("inputs", INPUTS), ("outputs", OUTPUTS)):
            for value in getattr(self, name):
                if value not in allowed:
                    raise DepthRosError(
                        f"onnx: {name} has '{value}'; allowed: {', '.join(map(repr, allowed))}"
                    )


def load_files(settings: Settings, folder: Path) -> Settings:
    """The settings with the graph in the folder of a model. Raises DepthRosError if it is missing or damaged."""
    file = folder / FILE
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DepthRosError(f"{file} cannot be read ({error}): import the model again") from error
    if hashlib.sha256(content).hexdigest() != settings.graph_sha256:
        raise DepthRosError(f"{file} is damaged: its sha256 is not that of the card; import the model again")
    return dataclasses.replace(settings, graph=content.decode())


class Wrapped(nn.Module):
    """A graph, and what its inputs and outputs mean."""

    task = ""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        if not settings.graph:
            raise DepthRosError(
                "family onnx has no networks of its own: `depth_ros import onnx FILE` imports one"
            )
        self.settings = settings
        self.network = Graph(settings.graph)
        self.size_multiple = settings.multiple if settings.padding == "resize" else 1
        self.has_std = bool({"std", "log_std"} & set(settings.outputs))
        self.deviations = (1,) if self.has_std else ()

    def run(self, images: dict[str, Tensor], intrinsics: Tensor | None = None) -> dict[str, Tensor]:
        """The outputs of the graph by meaning, for images (B, H, W, 3) uint8 by name; maps (B, H, W) or (B, C, H, W)
        float32."""
        height, width = next(iter(images.values())).shape[1:3]
        maps = {name: self.prepared(image) for name, image in images.items()}
        size = next(iter(maps.values())).shape[2:]
        found = self.network(*self.feeds(maps, intrinsics))
        results = {}
        for meaning, value in zip(self.settings.outputs, found, strict=True):
            if meaning == "scale":
                results[meaning] = value.float().reshape(-1, 1, 1)
            elif meaning:
                results[meaning] = _as_map(value, CHANNELS.get(meaning, 1), size)[..., :height, :width]
        return results

    def feeds(self, maps: dict[str, Tensor], intrinsics: Tensor | None) -> list[Tensor]:
        """The inputs of the graph. maps: (B, C, h, w) by meaning."""
        size = next(iter(maps.values())).shape[2:]
        if "left" in maps:
            halves = {f"{name}_half": F.avg_pool2d(x, 2) for name, x in maps.items()}
            maps = {**maps, **halves, "pair": torch.cat([maps["left"], maps["right"]], 1)}
        feeds = []
        for meaning, shape in zip(self.settings.inputs, self.network.input_shapes, strict=True):
            if meaning in maps:
                x = maps[meaning] if self.settings.layout == "nchw" else maps[meaning].permute(0, 2, 3, 1)
                feeds.append(x[:, None] if len(shape) == 5 else x[0] if len(shape) == 3 else x)
            elif intrinsics is None:
                raise DepthRosError(f"onnx: the input '{meaning}' is not known for this task")
            elif meaning == "focal_length":
                feeds.append(mean_focal_length(intrinsics).reshape([-1] + [1] * (len(shape) - 1)))
            else:
                feeds.append(intrinsics if meaning == "intrinsics" else _rays(intrinsics, *size))
        return feeds

    def prepared(self, image: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, C, h, w), normalised and padded."""
        settings = self.settings
        x = image.float().permute(0, 3, 1, 2)
        if settings.channels == "bgr":
            x = x.flip(1)
        elif settings.channels == "grey":  # ITU-R BT.601, as OpenCV converts
            x = (0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])[:, None]
        mean, std = (
            [each[0]] if settings.channels == "grey" else each for each in (settings.mean, settings.std)
        )
        gain = torch.tensor([1 / (255 * s) for s in std], device=x.device)[:, None, None]
        offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=x.device)[
            :, None, None
        ]
        x = x * gain + offset
        down, right = (-side % settings.multiple for side in x.shape[2:])
        if settings.padding == "resize" or not (down or right):
            return x
        mode = {"zeros": "constant", "replicate": "replicate"}[settings.padding]
        return F.pad(x, (0, right, 0, down), mode)


class DepthModel(Wrapped):
    """A graph with the contract of a depth model (see depth_ros.networks)."""

    task = "depth"

    def forward(self, image: Tensor, intrinsics: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Depth (B, H, W) float32, m or as the card's scale says, and its standard deviation if the graph has one."""
        found = self.run({"image": image}, intrinsics)
        meaning = next(name for name in DEPTHS if name in found)
        factor = self._factor(intrinsics, image.shape[2])
        depth = self._depth(meaning, found, intrinsics) * factor
        depth = torch.where(self._valid(found, depth), depth, torch.nan)
        if "sky" in found:
            depth = torch.where(found["sky"] < self.settings.max_sky, depth, torch.inf)
        if not self.has_std:
            return depth
        std = found["std"] if "std" in found else found["log_std"].exp()
        return depth, torch.where(torch.isfinite(depth), std * (self.settings.unit * factor), torch.nan)

    def _factor(self, intrinsics: Tensor, width: int) -> Tensor | float:
        """What the rule for the focal length multiplies depth by, (B, 1, 1)."""
        rule = self.settings
        if not rule.canonical_focal_length:
            return 1.0
        focal_length = mean_focal_length(intrinsics)[:, None, None]
        return focal_length / (
            rule.canonical_focal_length * (width if rule.canonical_unit == "width" else 1.0)
        )

    def _depth(self, meaning: str, found: dict[str, Tensor], intrinsics: Tensor) -> Tensor:
        value, unit = found[meaning], self.settings.unit
        if meaning == "inverse_depth":
            return 1 / (value * unit).clamp(1 / MAX_DEPTH, MAX_DEPTH)
        if meaning == "log_depth":
            return value.exp() * unit
        if meaning == "points":
            value = (
                _depth_of_points(value, intrinsics, found.get("valid"))
                if self.settings.solve_shift
                else value[:, 2]
            )
        return value * unit * found.get("scale", 1.0)

    def _valid(self, found: dict[str, Tensor], depth: Tensor) -> Tensor:
        settings = self.settings
        valid = depth > 0
        if settings.max_depth:
            valid = valid & (depth <= settings.max_depth)
        if "confidence" in found:
            valid = valid & (found["confidence"] >= settings.min_confidence)
        if "valid" in found:
            valid = valid & (found["valid"] >= settings.min_valid)
        return valid


class StereoModel(Wrapped):
    """A graph with the contract of a stereo model (see depth_ros.networks)."""

    task = "stereo_depth"

    def forward(self, left: Tensor, right: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Disparity (B, H, W) of the left image, px, and its standard deviation if the graph has one."""
        found = self.run({"left": left, "right": right})
        disparity = found["disparity"] if "disparity" in found else found["flow"][:, 0]
        disparity = disparity * self.settings.unit
        if "confidence" in found:
            disparity = torch.where(found["confidence"] >= self.settings.min_confidence, disparity, torch.nan)
        if not self.has_std:
            return disparity
        std = found["std"] if "std" in found else found["log_std"].exp()
        return disparity, std * abs(self.settings.unit)


Model = DepthModel
MODELS: dict[str, type[DepthModel] | type[StereoModel]] = {"depth": DepthModel, "stereo_depth": StereoModel}


def _as_map(value: Tensor, channels: int, size: tuple[int, ...]) -> Tensor:
    """An output, with any axes of length 1, as (B, h, w), or (B, channels, h, w) if there are more than one."""
    x = value.float()
    if channels > 1 and x.shape[-1] == channels:
        x = x.movedim(-1, -3)
    elif channels == 1 and x.shape[-1] == 1 and x.ndim > 3:
        x = x[..., 0]
    x = x.reshape(-1, channels, *x.shape[-2:])
    if x.shape[2:] != size:
        x = F.interpolate(x, size, mode="bilinear", align_corners=False)
    return x if channels > 1 else x[:, 0]


def _rays(K: Tensor, height: int, width: int) -> Tensor:
    """Unit vectors (B, 3, h, w) through the centres of the pixels."""
    v, u = torch.meshgrid(
        torch.arange(height, device=K.device, dtype=torch.float32),
        torch.arange(width, device=K.device, dtype=torch.float32),
        indexing="ij",
    )
    x = (u - K[:, 0, 2, None, None]) / K[:, 0, 0, None, None]
    y = (v - K[:, 1, 2, None, None]) / K[:, 1, 1, None, None]
    rays = torch.stack([x, y, torch.ones_like(x)], 1)
    return rays / rays.square().sum(1, keepdim=True).sqrt()


def _depth_of_points(points: Tensor, K: Tensor, valid: Tensor | None) -> Tensor:
    """Depth z + t of points (B, 3, h, w) whose shift t along z is unknown.

    t minimises the sum of |f (x, y) / (z + t) - (u, v)|^2 over the valid pixels, as in MoGe (Wang et al., CVPR 2025),
    by Gauss-Newton steps from t = 0, on a grid of at most 64 x 64 pixels.
    """
    rays = _rays(K, *points.shape[2:])
    rays = rays[:, :2] / rays[:, 2:]
    step = [max(1, side // 64) for side in points.shape[2:]]
    x, ray = (each[..., :: step[0], :: step[1]] for each in (points, rays))
    weight = torch.ones_like(x[:, 0]) if valid is None else (valid[:, :: step[0], :: step[1]] >= 0.5).float()
    shift = torch.zeros_like(points[:, 0, :1, :1])
    for _ in range(SHIFT_STEPS):
        z = (x[:, 2] + shift).clamp(min=1e-3)[:, None]
        projected = x[:, :2] / z
        slope = -projected / z
        error = (projected - ray) * weight[:, None]
        gain = (slope.square() * weight[:, None]).sum((1, 2, 3), keepdim=True)[:, 0].clamp(min=1e-9)
        shift = shift - (slope * error).sum((1, 2, 3), keepdim=True)[:, 0] / gain
    return points[:, 2] + shift


def loss(model: Wrapped, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Not supported: raises DepthRosError."""
    raise DepthRosError(
        "models of family onnx cannot be trained: train the network where it comes from, then import it"
    )


def initialise(model: Wrapped) -> None:
    """Does nothing: the weights are imported."""
