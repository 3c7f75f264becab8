"""Changes to recipes: `depth_ros train RECIPE --set key=value`, and recipe files of the user's own.

A key is a field of `Recipe`, or a dotted path below one: crop.width, settings.encoder, optimiser.momentum. Types are
those of the dataclasses.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from depth_ros.config import settings_from
from depth_ros.errors import DepthRosError
from depth_ros.networks import family
from depth_ros.recordings import RecordingOptions
from depth_ros.training.colours import COLOURS
from depth_ros.training.data.source import Source
from depth_ros.training.optimiser import OPTIMISERS
from depth_ros.training.recipes.recipe import Recipe
from depth_ros.training.schedule import SCHEDULES

KINDS: dict[str, Mapping[str, type]] = {"optimiser": OPTIMISERS, "schedule": SCHEDULES}
"""Fields of a recipe whose value is one of several dataclasses, by name."""
CHOICES = {"crop.colours": tuple(COLOURS), "crop.fit": ("aspect", "crop", "stretch")}
SOURCES = ("sources", "validation", "calibration")
FIXED = ("family",)
"""Fields that cannot be changed: all the others depend on them."""


def changed(recipe: Recipe, changes: Mapping[str, object], where: str) -> Recipe:
    """The recipe with values by key; values may be mappings of further keys. where: what errors name.

    Raises DepthRosError for an unknown key, with the allowed ones, or a value of another type.
    """
    for key, value in _flat(changes):
        recipe = _with(recipe, key, value, where)
    return recipe


def from_arguments(arguments: Iterable[str]) -> dict[str, object]:
    """Values by key of arguments KEY=VALUE, in their order."""
    changes: dict[str, object] = {}
    for argument in arguments:
        key, separator, text = argument.partition("=")
        if not separator or not key:
            raise DepthRosError(f"--set {argument}: write KEY=VALUE, for example --set learning_rate=1e-4")
        changes[key] = text
    return changes


def recipe_from_file(file: Path, find_recipe: typing.Callable[[str], Recipe]) -> Recipe:
    """The recipe of a YAML file (`base: RECIPE` and changes), or that which `recipe()` of a Python file returns.

    It is named as the file unless it has a name of its own. Raises DepthRosError if the file is no recipe.
    """
    if not file.is_file():
        raise DepthRosError(f"no recipe file '{file}'")
    return _from_python(file) if file.suffix == ".py" else _from_yaml(file, find_recipe)


def _from_yaml(file: Path, find_recipe: typing.Callable[[str], Recipe]) -> Recipe:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DepthRosError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("base"), str):
        raise DepthRosError(f"{file}: a recipe file needs `base: RECIPE`, and the keys that differ from it")
    base = dataclasses.replace(find_recipe(content.pop("base")), name=file.stem)
    return changed(base, content, str(file))


def _from_python(file: Path) -> Recipe:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        recipe = module.recipe() if hasattr(module, "recipe") else None
    except DepthRosError:
        raise
    except Exception as error:  # whatever the user's own code raises
        raise DepthRosError(f"{file}: {type(error).__name__}: {error}") from error
    if not isinstance(recipe, Recipe):
        raise DepthRosError(
            f"{file}: define `def recipe() -> Recipe`, which returns a depth_ros.training.recipes.Recipe"
        )
    return recipe


def _flat(changes: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in changes.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _with(recipe: Recipe, key: str, value: object, where: str) -> Recipe:
    first, _, rest = key.partition(".")
    allowed = [field.name for field in dataclasses.fields(recipe) if field.name not in FIXED]
    if first not in allowed:
        raise DepthRosError(f"{where}: unknown key '{key}'; allowed keys: {', '.join(allowed)}")
    if first in ("settings", "loss_settings"):
        return _with_setting(recipe, first, rest, value, where)
    if first in SOURCES and not rest:
        new: dict[str, Any] = {first: tuple(_source(each, where) for each in _list(value))}
        return dataclasses.replace(recipe, **new)
    if first in KINDS and not rest:
        if value not in KINDS[first]:
            raise DepthRosError(f"{where}: {key} is '{value}'; allowed: {', '.join(KINDS[first])}")
        return dataclasses.replace(recipe, **{first: KINDS[first][str(value)]()})
    return _replaced(recipe, key, key, value, where)


def _with_setting(recipe: Recipe, field: str, name: str, value: object, where: str) -> Recipe:
    cls = getattr(family(recipe.family), "Settings" if field == "settings" else "LossSettings", None)
    if cls is None:
        raise DepthRosError(f"{where}: family '{recipe.family}' has no {field}")
    kinds = typing.get_type_hints(cls)
    if name in kinds:
        value = _converted(value, kinds[name], f"{where}: {field}.{name}")
    settings = {**getattr(recipe, field), name: value}
    settings_from(cls, settings, f"{where}: {field}")
    new: dict[str, Any] = {field: settings}
    return dataclasses.replace(recipe, **new)


def _replaced(parent: Any, path: str, key: str, value: object, where: str) -> Any:
    """A dataclass with another value at a dotted path of fields."""
    name, _, rest = path.partition(".")
    fields = [field.name for field in dataclasses.fields(parent)] if dataclasses.is_dataclass(parent) else []
    if name not in fields:
        allowed = ", ".join(key.removesuffix(path) + field for field in fields) or "none below it"
        raise DepthRosError(f"{where}: unknown key '{key}'; allowed keys: {allowed}")
    old = getattr(parent, name)
    if rest:
        return dataclasses.replace(parent, **{name: _replaced(old, rest, key, value, where)})
    if dataclasses.is_dataclass(old):
        keys = ", ".join(f"{key}.{field.name}" for field in dataclasses.fields(old))
        raise DepthRosError(f"{where}: '{key}' has no single value; allowed keys: {keys}")
    if key in CHOICES and value not in CHOICES[key]:
        raise DepthRosError(f"{where}: {key} is '{value}'; allowed: {', '.join(CHOICES[key])}")
    kind = typing.get_type_hints(type(parent))[name]
    return dataclasses.replace(parent, **{name: _converted(value, kind, f"{where}: {key}")})


def _source(value: object, where: str) -> Source:
    """A source from its folder, or from a mapping of its fields and, by their names, those of `RecordingOptions`."""
    if not isinstance(value, Mapping):
        return Source(str(value))
    own = {field.name for field in dataclasses.fields(Source)} - {"options"}
    known = own | {field.name for field in dataclasses.fields(RecordingOptions)}
    if unknown := sorted(set(value) - known):
        allowed = ", ".join(sorted(known))
        raise DepthRosError(f"{where}: unknown key '{unknown[0]}' of a source; allowed keys: {allowed}")
    if "folder" not in value:
        raise DepthRosError(f"{where}: a source needs `folder`: a recording below the data folder")
    source = Source(str(value["folder"]))
    for name, given in value.items():
        path = name if name in own else f"options.{name}"
        source = _replaced(source, path, path, given, where)
    return source


def _converted(value: object, kind: Any, where: str) -> Any:
    """The value as the type of an annotation; texts as on a command line are allowed. Raises DepthRosError."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        if value is None or value in ("", "none", "None"):
            return None
        return _converted(value, next(each for each in arguments if each is not type(None)), where)
    if typing.get_origin(kind) is typing.Literal:
        if value not in arguments:
            raise DepthRosError(f"{where} is '{value}'; allowed: {', '.join(map(str, arguments))}")
        return value
    if typing.get_origin(kind) is tuple:
        values = _list(value)
        if arguments[-1] is not Ellipsis and len(values) != len(arguments):
            raise DepthRosError(
                f"{where} is '{value}'; it must be {len(arguments)} values, separated by commas"
            )
        return tuple(_converted(each, arguments[0], where) for each in values)
    return _scalar(value, kind, where)


def _scalar(value: object, kind: type, where: str) -> object:
    text = str(value).strip()
    if kind is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
    elif kind in (int, float) and not isinstance(value, bool):
        try:
            return kind(text.replace("_", "")) if kind is int else float(text)
        except ValueError:
            pass
    elif kind in (str, Path):
        return kind(text)
    raise DepthRosError(f"{where} is '{value}'; it must be of type {getattr(kind, '__name__', kind)}")


def _list(value: object) -> list[object]:
    if isinstance(value, list | tuple):
        return list(value)
    text = str(value).strip().removeprefix("[").removesuffix("]")
    return [part.strip() for part in text.split(",") if part.strip()]
