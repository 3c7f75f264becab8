"""glTF 2.0, as .gltf with its files or as .glb (Khronos specification): triangles, base colours and their textures."""

from __future__ import annotations

import base64
import json
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.geometry import pose_from
from depth_ros.rendering.scene import Material, Mesh, Part

_MAGIC, _BINARY_CHUNK = b"glTF", b"BIN\x00"
_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_TRIANGLES = 4
"""Mode of a primitive."""


def read(file: Path) -> Mesh:
    """All triangles of the default scene, axes as stored (y up). Raises OSError, ValueError or KeyError."""
    document = _Document(file)
    required = set(document.json.get("extensionsRequired", ())) - {
        "KHR_texture_transform",
        "KHR_materials_unlit",
    }
    if required:
        raise ValueError(
            f"it needs the extensions {', '.join(sorted(required))}: export it without compression"
        )
    scene = document.json.get("scene", 0)
    roots = document.json["scenes"][scene].get("nodes", []) if document.json.get("scenes") else []
    parts: list[Part] = []
    for node in roots or range(len(document.json.get("nodes", []))):
        document.add_node(node, np.eye(4), parts)
    return tuple(parts)


class _Document:
    def __init__(self, file: Path) -> None:
        self._folder, self._buffers = file.parent, dict[int, bytes]()
        data = file.read_bytes()
        if data[:4] != _MAGIC:
            self.json: dict[str, Any] = json.loads(data)
            return
        position = 12
        while position + 8 <= len(data):
            size = int.from_bytes(data[position : position + 4], "little")
            kind, chunk = data[position + 4 : position + 8], data[position + 8 : position + 8 + size]
            if kind == _BINARY_CHUNK:
                self._buffers[0] = chunk
            else:
                self.json = json.loads(chunk)
            position += 8 + size

    def add_node(self, index: int, T: np.ndarray, parts: list[Part]) -> None:
        """Add the parts of a node and its children, which T (4, 4) transforms."""
        node = self.json["nodes"][index]
        T = T @ _transform(node)
        if "mesh" in node:
            for primitive in self.json["meshes"][node["mesh"]]["primitives"]:
                if primitive.get("mode", _TRIANGLES) == _TRIANGLES:
                    parts.append(self._part(primitive).moved(T))
        for child in node.get("children", ()):
            self.add_node(child, T, parts)

    def _part(self, primitive: dict[str, Any]) -> Part:
        attributes = primitive["attributes"]
        positions = self._accessor(attributes["POSITION"]).astype(float)
        order = np.arange(len(positions))
        if "indices" in primitive:
            order = self._accessor(primitive["indices"])[:, 0].astype(order.dtype)
        index = order[: len(order) // 3 * 3].reshape(-1, 3)
        uv = None
        if "TEXCOORD_0" in attributes:
            uv = self._accessor(attributes["TEXCOORD_0"])[index] * [1.0, -1.0] + [0.0, 1.0]  # v downwards
        material = self._material(primitive["material"]) if "material" in primitive else Material()
        return Part(positions[index], uv, material)

    def _accessor(self, index: int) -> np.ndarray:
        """(count, components); normalised integers become floats."""
        accessor = self.json["accessors"][index]
        kind, components = np.dtype(_TYPES[accessor["componentType"]]), _COMPONENTS[accessor["type"]]
        view = self.json["bufferViews"][accessor["bufferView"]]
        start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        stride = view.get("byteStride", kind.itemsize * components)
        values: np.ndarray = np.ndarray(
            (accessor["count"], components),
            kind,
            self._buffer(view["buffer"]),
            start,
            (stride, kind.itemsize),
        )
        return values / np.iinfo(kind).max if accessor.get("normalized") and kind.kind in "iu" else values

    def _buffer(self, index: int) -> bytes:
        if index not in self._buffers:
            self._buffers[index] = self._content(self.json["buffers"][index]["uri"])
        return self._buffers[index]

    def _content(self, uri: str) -> bytes:
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(",")[2])
        return (self._folder / urllib.parse.unquote(uri)).read_bytes()

    def _material(self, index: int) -> Material:
        surface = self.json["materials"][index].get("pbrMetallicRoughness", {})
        r, g, b = surface.get("baseColorFactor", (1, 1, 1, 1))[:3]
        texture = surface.get("baseColorTexture")
        image = self.json["textures"][texture["index"]].get("source") if texture else None
        return Material((r, g, b), None if image is None else self._image(image))

    def _image(self, index: int) -> bytes:
        image = self.json["images"][index]
        if "uri" in image:
            return self._content(image["uri"])
        view = self.json["bufferViews"][image["bufferView"]]
        start = view.get("byteOffset", 0)
        return self._buffer(view["buffer"])[start : start + view["byteLength"]]


def _transform(node: dict[str, Any]) -> np.ndarray:
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T
    T = pose_from(np.array(node.get("translation", (0, 0, 0))), np.array(node.get("rotation", (0, 0, 0, 1))))
    return T @ np.diag([*node.get("scale", (1, 1, 1)), 1.0])
