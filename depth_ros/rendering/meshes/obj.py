"""Wavefront OBJ with the colours (Kd) and textures (map_Kd) of its MTL files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from depth_ros.rendering.scene import Material, Mesh, Part


def read(file: Path) -> Mesh:
    """One part a material. Raises OSError or ValueError."""
    points: list[list[float]] = []
    texture_points: list[list[float]] = []
    materials: dict[str, Material] = {}
    faces: dict[str, list[list[tuple[int, int]]]] = {}
    current = ""
    for keyword, words in _lines(file):
        if keyword == "v":
            points.append([float(w) for w in words[:3]])
        elif keyword == "vt":
            texture_points.append([float(w) for w in words[:2]])
        elif keyword == "mtllib":
            materials |= _materials(file.parent / " ".join(words))
        elif keyword == "usemtl":
            current = " ".join(words)
        elif keyword == "f":
            corners = [_corner(word, len(points), len(texture_points)) for word in words]
            for second, third in itertools.pairwise(corners[1:]):
                faces.setdefault(current, []).append([corners[0], second, third])
    positions, uv = np.array(points, float), np.array(texture_points, float)
    parts = []
    for name, triangles in faces.items():
        index = np.array(triangles)  # (N, 3, 2)
        has_uv = len(uv) and (index[..., 1] >= 0).all()
        parts.append(
            Part(
                positions[index[..., 0]],
                uv[index[..., 1]] if has_uv else None,
                materials.get(name, Material()),
            )
        )
    return tuple(parts)


def _lines(file: Path) -> Iterator[tuple[str, list[str]]]:
    for line in file.read_text(errors="replace").replace("\\\n", " ").splitlines():
        words = line.split("#")[0].split()
        if words:
            yield words[0], words[1:]


def _corner(word: str, points: int, texture_points: int) -> tuple[int, int]:
    """Indices from 0 of position and texture coordinates (-1 = none); negative ones in the file count from the end."""
    position, texture = [*word.split("/"), ""][:2]
    p, t = int(position), int(texture or 0)
    return p - 1 if p > 0 else points + p, t - 1 if t >= 0 else texture_points + t


def _materials(file: Path) -> dict[str, Material]:
    found: dict[str, Material] = {}
    name = ""
    for keyword, words in _lines(file) if file.is_file() else ():
        if keyword == "newmtl":
            name = " ".join(words)
            found[name] = Material()
        elif keyword == "Kd" and name:
            r, g, b = (float(w) for w in words[:3])
            found[name] = Material((r, g, b), found[name].texture)
        elif keyword == "map_Kd" and words and (file.parent / words[-1]).is_file():
            found[name] = Material(found[name].colour, file.parent / words[-1])
    return found
