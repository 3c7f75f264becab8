"""hugging_face: any depth network of the `transformers` library under the contract of depth_ros.

Depth Anything V1 and V2 (Yang et al. 2024), their metric checkpoints included, DPT (Ranftl et al. 2021), ZoeDepth
(Bhat et al. 2023), GLPN (Kim et al. 2022), Depth Pro (Bochkovskii et al. 2024). `depth_ros import hugging_face
FOLDER` makes a model of what `save_pretrained` or a download left in a folder. Code and weights have licences of
their own: the card says what the folder said.

The library is optional: pip install transformers. Its own code builds the network; nothing that a checkpoint
brings along is run.
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

TASK = "depth"
KINDS = ("depth_anything", "dpt", "zoedepth", "glpn", "depth_pro")
"""`model_type` of the configurations that are known."""
NETWORKS: dict[str, Callable[[], nn.Module]] = {}
"""None of our own."""
FARTHEST = 1e4
"""m, or the inverse of the smallest inverse depth: where a network says "infinitely far"."""


@dataclass(frozen=True)
class Settings:
    """What a folder of transformers says of its network, as it says it."""

    config: str = setting("{}", "content of config.json")
    processor: str = setting("{}", "content of preprocessor_config.json: means and deviations of the image")


def parsed(settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both files as mappings. DepthRosError if the first names no known kind of network."""
    config, processor = json.loads(settings.config), json.loads(settings.processor)
    kind = config.get("model_type", "nothing")
    if kind not in KINDS:
        raise DepthRosError(f"hugging_face: model_type is '{kind}'; known are {', '.join(KINDS)}")
    return config, processor


def scale_of(config: Mapping[str, Any]) -> str:
    """What the depth of such a network is, as a card states it.

    DPT was trained for inverse depth up to scale and shift, but for checkpoints with a head for metres, which cannot
    be told from the configuration: their card has to be corrected by hand.
    """
    if config["model_type"] == "depth_anything":
        return "metric" if config.get("depth_estimation_type") == "metric" else "affine_inverse"
    return "affine_inverse" if config["model_type"] == "dpt" else "metric"


class Model(nn.Module):
    """The contract of a depth model around a network of transformers."""

    gain: Tensor
    offset: Tensor

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        config, processor = parsed(settings)
        self.kind, self.scale = config["model_type"], scale_of(config)
        self.network = _build(config)
        self.size_multiple = _multiple(config)
        self.side = _side(config)
        scale = processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1.0
        plain = not processor.get("do_normalize", self.kind != "glpn")  # GLPN's processor only rescales
        mean = [0.0] * 3 if plain else processor.get("image_mean", [0.5] * 3)
        std = [1.0] * 3 if plain else processor.get("image_std", [0.5] * 3)
        self.register_buffer("gain", scale / torch.tensor(std, device="cpu")[:, None, None], persistent=False)
        offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)])[:, None, None]
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        """Depth (B, H, W) float32; its inverse is right up to scale and shift where `scale` is affine_inverse."""
        height, width = image.shape[1:3]
        x = image.float().permute(0, 3, 1, 2) * self.gain + self.offset
        if self.side:
            x = F.interpolate(x, (self.side, self.side), mode="bilinear", align_corners=False)
        said = self.network(pixel_values=x.to(next(self.network.parameters()).dtype)).predicted_depth.float()
        said = F.interpolate(said[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]
        if self.scale == "affine_inverse":
            return 1 / said.clamp(1 / FARTHEST, FARTHEST)
        if self.kind == "depth_pro":  # inverse depth of a camera whose focal length is its width
            return (intrinsics[:, 0, 0] / width)[:, None, None] / said.clamp(1 / FARTHEST, FARTHEST)
        return torch.where(said > 0, said, torch.nan)


def _build(config: dict[str, Any]) -> nn.Module:
    """The network with the weights that its constructor gives it, float32."""
    try:
        from transformers import AutoModelForDepthEstimation
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    except ImportError as error:
        raise DepthRosError("family hugging_face needs another package: pip install transformers") from error
    wanted = {key: value for key, value in config.items() if key not in ("dtype", "torch_dtype")}
    if config["model_type"] == "depth_pro":
        wanted["use_fov_model"] = False  # the focal length is known
    made = CONFIG_MAPPING[config["model_type"]].from_dict(wanted)
    try:
        network = AutoModelForDepthEstimation.from_config(made).float()
    except (ValueError, ImportError) as error:  # the library's words for what it cannot build
        raise DepthRosError(f"hugging_face: transformers cannot build this network: {error}") from error
    if config["model_type"] == "zoedepth":  # BEiT's fused attention with a bias has no form in ONNX
        network.set_attn_implementation("eager")
    return network


def _side(config: Mapping[str, Any]) -> int:
    """px of the square that a network insists on, whatever the shape of the image; 0 = none."""
    if config["model_type"] == "depth_pro":
        ratios = config.get("scaled_images_ratios", (0.25, 0.5, 1))
        return int(config.get("patch_size", 384) / min(ratios))
    any_shape = config["model_type"] != "dpt" or (
        config.get("backbone_config") and not config.get("is_hybrid")
    )
    return 0 if any_shape else int(config.get("image_size", 384))


def _multiple(config: Mapping[str, Any]) -> int:
    """px that width and height must be multiples of."""
    if _side(config) or config["model_type"] == "glpn":
        return 32
    backbone = config.get("backbone_config") or {}
    return int(config.get("patch_size") or backbone.get("patch_size") or 16)


def loss(model: Model, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """These networks come trained."""
    raise DepthRosError(
        "family hugging_face is not trained here: use the library of its authors, then import"
    )


def initialise(model: Model) -> None:
    """Nothing: weights come with the import."""
