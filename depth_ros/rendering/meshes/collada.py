"""COLLADA 1.4 and 1.5 (Khronos specification): triangles and polygons, diffuse colours and their textures.

Positions are in metres by <unit>; the axes are as stored, since Gazebo ignores <up_axis>. Files of simulators are often
not valid: empty lists of polygons, references by name instead of id, and images in another folder are accepted.
"""

from __future__ import annotations

import logging
import math
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import cv2
import numpy as np

from depth_ros.rendering.scene import GREY, Material, Mesh, Part
from depth_ros.rendering.xml_files import read_xml

TEXTURE_FOLDERS = ("", "../materials/textures", "../textures", "textures")
"""Where images are looked for, relative to the folder of the file."""
log = logging.getLogger("depth_ros.rendering")
_POLYGONS = ("triangles", "polylist", "polygons")


def read(file: Path) -> Mesh:
    """One part for each list of polygons of the scene. Raises OSError, ValueError, KeyError or ParseError."""
    document = _Document(_root(file), file.parent)
    parts: list[Part] = []
    for scene in document.root.iter("visual_scene"):
        for node in scene.findall("node"):
            document.add_node(node, np.eye(4), parts)
    unit = document.root.find("asset/unit")
    metre = float(unit.get("meter", "1")) if unit is not None else 1.0
    return tuple(part.moved(np.diag([metre, metre, metre, 1.0])) for part in parts)


def up_axis(file: Path) -> str:
    """x, y or z; y if the file does not say."""
    return (_root(file).findtext("asset/up_axis") or "Y_UP").strip().lower()[0]


def _root(file: Path) -> Element:
    root = read_xml(file)
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]  # namespaces differ between the versions
    return root


class _Document:
    def __init__(self, root: Element, folder: Path) -> None:
        self.root, self._folder = root, folder
        self._by_id = {element.get("id", ""): element for element in root.iter() if element.get("id")}
        self._image_names = {image.get("name"): image for image in root.iter("image")}

    def _get(self, reference: str | None) -> Element:
        return self._by_id[urllib.parse.unquote((reference or "").removeprefix("#"))]

    def add_node(self, node: Element, T: np.ndarray, parts: list[Part]) -> None:
        """Add the parts of a node and its children, which T (4, 4) transforms."""
        T = T @ _transform(node)
        for instance in node:
            if instance.tag == "instance_geometry":
                parts += [part.moved(T) for part in self._geometry(self._get(instance.get("url")), instance)]
            elif instance.tag == "instance_controller":
                skin = self._get(instance.get("url")).find("skin")
                if skin is not None:
                    geometry = self._get(skin.get("source"))
                    T_bind = T @ _matrix(skin.findtext("bind_shape_matrix"))
                    parts += [part.moved(T_bind) for part in self._geometry(geometry, instance)]
            elif instance.tag == "instance_node":
                self.add_node(self._get(instance.get("url")), T, parts)
            elif instance.tag == "node":
                self.add_node(instance, T, parts)

    def _geometry(self, geometry: Element, instance: Element) -> Iterator[Part]:
        bound = {each.get("symbol"): each.get("target") for each in instance.iter("instance_material")}
        for polygons in geometry.iterfind("mesh/*"):
            if polygons.tag in _POLYGONS:
                part = self._part(polygons, bound.get(polygons.get("material"), polygons.get("material")))
                if part is not None:
                    yield part

    def _part(self, polygons: Element, material: str | None) -> Part | None:
        inputs = {each.get("semantic"): each for each in reversed(polygons.findall("input"))}
        vertex, uv_input = inputs["VERTEX"], inputs.get("TEXCOORD")
        width = max(int(each.get("offset", "0")) for each in polygons.findall("input")) + 1
        rows = [_integers(p.text).reshape(-1, width) for p in polygons.findall("p")]
        rows = [row for row in rows if len(row)]
        if not rows:
            return None
        if polygons.tag == "triangles":
            table = np.concatenate(rows)
            corners = np.arange(len(table) // 3 * 3).reshape(-1, 3)
        else:
            table = np.concatenate(rows)
            counts = [len(row) for row in rows]
            if polygons.tag == "polylist":
                counts = _integers(polygons.findtext("vcount")).tolist()
            corners = _fans(counts)
        positions = self._positions(vertex)[table[:, int(vertex.get("offset", "0"))]]
        uv = None
        if uv_input is not None:
            points = self._source(uv_input.get("source"))
            uv = points[table[:, int(uv_input.get("offset", "0"))], :2][corners]
        return Part(positions[corners], uv, self._material(material))

    def _positions(self, vertex: Element) -> np.ndarray:
        for each in self._get(vertex.get("source")).findall("input"):
            if each.get("semantic") == "POSITION":
                return self._source(each.get("source"))[:, :3]
        raise ValueError("<vertices> without POSITION")

    def _source(self, reference: str | None) -> np.ndarray:
        source = self._get(reference)
        values = np.fromstring(source.findtext("float_array") or "", sep=" ")
        accessor = source.find("technique_common/accessor")
        stride = int(accessor.get("stride", "1")) if accessor is not None else 3
        return values[: len(values) // stride * stride].reshape(-1, stride)

    def _material(self, reference: str | None) -> Material:
        try:
            effect = self._get(self._get(reference).find("instance_effect").get("url"))  # type: ignore[union-attr]
        except (KeyError, AttributeError):
            return Material()
        diffuse = next(effect.iter("diffuse"), None)
        if diffuse is None:
            return Material()
        texture, colour = diffuse.find("texture"), diffuse.findtext("color")
        if texture is not None:
            return Material(GREY, self._texture(effect, texture.get("texture", "")))
        r, g, b = map(float, colour.split()[:3]) if colour else GREY
        return Material((r, g, b))

    def _texture(self, effect: Element, name: str) -> Path | None:
        """The image file of a texture: of its sampler's surface, or named directly; None if there is no such file."""
        parameters = {each.get("sid"): each for each in effect.iter("newparam")}
        for tag in ("sampler2D/source", "surface/init_from"):
            if name in parameters:
                name = (parameters[name].findtext(tag) or name).strip()
        image = self._by_id.get(name, self._image_names.get(name))
        start = None if image is None else image.find("init_from")
        if start is None:
            return None
        path = (start.findtext("ref") or start.text or "").strip()
        path = urllib.parse.unquote(path.removeprefix("file://")).replace("\\", "/")
        candidates = [self._folder / path, *(self._folder / f / Path(path).name for f in TEXTURE_FOLDERS)]
        found = next((each.resolve() for each in candidates if each.is_file()), None)
        if found is None:
            log.warning("no image %s, which a mesh in %s names: its surface is grey", path, self._folder)
        return found


def _integers(text: str | None) -> np.ndarray:
    return np.fromstring(text or "", dtype=np.int64, sep=" ")


def _fans(counts: list[int]) -> np.ndarray:
    """(N, 3) indices of the triangles of polygons with these numbers of corners, around their first corners."""
    triangles, start = [], 0
    for count in counts:
        triangles += [(start, start + k, start + k + 1) for k in range(1, count - 1)]
        start += count
    return np.array(triangles, int).reshape(-1, 3)


def _matrix(text: str | None) -> np.ndarray:
    return np.fromstring(text, sep=" ").reshape(4, 4) if text else np.eye(4)


def _transform(node: Element) -> np.ndarray:
    """(4, 4) of the transformations of a node, in their order."""
    T = np.eye(4)
    for each in node:
        step = np.eye(4)
        if each.tag == "matrix":
            step = _matrix(each.text)
        elif each.tag in ("translate", "rotate", "scale"):
            values = np.fromstring(each.text or "", sep=" ")
            if each.tag == "translate":
                step[:3, 3] = values
            elif each.tag == "scale":
                step[:3, :3] = np.diag(values)
            else:
                axis = values[:3] / max(float(np.linalg.norm(values[:3])), 1e-12)
                step[:3, :3] = cv2.Rodrigues(axis * math.radians(values[3]))[0]
        T = T @ step
    return T
