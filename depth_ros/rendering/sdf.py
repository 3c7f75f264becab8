"""SDF worlds and models (sdformat.org/spec, 1.4 to 1.12): the visuals of all models at their poses.

<include>, nested models, <frame>, relative_to and attached_to, scale, meshes, the geometric shapes, diffuse colours,
albedo maps and lights are followed. Not drawn, and named in `Scene.left_out`: height maps, images and polylines. Joints
are at their zero positions; actors and plugins are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.rendering.meshes import read_mesh
from depth_ros.rendering.scene import GREY, Instance, Material, Mesh, Part, Scene
from depth_ros.rendering.sdf_elements import light, numbers, pose_of, primitive
from depth_ros.rendering.uris import find_file, model_file
from depth_ros.rendering.xml_files import read_xml

_POSED = ("model", "link", "frame", "include", "light")
COLOURS = {
    "White": (1, 1, 1), "Grey": (0.7, 0.7, 0.7), "DarkGrey": (0.18, 0.18, 0.18), "Black": (0, 0, 0),
    "Red": (1, 0, 0), "Green": (0, 1, 0), "Blue": (0, 0, 1), "Yellow": (1, 1, 0), "Orange": (1, 0.5, 0),
    "Purple": (1, 0, 1), "Turquoise": (0, 1, 1), "Wood": (0.5, 0.3, 0.15),
}  # fmt: skip
"""Diffuse colours of the scripts Gazebo/NAME."""
BUILT_IN = {
    "ground_plane": """<model name="ground_plane"><link name="link"><visual name="visual"><geometry><plane>
        <size>100 100</size></plane></geometry></visual></link></model>""",
    "sun": """<light name="sun" type="directional"><pose>0 0 10 0 0 0</pose><diffuse>0.8 0.8 0.8 1</diffuse>
        <direction>-0.5 0.1 -0.9</direction><cast_shadows>true</cast_shadows></light>""",
}
"""Models that most worlds include and that come with Gazebo, for machines without it."""


def read_sdf(file: Path, folders: Sequence[Path], skip_missing: bool = False) -> Scene:
    """The scene in a world or model file. folders: where model:// is looked for.

    skip_missing: models that cannot be found are named in `left_out`. Raises DepthRosError if the file is no SDF, or if
    models cannot be found.
    """
    reader = _Reader(folders)
    root = _parse(file)
    world = (root.findall("world") or [root])[0]
    reader.add_members(world, file.parent, np.eye(4), None)
    r, g, b = numbers(world.findtext("scene/ambient"), reader.scene.ambient)[:3]
    reader.scene.ambient = (r, g, b)
    missing = sorted(reader.missing)
    if missing and not skip_missing:
        raise DepthRosError(
            f"{file} includes models that are in none of the folders: {', '.join(missing)}; give the folder that holds "
            "them with --models or in GZ_SIM_RESOURCE_PATH (for models of Fuel, open the world in Gazebo once, which "
            "downloads them), or leave them out with --skip-missing"
        )
    reader.scene.left_out += [f"{uri}: no such model" for uri in missing]
    return reader.scene


def _parse(file: Path) -> Element:
    root = read_xml(file)
    if root.tag != "sdf":
        raise DepthRosError(f"{file} has the root <{root.tag}>; an SDF file has <sdf>")
    return root


class _Reader:
    """missing: URIs of models that were not found."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.scene, self.missing, self._folders = Scene(), set[str](), folders
        self._labels = 0

    def add_members(self, scope: Element, folder: Path, T: np.ndarray, owner: tuple[str, int] | None) -> None:
        """Add the models and links of a world, model or root element, whose frame is at T (4, 4).

        owner: name and label of the outermost model; None outside of models.
        """
        poses = _poses(scope)
        for member in scope:
            if member.tag not in ("model", "link", "include", "light"):
                continue
            T_member = T @ poses[id(member)]
            if member.tag == "light":
                self.scene.lights.append(light(member, T_member))
                continue
            if member.tag == "link":
                self.scene.lights += [
                    light(each, T_member @ pose_of(each)) for each in member.findall("light")
                ]
                for visual in member.findall("visual"):
                    assert owner is not None
                    self._add_visual(visual, folder, T_member, owner)
                continue
            belongs_to = owner or self._new_owner(member)
            if member.tag == "model":
                self.add_members(member, folder, T_member, belongs_to)
            else:
                self._include(member, folder, T_member, belongs_to)

    def _new_owner(self, member: Element) -> tuple[str, int]:
        self._labels += 1
        uri = (member.findtext("uri") or "").strip().rstrip("/")
        name = member.get("name") or (member.findtext("name") or "").strip() or uri.rpartition("/")[2]
        return name, self._labels

    def _include(self, include: Element, folder: Path, T: np.ndarray, owner: tuple[str, int]) -> None:
        uri = (include.findtext("uri") or "").strip()
        found = find_file(uri, folder, self._folders)
        file = model_file(found) if found is not None and found.is_dir() else found
        built_in = BUILT_IN.get(uri.rstrip("/").rpartition("/")[2].lower().replace(" ", "_"))
        if file is None and built_in is None:
            self.missing.add(uri)
            return
        root = _parse(file) if file else ElementTree.fromstring(f"<sdf>{built_in}</sdf>")
        for member in (each for each in root if each.tag in ("model", "light")):
            own = (
                np.eye(4) if include.find("pose") is not None else pose_of(member)
            )  # an include's pose replaces it
            if member.tag == "light":
                self.scene.lights.append(light(member, T @ own))
            else:
                self.add_members(member, file.parent if file else folder, T @ own, owner)

    def _add_visual(self, visual: Element, folder: Path, T: np.ndarray, owner: tuple[str, int]) -> None:
        geometry = visual.find("geometry")
        shape = next(iter(geometry), None) if geometry is not None else None
        if shape is None or shape.tag == "empty" or _is_transparent(visual):
            return
        material = self._material(visual.find("material"), folder)
        try:
            key, mesh = self._mesh(shape, folder, material)
        except DepthRosError as error:
            self.scene.left_out.append(f"{owner[0]}: {error}")
            return
        T = T @ pose_of(visual)
        if shape.tag == "mesh":
            T = T @ np.diag([*numbers(shape.findtext("scale"), (1.0, 1.0, 1.0)), 1.0])
        self.scene.meshes.setdefault(key, mesh)
        self.scene.instances.append(Instance(*owner, key, T, shape.tag != "plane"))

    def _mesh(self, shape: Element, folder: Path, material: Material | None) -> tuple[str, Mesh]:
        if shape.tag != "mesh":
            part = Part(*primitive(shape), material or Material())
            return f"{ElementTree.tostring(shape).decode().strip()} {material}", (part,)
        uri = (shape.findtext("uri") or "").strip()
        file = find_file(uri, folder, self._folders)
        if file is None:
            raise DepthRosError(f"no mesh {uri}")
        key = f"{file} {material}"
        if key in self.scene.meshes:
            return key, self.scene.meshes[key]
        mesh = read_mesh(file)
        if material is not None:
            mesh = tuple(Part(each.corners, each.uv, material) for each in mesh)
        return key, mesh

    def _material(self, element: Element | None, folder: Path) -> Material | None:
        """The material of a visual, which replaces those of its mesh; None if there is none that can be read."""
        if element is None:
            return None
        albedo = element.findtext("pbr/metal/albedo_map") or element.findtext("pbr/specular/albedo_map")
        texture = find_file(albedo, folder, self._folders) if albedo else None
        if texture is not None:
            return Material(GREY, texture)
        if element.find("diffuse") is not None:
            r, g, b = numbers(element.findtext("diffuse"), (1.0, 1.0, 1.0))[:3]
            return Material((r, g, b))
        name = (element.findtext("script/name") or "").strip().rpartition("/")[2]
        return Material(COLOURS[name]) if name in COLOURS else None


def _is_transparent(visual: Element) -> bool:
    return float(visual.findtext("transparency") or 0) >= 0.99


def _poses(scope: Element) -> dict[int, np.ndarray]:
    """T_scope_member (4, 4) of the members of a scope, by the id() of their elements.

    relative_to (and attached_to of a frame) name another member. Raises DepthRosError for an unknown name or a circle.
    """
    members = [each for each in scope if each.tag in _POSED]
    named = {_name(each): each for each in members if _name(each)}

    def resolve(member: Element, depth: int = 0) -> np.ndarray:
        pose = member.find("pose")
        reference = (pose.get("relative_to") if pose is not None else "") or member.get("attached_to") or ""
        if reference in ("", "world", "__model__"):
            return pose_of(member)
        if reference not in named or depth > len(members):
            raise DepthRosError(
                f"SDF: the pose of '{_name(member)}' is relative to '{reference}', which is not there"
            )
        return resolve(named[reference], depth + 1) @ pose_of(member)

    return {id(each): resolve(each) for each in members}


def _name(member: Element) -> str:
    return member.get("name") or (member.findtext("name") or "").strip()
