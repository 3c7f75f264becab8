"""Import a folder saved by the transformers library, or a repository of the Hugging Face hub, as a model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from depth_ros.card import Card
from depth_ros.errors import DepthRosError
from depth_ros.networks import hugging_face
from depth_ros.training.export import save_model

DEFAULT_PIXELS = 518 * 518
"""Number of pixels of the input where the folder states no size."""
FILES = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json", "README.md")


def import_folder(source: str, out: Path, hub: bool = False, scale: str = "") -> Path:
    """Import a folder with config.json and safetensors; returns the folder of the model, below `out`.

    hub: download the repository OWNER/NAME of the Hugging Face hub if `source` is not a folder. scale: what the
    network predicts, see `hugging_face.Settings`. No code of the source is run. Raises DepthRosError if the source is
    not found, its kind of network is not supported or its scale not known, or weights are missing.
    """
    folder = Path(source)
    if not folder.is_dir():
        if not hub:
            raise DepthRosError(
                f"no folder '{source}': give a folder with config.json, or add --hub to download OWNER/NAME"
            )
        folder = _downloaded(source)
    config = _read(folder / "config.json")
    processor = (
        _read(folder / "preprocessor_config.json") if (folder / "preprocessor_config.json").is_file() else {}
    )
    settings = hugging_face.Settings(json.dumps(config), json.dumps(processor), scale)
    model = hugging_face.Model(settings)
    model.network = _network(folder, model)
    name = re.sub(r"[^a-z0-9]+", "_", Path(source).resolve().name.lower()).strip("_")
    width, height = _size(processor, model.size_multiple)
    card = Card(
        name=name, task="depth", family="hugging_face", width=width, height=height, scale=model.scale,
        licence=_licence(folder), sha256="",
        description=f"{config['model_type']} of the transformers library, from {source}",
        settings={"config": settings.config, "processor": settings.processor, **({"scale": scale} if scale else {})},
        training_data=["not stated: see the source of the weights"], recipe=f"depth_ros import hugging_face {source}",
        path=out / name,
    )  # fmt: skip
    save_model(model.eval(), card)
    return card.path


def _downloaded(repository: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise DepthRosError(
            "downloading from the hub needs huggingface_hub: pip install transformers"
        ) from error
    try:
        return Path(snapshot_download(repository, allow_patterns=list(FILES)))
    except Exception as error:  # network, names, access rights
        raise DepthRosError(f"'{repository}' cannot be downloaded: {str(error).splitlines()[0]}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise DepthRosError(
            f"{file} cannot be read ({error}): give a folder saved by the transformers library"
        ) from error


def _network(folder: Path, model: hugging_face.Model) -> torch.nn.Module:
    """The network with the weights of the folder, float32. Only safetensors are read, since pickles can run code."""
    from transformers import AutoModelForDepthEstimation

    try:
        network, loading_info = AutoModelForDepthEstimation.from_pretrained(
            folder, config=model.network.config, use_safetensors=True, local_files_only=True,
            torch_dtype=torch.float32, output_loading_info=True,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:
        raise DepthRosError(f"{folder}: {str(error).splitlines()[0]}") from error
    missing = sorted(loading_info["missing_keys"])
    if missing:
        raise DepthRosError(f"{folder} lacks {len(missing)} weights of its network, such as '{missing[0]}'")
    return network.float()


def _size(processor: dict[str, Any], multiple: int) -> tuple[int, int]:
    """Width and height to which the processor would resize, rounded to the multiples that the network takes."""
    size = processor.get("size") or {}
    edge = size.get("shortest_edge", DEFAULT_PIXELS**0.5)
    width, height = (round(size.get(key, edge) / multiple) * multiple for key in ("width", "height"))
    return max(width, multiple), max(height, multiple)


def _licence(folder: Path) -> str:
    """The licence stated in the metadata of the folder's README."""
    file = folder / "README.md"
    text = file.read_text(errors="replace") if file.is_file() else ""
    licence = re.search(r"^license:\s*(\S+)", text, re.M)
    return licence.group(1) if licence else "not stated: ask the source of the weights"
