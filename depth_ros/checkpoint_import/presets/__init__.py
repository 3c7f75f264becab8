"""What published networks take and return as ONNX graphs: `depth_ros import onnx FILE --like PRESET`.

One file a network, with a `PRESET`; the listing of this folder is the registry.
"""

from __future__ import annotations

import importlib
import pkgutil

from depth_ros.checkpoint_import.preset import Preset
from depth_ros.errors import DepthRosError


def presets() -> dict[str, Preset]:
    """All presets by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").PRESET for name in names}


def find_preset(name: str) -> Preset:
    """The preset of this name. Raises DepthRosError if there is none."""
    found = presets()
    if name not in found:
        raise DepthRosError(f"no preset '{name}'; available: {', '.join(found)}")
    return found[name]
