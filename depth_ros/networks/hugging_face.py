"""hugging_face: depth networks of the transformers library.

Depth Anything V1 and V2 (Yang et al. 2024), including their metric checkpoints, DPT (Ranftl et al. 2021), ZoeDepth
(Bhat et al. 2023), GLPN (Kim et al. 2022), Depth Pro (Bochkovskii et al. 2024). `depth_ros import hugging_face FOLDER`
imports a folder written by `save_pretrained` or a download. Code and weights have their own licences; the card states
that of the folder. Metric ones are fine-tuned by `depth_ros train depth_anything --start MODEL`: the decoder alone, or
with `--set settings.train_encoder=true` all of the network.

The library is optional: pip install transformers. Its own code builds the network; code in a checkpoint is not run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.config import setting
from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks.depth_loss import depth_loss

TASK = "depth"
KINDS = ("depth_anything", "dpt", "zoedepth", "glpn", "depth_pro")
"""Supported values of `model_type` in the configuration."""
NETWORKS: dict[str, Callable[[], nn.Module]] = {}
"""Empty: the library builds the networks."""
MAX_DEPTH = 1e4
"""Maximum depth, m or 1 / minimum inverse depth, where a network predicts infinite depth."""


@dataclass(frozen=True)
class Settings:
    """The configuration of the network, as the library saved it."""

    config: str = setting("{}", "Content of config.json.")
    processor: str = setting("{}", "Content of preprocessor_config.json: normalisation of the image.")
    train_encoder: bool = setting(
        False, "Training changes the encoder, too, not only what decodes its features."
    )


def parse(settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Content of config.json and preprocessor_config.json. Raises DepthRosError if `model_type` is not supported."""
    config, processor = json.loads(settings.config), json.loads(settings.processor)
    if not config:
        raise DepthRosError(
            "family hugging_face has no weights of its own: import a folder with `depth_ros import hugging_face`; "
            "training starts from the result, `--start MODEL`"
        )
    kind = config.get("model_type", "missing")
    if kind not in KINDS:
        raise DepthRosError(
            f"hugging_face: model_type '{kind}' is not supported; supported are {', '.join(KINDS)}"
        )
    return config, processor


def scale_of(config: Mapping[str, Any]) -> str:
    """Scale of the network's depth for the card: "metric" or "affine_inverse".

    DPT was trained for inverse depth up to scale and shift. There are checkpoints with metric heads, too, which the
    configuration does not distinguish; their cards have to be corrected by hand.
    """
    if config["model_type"] == "depth_anything":
        return "metric" if config.get("depth_estimation_type") == "metric" else "affine_inverse"
    return "affine_inverse" if config["model_type"] == "dpt" else "metric"


class Model(nn.Module):
    """A network of the transformers library with the contract of a depth model (see depth_ros.networks)."""

    gain: Tensor
    offset: Tensor

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        config, processor = parse(settings)
        self.kind, self.scale = config["model_type"], scale_of(config)
        self.network = _build(config)
        if not settings.train_encoder:
            _encoder(self.network).requires_grad_(False)
        self.size_multiple = _multiple(config)
        self.side = _side(config)
        scale = processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1.0
        normalise = processor.get("do_normalize", self.kind != "glpn")  # GLPN's processor only rescales
        mean = processor.get("image_mean", [0.5] * 3) if normalise else [0.0] * 3
        std = processor.get("image_std", [0.5] * 3) if normalise else [1.0] * 3
        self.register_buffer("gain", scale / torch.tensor(std, device="cpu")[:, None, None], persistent=False)
        offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)])[:, None, None]
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        """Depth (B, H, W) float32: m where `scale` is "metric", else with unknown scale and shift of its inverse."""
        height, width = image.shape[1:3]
        x = image.float().permute(0, 3, 1, 2) * self.gain + self.offset
        if self.side:
            x = F.interpolate(x, (self.side, self.side), mode="bilinear", align_corners=False)
        x = x.to(next(self.network.parameters()).dtype)
        predicted = self.network(pixel_values=x).predicted_depth.float()
        predicted = F.interpolate(predicted[:, None], (height, width), mode="bilinear", align_corners=False)[
            :, 0
        ]
        if self.scale == "affine_inverse":
            return 1 / predicted.clamp(1 / MAX_DEPTH, MAX_DEPTH)
        if self.kind == "depth_pro":  # predicts inverse depth for a focal length equal to the image width
            return (intrinsics[:, 0, 0] / width)[:, None, None] / predicted.clamp(1 / MAX_DEPTH, MAX_DEPTH)
        return torch.where(predicted > 0, predicted, torch.nan)


def _build(config: dict[str, Any]) -> nn.Module:
    """The network with initial weights, float32."""
    try:
        from transformers import AutoModelForDepthEstimation
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    except ImportError as error:
        raise DepthRosError("family hugging_face needs transformers: pip install transformers") from error
    options = {key: value for key, value in config.items() if key not in ("dtype", "torch_dtype")}
    if config["model_type"] == "depth_pro":
        options["use_fov_model"] = False  # the intrinsics are known
    library_config = CONFIG_MAPPING[config["model_type"]].from_dict(options)
    try:
        network = AutoModelForDepthEstimation.from_config(library_config).float()
    except (ValueError, ImportError) as error:  # the library's message tells why
        raise DepthRosError(f"hugging_face: transformers cannot build this network: {error}") from error
    if config["model_type"] == "zoedepth":  # BEiT's fused attention with bias cannot be exported to ONNX
        network.set_attn_implementation("eager")
    return network


def _encoder(network: nn.Module) -> nn.Module:
    """The part of a network of the library that was trained on other tasks before."""
    names = ("backbone", "dpt", "glpn", "depth_pro")
    return next(module for name in names if (module := getattr(network, name, None)) is not None)


def _side(config: Mapping[str, Any]) -> int:
    """Side, px, of the square input that a network requires, whatever the shape of the image; 0 = any shape."""
    if config["model_type"] == "depth_pro":
        ratios = config.get("scaled_images_ratios", (0.25, 0.5, 1))
        return int(config.get("patch_size", 384) / min(ratios))
    any_shape = config["model_type"] != "dpt" or (
        config.get("backbone_config") and not config.get("is_hybrid")
    )
    return 0 if any_shape else int(config.get("image_size", 384))


def _multiple(config: Mapping[str, Any]) -> int:
    """px that width and height of the input must be multiples of."""
    if _side(config) or config["model_type"] == "glpn":
        return 32
    backbone = config.get("backbone_config") or {}
    return int(config.get("patch_size") or backbone.get("patch_size") or 16)


def loss(model: Model, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Supervised loss of metric depth; terms as of `depth_loss`.

    batch: image (B, H, W, 3) uint8, intrinsics (B, 3, 3), depth (B, H, W) m with NaN for invalid pixels, weight
    (B, H, W) of each pixel. Raises DepthRosError for networks whose depth is not metric.
    """
    if model.scale != "metric":
        raise DepthRosError(
            f"this network ({model.kind}) estimates relative inverse depth, which cannot be trained with metric ground "
            "truth: start from a metric checkpoint"
        )
    depth = model(batch["image"], batch["intrinsics"])
    valid = torch.isfinite(batch["depth"]) & torch.isfinite(depth)
    error = torch.log(batch["depth"].where(valid, 1.0) / depth.where(valid, 1.0))
    return depth_loss(error, batch["weight"] * valid)


def initialise(model: Model) -> None:
    """Does nothing: the weights are imported."""
