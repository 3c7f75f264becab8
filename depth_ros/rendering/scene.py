"""A scene of textured triangles: what every format is read into."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

GREY = (0.6, 0.6, 0.6)


@dataclass(frozen=True)
class Material:
    """colour: linear RGB, 0 to 1, which a texture replaces. texture: an image file, or the bytes of one, or None."""

    colour: tuple[float, float, float] = GREY
    texture: Path | bytes | None = None


@dataclass(frozen=True)
class Part:
    """Triangles of one material. corners: (N, 3, 3) m. uv: (N, 3, 2), v upwards, or None."""

    corners: np.ndarray
    uv: np.ndarray | None = None
    material: Material = Material()

    def moved(self, T: np.ndarray) -> Part:
        """The part transformed by T (4, 4), which may scale."""
        return Part(transformed(self.corners, T), self.uv, self.material)


Mesh = tuple[Part, ...]


@dataclass(frozen=True)
class Instance:
    """One placed mesh. name, label: of the object that it belongs to, labels from 1. T_world_mesh: (4, 4), may scale.

    bounds: whether it counts for the extent of the scene, as a ground plane does not.
    """

    name: str
    label: int
    mesh: str
    T_world_mesh: np.ndarray
    bounds: bool = True


@dataclass(frozen=True)
class Light:
    """A light of SDF, which shines along the -z axis of T_world_light (4, 4).

    kind: point, spot or directional. colour: RGB, diffuse times intensity. attenuation: constant, linear, quadratic:
    the light at d m is colour / (constant + linear d + quadratic d^2), and 0 beyond `range`. cone: full inner and outer
    angle of a spot, rad.
    """

    kind: str
    T_world_light: np.ndarray
    colour: tuple[float, float, float]
    attenuation: tuple[float, float, float] = (1.0, 0.0, 0.0)
    range: float = 10.0
    cone: tuple[float, float] = (0.0, 0.0)
    shadows: bool = True


@dataclass
class Scene:
    """Meshes by key, and where they are; z is up, m. left_out: what could not be read, one line each.

    ambient: RGB of the light from all sides that goes with `lights`.
    """

    meshes: dict[str, Mesh] = field(default_factory=dict)
    instances: list[Instance] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    ambient: tuple[float, float, float] = (0.4, 0.4, 0.4)

    def triangles(self, bounds_only: bool = False) -> np.ndarray:
        """(N, 3, 3) m, in the world."""
        corners = [
            transformed(part.corners, each.T_world_mesh)
            for each in self.instances
            if each.bounds or not bounds_only
            for part in self.meshes[each.mesh]
        ]
        return np.concatenate(corners) if corners else np.zeros((0, 3, 3))

    def names(self) -> dict[int, str]:
        """Name of the object of each label."""
        return {each.label: each.name for each in self.instances}


def transformed(points: np.ndarray, T: np.ndarray) -> np.ndarray:
    """Points (..., 3) transformed by T (4, 4)."""
    return points @ T[:3, :3].T + T[:3, 3]


def extent(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest coordinates (3,) of a mesh, m."""
    points = np.concatenate([part.corners.reshape(-1, 3) for part in mesh])
    return points.min(0), points.max(0)
