"""A model on disk: a folder with `card.yaml`, `weights.safetensors` and `check.png`.

The card documents the model: task, family, input size, scale, training data, licence, measured metrics with the command
that reproduces them, and the checksum of the weights.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_ros.config import settings_from
from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks.fit import FITS, WHOLE, Fit

if TYPE_CHECKING:
    import torch

TASKS = ("depth", "stereo_depth", "ego_motion", "object_motion", "planes")
SCALES = ("metric", "up_to_scale", "affine_inverse")


@dataclass(frozen=True)
class Card:
    """Content of `card.yaml`.

    width, height: px, size of the training images. fit: how the images of a camera become inputs of the network, one of
    `networks.blocks.fit.FITS`. region: left, top, right and bottom of the part of an image that is used, as fractions
    of its width and height. frames: number of input images. settings: of the family's networks. metrics: list of {data,
    protocol, command, engine, metrics, baseline}. sha256: of weights.safetensors.
    extra_inputs: names of the channels that the network takes beside the image, in order; see `Frame.extra_inputs`.
    """

    name: str
    task: str
    family: str
    width: int
    height: int
    scale: str
    licence: str
    sha256: str
    description: str = ""
    fit: str = "aspect"
    region: list[float] = field(default_factory=lambda: list(WHOLE))
    frames: int = 1
    extra_inputs: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    training_data: list[str] = field(default_factory=list)
    terms: str = ""
    recipe: str = ""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    path: Path = Path()

    @property
    def variant(self) -> dict[str, Any]:
        """What decides the model's results beside its weights."""
        fit = {"fit": self.fit, "size": [self.width, self.height], "region": list(self.region)}
        return {"task": self.task, "settings": self.settings, "input": fit if self.input_fit.is_fixed else {}}

    @property
    def input_fit(self) -> Fit:
        """How images become inputs of the network."""
        return Fit(self.fit, self.width, self.height, tuple(self.region))

    @property
    def weights(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def check_image(self) -> Path:
        """Stored input on which an engine must reproduce the eager result."""
        return self.path / "check.png"

    @property
    def mean_inverse_depth(self) -> Path:
        """Mean f / Z of the training images at the width of the card, px/m, per pixel of a small image (.npy): the
        baseline prediction for data without training images. Not every model has one."""
        return self.path / "mean_inverse_depth.npy"

    @property
    def curves(self) -> Path:
        """Plot of losses and metrics over the training steps (SVG). Not every model has one."""
        return self.path / "training.svg"


def model_roots() -> list[Path]:
    """Folders searched for models: those in $DEPTH_ROS_MODELS, then `share_folders`."""
    given = [Path(entry) for entry in os.environ.get("DEPTH_ROS_MODELS", "").split(os.pathsep) if entry]
    return [*(root for root in given if root.is_dir()), *share_folders("models")]


def share_folders(name: str) -> list[Path]:
    """Folders `name` with shared files that exist, in order: checkout, ament prefixes, prefix of this package.

    The prefix of PREFIX/lib/python3.x/site-packages/depth_ros need not be Python's: pip install --user, /usr/local.
    """
    package = Path(__file__).resolve().parent
    prefixes = [
        *os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep),
        *map(str, package.parents[3:4]),
        sys.prefix,
    ]
    shares = [Path(prefix) / "share/depth_ros" for prefix in prefixes if prefix]
    folders = [folder / name for folder in (package.parent, *shares)]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def cards() -> list[Card]:
    """All available models, sorted by name; of models with the same name the first root's is taken."""
    found: dict[str, Card] = {}
    for root in model_roots():
        for file in sorted(root.glob("*/card.yaml")):
            found.setdefault(file.parent.name, read_card(file.parent))
    return sorted(found.values(), key=lambda card: card.name)


def find_card(model: str) -> Card:
    """The card of a model, given by name or by the path of its folder. Raises DepthRosError if there is none."""
    if (Path(model) / "card.yaml").is_file():
        return read_card(Path(model))
    for root in model_roots():
        if model and (root / model / "card.yaml").is_file():
            return read_card(root / model)
    available = ", ".join(card.name for card in cards()) or "none"
    raise DepthRosError(
        f"no model '{model}'; available models: {available}; the path of a folder with card.yaml is allowed, too"
    )


def read_card(folder: Path) -> Card:
    """Read and validate `folder`/card.yaml."""
    import yaml

    file = folder / "card.yaml"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DepthRosError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise DepthRosError(f"{file} is not a model card: it must be a mapping of keys to values")
    missing = [f.name for f in dataclasses.fields(Card)
               if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
               and f.name not in content]  # fmt: skip
    if missing:
        raise DepthRosError(f"{file}: key '{missing[0]}' is missing")
    card = settings_from(Card, content, str(file))
    for key, value, allowed in (
        ("task", card.task, TASKS), ("scale", card.scale, SCALES), ("fit", card.fit, tuple(FITS)),
    ):  # fmt: skip
        if value not in allowed:
            raise DepthRosError(f"{file}: {key} is '{value}'; allowed: {', '.join(allowed)}")
    left, top, right, bottom = card.region if len(card.region) == 4 else (1.0, 1.0, 0.0, 0.0)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise DepthRosError(
            f"{file}: region is {card.region}; it must be left, top, right and bottom, fractions from 0 to 1"
        )
    return dataclasses.replace(card, path=folder.resolve())


def write_card(card: Card) -> None:
    """Write `card.path`/card.yaml, without the path itself."""
    import yaml

    content = {key: value for key, value in dataclasses.asdict(card).items() if key != "path"}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
    (card.path / "card.yaml").write_text(text, encoding="utf-8")


def checksum(file: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def build(card: Card) -> torch.nn.Module:
    """The module of a card with the initial weights of its constructor."""
    from depth_ros.networks import family, model_class

    module = family(card.family)
    settings = settings_from(module.Settings, card.settings, f"{card.path}/card.yaml, settings")
    settings = getattr(module, "load_files", lambda settings, folder: settings)(settings, card.path)
    return model_class(card.family, card.task)(settings)


def extra_inputs(model: torch.nn.Module) -> list[str]:
    """Names of the channels that a module takes beside the image; empty for most."""
    return list(getattr(model, "extra_inputs", ()))


@dataclass(frozen=True)
class ModelTraits:
    """Facts about a model that its weights do not change.

    size_multiple: px, width and height of the images of a `deployed_model` must be multiples of it. int8: whether
    precision `auto` includes int8, because its metrics were measured that way.
    """

    size_multiple: int
    int8: bool


def model_traits(card: Card) -> ModelTraits:
    """The traits of a model, determined without allocating its weights."""
    import torch

    with torch.device("meta"):
        model = build(card)
    multiple = 1 if card.input_fit.is_fixed else int(model.size_multiple)  # type: ignore[arg-type]
    return ModelTraits(multiple, bool(getattr(model, "int8", False)))


def with_post_processing(card: Card) -> Card:
    """The card of the model with post-processing. Raises DepthRosError if it has none."""
    from depth_ros.networks import families, family

    def supports(name: str) -> bool:
        return any(each.name == "post_process" for each in dataclasses.fields(family(name).Settings))

    if card.task != "depth" or not supports(card.family):
        names = ", ".join(name for name in families() if supports(name))
        raise DepthRosError(
            f"model '{card.name}' of family '{card.family}' and task '{card.task}' has no post-processing; families "
            f"whose depth models have it: {names}. Leave out 'post_process'"
        )
    return dataclasses.replace(card, settings={**card.settings, "post_process": True})


def deployed_model(card: Card, device: str = "cpu") -> torch.nn.Module:
    """The eager float32 module that estimators use: as `load_model`, but also for images of another size than that of
    the training where the network takes no other.
    """
    from depth_ros.networks.blocks.fitted import fitted

    return fitted(load_model(card, device), card.task, card.input_fit).eval()


def load_model(card: Card, device: str = "cpu") -> torch.nn.Module:
    """The eager float32 module of a card with its weights, in evaluation mode, for images as in its training.

    Raises DepthRosError if the weights are missing, damaged or do not fit the family.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not card.weights.is_file():
        raise DepthRosError(f"{card.weights} is missing: restore it (git checkout, or reinstall the package)")
    if checksum(card.weights) != card.sha256:
        raise DepthRosError(
            f"{card.weights} is damaged: its sha256 does not match that of the card ({card.sha256[:12]}...); "
            "restore it (git checkout, or reinstall the package)"
        )
    model = build(card)
    if extra_inputs(model) != list(card.extra_inputs):
        raise DepthRosError(
            f"{card.path}/card.yaml: extra_inputs is {card.extra_inputs}, but with these settings the network takes "
            f"{extra_inputs(model)}"
        )
    try:
        model.load_state_dict(load_file(card.weights, device=device), strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise DepthRosError(f"{card.weights} does not fit family '{card.family}': {error}") from error
    return model.to(device).eval()
