"""hugging_face: depth networks of the transformers library.

Depth Anything V1 and V2 (Yang et al. 2024), including their metric checkpoints, DPT (Ranftl et al. 2021), ZoeDepth
(Bhat et al. 2023), GLPN (Kim et al. 2022), Depth Pro (Bochkovskii et al. 2024). `depth_ros import hugging_face FOLDER`
imports a folder written by `save_pretrained` or a download; for other kinds that the installed library has, `--scale`
says what they predict. Code and weights have their own licences; the card states that of the folder. Metric ones are
fine-tuned by `depth_ros train depth_anything --start MODEL`: the decoder alone, or with
`--set settings.train_encoder=true` all of the network.

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
KINDS = {
    "depth_anything": "affine_inverse",  # "metric" where the configuration says so
    "dpt": "affine_inverse",
    "zoedepth": "metric",
    "glpn": "metric",
    "depth_pro": "metric",
}
"""Values of `model_type` in the configuration whose output is known, and its scale. Of other kinds that the library
lists as depth networks, the user has to say it."""
NO_DEPTH = {
    "chmv2": "heights of trees seen from above",
    "prompt_depth_anything": "depth in the range of a depth image, their prompt, which depth_ros does not give them",
}
"""What kinds predict that the library lists as depth networks and that cannot be used."""
NETWORKS: dict[str, Callable[[], nn.Module]] = {}
"""Empty: the library builds the networks."""
MAX_DEPTH = 1e4
"""Maximum depth, m or 1 / minimum inverse depth, where a network predicts infinite depth."""


@dataclass(frozen=True)
class Settings:
    """The configuration of the network, as the library saved it."""

    config: str = setting("{}", "Content of config.json.")
    processor: str = setting("{}", "Content of preprocessor_config.json: normalisation of the image.")
    scale: str = setting(
        "",
        "What the network predicts: metric, depth in m; affine_inverse, inverse depth. Empty: as its kind does.",
    )
    train_encoder: bool = setting(
        False, "Training changes the encoder, too, not only what decodes its features."
    )


def parse(settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Content of config.json and preprocessor_config.json. Raises DepthRosError if they are not of a depth network."""
    config, processor = json.loads(settings.config), json.loads(settings.processor)
    if not config:
        raise DepthRosError(
            "family hugging_face has no weights of its own: import a folder with `depth_ros import hugging_face`; "
            "training starts from the result, `--start MODEL`"
        )
    kind = config.get("model_type", "missing")
    if kind in NO_DEPTH:
        raise DepthRosError(f"hugging_face: networks of model_type '{kind}' predict {NO_DEPTH[kind]}")
    if kind not in KINDS and kind not in (known := library_kinds()):
        raise DepthRosError(
            f"hugging_face: model_type '{kind}' is not a depth network of the installed transformers, which has "
            f"{', '.join(sorted(known))}"
        )
    return config, processor


def library_kinds() -> set[str]:
    """Values of `model_type` of all depth networks of the installed library. Raises DepthRosError without it."""
    try:
        from transformers.models.auto.modeling_auto import MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES as NAMES
    except ImportError as error:
        raise DepthRosError("family hugging_face needs transformers: pip install transformers") from error
    return set(NAMES)


def scale_of(config: Mapping[str, Any], stated: str = "") -> str:
    """Scale of the network's depth for the card: "metric" or "affine_inverse".

    stated: `Settings.scale`. DPT was trained for inverse depth up to scale and shift; its checkpoints with metric
    heads, which the configuration does not distinguish, need it. Raises DepthRosError for a kind of unknown scale.
    """
    kind = config["model_type"]
    if stated:
        return stated
    if kind not in KINDS:
        raise DepthRosError(
            f"hugging_face: whether networks of model_type '{kind}' predict depth in m or inverse depth is not known "
            "here: say --scale metric or --scale affine_inverse, as its model card states"
        )
    return "metric" if config.get("depth_estimation_type") == "metric" else KINDS[kind]


class Model(nn.Module):
    """A network of the transformers library with the contract of a depth model (see depth_ros.networks)."""

    gain: Tensor
    offset: Tensor

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        config, processor = parse(settings)
        self.kind, self.scale = config["model_type"], scale_of(config, settings.scale)
        self.network, complete = _build(config)
        if not settings.train_encoder:
            _encoder(self.network).requires_grad_(False)
        self.size_multiple, self.side = _multiple(complete), _side(complete)
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


def _build(config: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """The network with initial weights, float32, and its configuration with the library's defaults."""
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
    return network, library_config.to_dict()


def _encoder(network: nn.Module) -> nn.Module:
    """The part of a network of the library that was trained on other tasks before; of unknown kinds, none."""
    names = ("backbone", "dpt", "glpn", "depth_pro")
    return next(
        (module for name in names if (module := getattr(network, name, None)) is not None), nn.Module()
    )


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
