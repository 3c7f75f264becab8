"""Reading a scene of any format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.rendering.meshes import READERS, read_mesh, stored_up, up
from depth_ros.rendering.scene import Instance, Mesh, Scene, extent, transformed
from depth_ros.rendering.sdf import read_sdf
from depth_ros.rendering.uris import model_file, resource_folders

SDF_SUFFIXES = (".sdf", ".world", ".model", ".xml")
STRAY, MIN_STRAY = 100.0, 100.0
"""An object is stray if it is farther from the median of the objects than STRAY times the median of their distances
from it, and than MIN_STRAY, m."""


def read_scene(
    path: Path, models: Sequence[Path] = (), skip_missing: bool = False, axis: str = "auto", unit: float = 1.0
) -> Scene:
    """A Gazebo world or model (a file, or the folder of a model), or a mesh of any format as a scene of one object.

    models: folders of models. axis: vertical axis of a mesh, "auto" = of its format. unit: m, of a mesh.
    Raises DepthRosError if it cannot be read, or has nothing to draw.
    """
    file = model_file(path) if path.is_dir() else path
    if file is None or not file.is_file():
        raise DepthRosError(
            f"no scene '{path}': give a world or model of Gazebo, a folder of a model, or a mesh"
        )
    if file.suffix.lower() in READERS:
        T = (stored_up(file) if axis == "auto" else up(axis)) @ np.diag([unit, unit, unit, 1.0])
        return Scene({str(file): read_mesh(file)}, [Instance(file.stem, 1, str(file), T)])
    if file.suffix.lower() not in SDF_SUFFIXES:
        raise DepthRosError(
            f"'{path}': a scene is one of {', '.join((*SDF_SUFFIXES, *READERS))}, or the folder of a model"
        )
    scene = read_sdf(file, resource_folders(file, models), skip_missing)
    leave_out_stray_objects(scene)
    if not scene.instances:
        raise DepthRosError(
            f"'{path}' has nothing to draw; left out: {'; '.join(scene.left_out) or 'nothing'}"
        )
    return scene


def leave_out_stray_objects(scene: Scene) -> None:
    """Remove objects that are far from all others, as those that fell or flew off before a world was saved.

    They would make the free space so large that no view is found.
    """
    bounds = [each for each in scene.instances if each.bounds]
    if not bounds:
        return
    centres = {
        id(each): transformed(np.mean(extent(scene.meshes[each.mesh]), axis=0), each.T_world_mesh)
        for each in bounds
    }
    median = np.median(list(centres.values()), axis=0)
    distance = {key: float(np.linalg.norm(centre - median)) for key, centre in centres.items()}
    limit = max(STRAY * float(np.median(list(distance.values()))), MIN_STRAY)
    stray = [each for each in bounds if distance[id(each)] > limit]
    scene.left_out += [f"{each.name}: {distance[id(each)]:.0f} m from the other objects" for each in stray]
    scene.instances = [each for each in scene.instances if distance.get(id(each), 0.0) <= limit]


def read_objects(paths: Sequence[Path], models: Sequence[Path] = ()) -> dict[str, Mesh]:
    """Each model or mesh as one mesh, standing on its own frame; by its path."""
    objects: dict[str, Mesh] = {}
    for path in paths:
        scene = read_scene(path, models)
        objects[str(path)] = tuple(
            part.moved(each.T_world_mesh) for each in scene.instances for part in scene.meshes[each.mesh]
        )
    return objects
