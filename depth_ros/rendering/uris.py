"""Files that SDF names: model://, file:// and relative paths in the folders where Gazebo looks, and models of Fuel."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from depth_ros.rendering.xml_files import read_xml

VARIABLES = ("GZ_SIM_RESOURCE_PATH", "IGN_GAZEBO_RESOURCE_PATH", "GAZEBO_MODEL_PATH", "SDF_PATH")
_FUEL = re.compile(
    r"https?://([^/]+)/(?:1\.0/)?([^/]+)/models/([^/]+)(?:/(tip|\d+))?(?:/files)?(?:/(.*))?$", re.I
)
_SCHEME = re.compile(r"^(model|package|file)://")


def resource_folders(scene: Path, given: Sequence[Path] = ()) -> list[Path]:
    """Folders of models: the given ones, those of Gazebo's variables, and those around the scene's file."""
    listed = [Path(each) for name in VARIABLES for each in os.environ.get(name, "").split(os.pathsep) if each]
    near = [folder for parent in list(scene.resolve().parents)[:3] for folder in (parent, parent / "models")]
    return [folder for folder in (*given, *listed, *near, Path.home() / ".gazebo/models") if folder.is_dir()]


def find_file(uri: str, folder: Path, folders: Sequence[Path]) -> Path | None:
    """The file or folder that a URI names, or None. folder: of the file that names it, for relative paths."""
    uri = uri.strip()
    if uri.startswith(("http://", "https://")):
        return _downloaded(uri)
    path = _SCHEME.sub("", uri)
    candidates = [each / path for each in folders]
    if not uri.startswith(("model://", "package://")):
        candidates = [Path(path) if path.startswith("/") else folder / path, *candidates]
    return next((each for each in candidates if each.exists()), None)


def _downloaded(uri: str) -> Path | None:
    """What Gazebo has downloaded of a model on Fuel: CACHE/SERVER/OWNER/models/NAME/VERSION/FILE, in lower case."""
    match = _FUEL.match(urllib.parse.unquote(uri))
    if match is None:
        return None
    server, owner, name, version, file = match.groups(default="")
    for cache in (os.environ.get("GZ_FUEL_CACHE_PATH", ""), "~/.gz/fuel", "~/.ignition/fuel"):
        model = Path(cache).expanduser() / server.lower() / owner.lower() / "models" / name.lower()
        if not cache or not model.is_dir():
            continue
        versions = sorted(
            (each for each in model.iterdir() if each.name.isdigit()), key=lambda each: int(each.name)
        )
        wanted = [each for each in versions if version in ("", "tip", each.name)]
        if wanted and (wanted[-1] / file).exists():
            return wanted[-1] / file
    return None


def model_file(folder: Path) -> Path | None:
    """The SDF file of a folder of a model: the last one, of the highest version, that model.config lists."""
    config = folder / "model.config"
    named = "model.sdf"
    if config.is_file():
        versions = read_xml(config).findall("sdf")
        versions.sort(key=lambda each: [int(n) for n in re.findall(r"\d+", each.get("version", "0"))])
        named = (versions[-1].text or named).strip() if versions else named
    return folder / named if (folder / named).is_file() else None
