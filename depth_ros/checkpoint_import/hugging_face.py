"""A folder of the transformers library, or a repository of its hub, becomes a model of family hugging_face."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from depth_ros.card import Card
from depth_ros.errors import DepthRosError
from depth_ros.networks import hugging_face
from depth_ros.training.export import save

PIXELS = 518 * 518
"""Of the images that a network is run on, where its folder does not say."""
FILES = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json", "README.md")


def import_folder(source: str, out: Path, hub: bool = False) -> Path:
    """Make a model of a folder with config.json and safetensors; returns its folder, below `out`.

    hub: `source` is a repository of the Hugging Face hub, OWNER/NAME, to be downloaded, if it is no folder. No code of
    the source is run. Raises DepthRosError if there is nothing, the network is of no known kind, or weights lack.
    """
    folder = Path(source)
    if not folder.is_dir():
        if not hub:
            raise DepthRosError(
                f"no folder '{source}': give one with config.json, or --hub to download OWNER/NAME"
            )
        folder = _downloaded(source)
    config = _read(folder / "config.json")
    processor = (
        _read(folder / "preprocessor_config.json") if (folder / "preprocessor_config.json").is_file() else {}
    )
    settings = hugging_face.Settings(config=json.dumps(config), processor=json.dumps(processor))
    model = hugging_face.Model(settings)
    model.network = _network(folder, model)
    name = re.sub(r"[^a-z0-9]+", "_", Path(source).resolve().name.lower()).strip("_")
    width, height = _size(processor, model.size_multiple)
    card = Card(
        name=name, task="depth", family="hugging_face", width=width, height=height, scale=model.scale,
        licence=_licence(folder), sha256="", description=f"{config['model_type']} of transformers, from {source}",
        settings={"config": settings.config, "processor": settings.processor},
        training_data=["not stated: see where it came from"], recipe=f"depth_ros import hugging_face {source}",
        path=out / name,
    )  # fmt: skip
    save(model.eval(), card)
    return card.path


def _downloaded(repository: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise DepthRosError("the hub needs another package: pip install transformers") from error
    try:
        return Path(snapshot_download(repository, allow_patterns=list(FILES)))
    except Exception as error:  # network, names, rights: the library's words
        raise DepthRosError(f"'{repository}' cannot be downloaded: {str(error).splitlines()[0]}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise DepthRosError(f"{file} cannot be read: {error}; is it a folder of transformers?") from error


def _network(folder: Path, model: hugging_face.Model) -> torch.nn.Module:
    """The network with the weights of the folder, float32. Weights that run code (pickle) are not taken."""
    from transformers import AutoModelForDepthEstimation

    try:
        network, said = AutoModelForDepthEstimation.from_pretrained(
            folder, config=model.network.config, use_safetensors=True, local_files_only=True,
            torch_dtype=torch.float32, output_loading_info=True,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:
        raise DepthRosError(f"{folder}: {str(error).splitlines()[0]}") from error
    missing = sorted(said["missing_keys"])
    if missing:
        raise DepthRosError(f"{folder} lacks the weights '{missing[0]}' ({len(missing)} in all)")
    return network.float()


def _size(processor: dict[str, Any], multiple: int) -> tuple[int, int]:
    """Width and height that the processor would resize to, at multiples that the network takes."""
    size = processor.get("size") or {}
    edge = size.get("shortest_edge", PIXELS**0.5)
    width, height = (round(size.get(key, edge) / multiple) * multiple for key in ("width", "height"))
    return max(width, multiple), max(height, multiple)


def _licence(folder: Path) -> str:
    """What the head of the folder's README says, in the hub's manner."""
    file = folder / "README.md"
    found = (
        re.search(r"^license:\s*(\S+)", file.read_text(errors="replace"), re.M) if file.is_file() else None
    )
    return found.group(1) if found else "not stated: ask where it came from"
