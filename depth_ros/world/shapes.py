"""Convex solids with painted faces, and how a camera sees them.

A solid is the intersection of half-spaces. The inverse depth s = 1 / Z of a plane is an affine function of
the pixel: n . X + d = 0 and X = ray / s give s = -(n . ray) / d. A ray enters a solid through the face with
the smallest s among those that have the camera in front (d > 0) and leaves it through the largest s among
the others, so hit, face and depth are exact and need no division per pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.world.patterns import Texture

Size = Sequence[float] | np.ndarray
"""Length along x, y, z, m."""

NEAR = 0.05
"""Nothing closer than this is drawn, m."""

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
EDGES = np.array([(i, j) for i in range(8) for j in range(i) if abs(CORNERS[i] - CORNERS[j]).sum() == 2])


@dataclass(frozen=True)
class Paint:
    """What a face looks like: a texture and the three RGB colours in [0, 1] that it uses."""

    texture: Texture
    colours: tuple = ((0.5, 0.5, 0.5), (0.4, 0.4, 0.4), (0.3, 0.3, 0.3))


@dataclass(frozen=True)
class Solid:
    """A convex body. planes: (K, 4) n . X + d <= 0 inside, m, unit normals outwards, in its own frame.

    size: (3,) of the box about it, centred in its frame. T: (4, 4) from its frame to that of the rigid
    body number `body` (0 = the world). paints: K of them, one a face. seed: shifts its textures.
    """

    planes: np.ndarray
    size: Size
    T: np.ndarray
    paints: tuple[Paint, ...]
    body: int = 0
    seed: int = 0
    surfaces: np.ndarray = field(init=False)
    """(K, 2, 4) rows that give coordinates on the face, m: u rightwards, v upwards from a corner."""
    extent: np.ndarray = field(init=False)
    """(K, 2) width and height of the faces, m."""

    def __post_init__(self) -> None:
        n = self.planes[:, :3]
        level = np.abs(n[:, 2]) > 0.95
        u = np.where(level[:, None], [1.0, 0.0, 0.0], np.cross([0.0, 0.0, 1.0], n))
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        axes = np.stack([u, np.cross(n, u)], axis=1)
        reach = np.abs(axes) @ (np.asarray(self.size) / 2)
        object.__setattr__(self, "surfaces", np.concatenate([axes, reach[..., None]], axis=2))
        object.__setattr__(self, "extent", 2 * reach)


def hull(normals: np.ndarray | list, points: np.ndarray) -> np.ndarray:
    """(K, 4) planes through `points` (K, 3) with outward `normals` (K, 3) of any length."""
    n = np.asarray(normals, float)
    n = n / np.linalg.norm(n, axis=1, keepdims=True)
    return np.hstack([n, -(n * points).sum(axis=1, keepdims=True)])


def box_planes(size: Size) -> np.ndarray:
    """Faces +x -x +y -y +z -z of a box of `size` (3,) m."""
    normals = np.repeat(np.eye(3), 2, axis=0) * np.array([1, -1, 1, -1, 1, -1])[:, None]
    return hull(normals, normals * np.asarray(size) / 2)


def tapered_planes(size: Size, front: float, back: float, side: float) -> np.ndarray:
    """A box whose top is shorter by `front` at +x, `back` at -x and `side` at +y and -y, m: cabins, roofs."""
    (x, y, z), height = np.asarray(size) / 2, size[2]
    normals = [
        [height, 0, front],
        [-height, 0, back],
        [0, height, side],
        [0, -height, side],
        [0, 0, 1],
        [0, 0, -1],
    ]
    return hull(normals, np.array([[x, 0, -z], [-x, 0, -z], [0, y, -z], [0, -y, -z], [0, 0, z], [0, 0, -z]]))


def prism_planes(size: Size, axis: int, sides: int = 8) -> np.ndarray:
    """A regular prism about `axis` that fits in `size`: poles, trunks, wheels. Its two ends come last."""
    angle = 2 * np.pi * np.arange(sides) / sides
    a, b = [k for k in range(3) if k != axis]
    points = np.zeros((sides + 2, 3))
    points[:sides, a], points[:sides, b] = np.cos(angle) * size[a] / 2, np.sin(angle) * size[b] / 2
    points[sides:, axis] = np.array([1, -1]) * size[axis] / 2
    normals = points / np.square(size)
    return hull(normals, points)


def crown_planes(size: Size, rng: np.random.Generator) -> np.ndarray:
    """A bulging solid of 26 faces, each at a random distance: crowns of trees, bushes."""
    grid = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3)
    directions = grid[np.abs(grid).sum(axis=1) > 0].astype(float)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    half = np.asarray(size) / 2
    return hull(directions / half, directions * half * rng.uniform(0.8, 1.0, (len(directions), 1)))


@dataclass(frozen=True)
class Mesh:
    """All solids of a scene side by side, for vectorised work. F faces of S solids.

    planes: (F, 4); surfaces: (F, 2, 4); extent: (F, 2); solid: (F,) index; first: (S + 1,), solid k has the
    faces first[k] to first[k + 1]; T: (S, 4, 4); half: (S, 3); body: (S,); seed: (F,); texture: (F,) index
    into `textures`; colours: (3, F, 3).
    """

    planes: np.ndarray
    surfaces: np.ndarray
    extent: np.ndarray
    solid: np.ndarray
    first: np.ndarray
    T: np.ndarray
    half: np.ndarray
    body: np.ndarray
    seed: np.ndarray
    texture: np.ndarray
    textures: tuple[Texture, ...]
    colours: np.ndarray

    @staticmethod
    def of(solids: list[Solid]) -> Mesh:
        """The solids in one mesh, in their order."""
        counts = np.array([len(s.planes) for s in solids])
        solid = np.repeat(np.arange(len(solids)), counts)
        paints = [paint for s in solids for paint in s.paints]
        textures = tuple(dict.fromkeys(paint.texture for paint in paints))
        return Mesh(
            planes=np.concatenate([s.planes for s in solids]),
            surfaces=np.concatenate([s.surfaces for s in solids]),
            extent=np.concatenate([s.extent for s in solids]),
            solid=solid,
            first=np.concatenate([[0], np.cumsum(counts)]),
            T=np.stack([s.T for s in solids]),
            half=np.stack([np.asarray(s.size) / 2 for s in solids]),
            body=np.array([s.body for s in solids]),
            seed=np.array([s.seed for s in solids])[solid] * 7 + np.arange(len(solid)) % 7,
            texture=np.array([textures.index(paint.texture) for paint in paints]),
            textures=textures,
            colours=np.array([paint.colours for paint in paints], np.float32).swapaxes(0, 1).copy(),
        )


def windows(T_camera_solid: np.ndarray, half: np.ndarray, camera: Camera) -> np.ndarray:
    """(S, 4) int left, top, right, bottom (exclusive) px of boxes of half size `half`; empty if unseen."""
    R, t = T_camera_solid[:, :3, :3], T_camera_solid[:, None, :3, 3]
    corners = (CORNERS * half[:, None]) @ R.transpose(0, 2, 1) + t
    a, b = corners[:, EDGES[:, 0]], corners[:, EDGES[:, 1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (NEAR - a[..., 2:]) / (b[..., 2:] - a[..., 2:])
        cuts = np.where((share > 0) & (share < 1), a + share * (b - a), np.nan)
        points = np.concatenate([np.where(corners[..., 2:] > NEAR, corners, np.nan), cuts], axis=1)
        pixels = points[..., :2] / points[..., 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
    seen = np.isfinite(pixels).all(axis=2).any(axis=1)
    low = np.where(seen[:, None], np.nanmin(np.where(np.isfinite(pixels), pixels, np.inf), axis=1), 0)
    high = np.where(seen[:, None], np.nanmax(np.where(np.isfinite(pixels), pixels, -np.inf), axis=1), -1)
    size = [camera.width, camera.height]
    low, high = np.clip(np.floor(low), 0, size), np.clip(np.ceil(high) + 1, 0, size)
    return np.concatenate([low, high], axis=1).astype(int)


def cast(
    planes: np.ndarray, first: np.ndarray, boxes: np.ndarray, camera: Camera, far: float
) -> tuple[np.ndarray, np.ndarray]:
    """Inverse depth (H, W) float32 1/m, 0 = nothing within `far` m, and face index (H, W) int32, -1 = none.

    planes: (F, 4) in the camera frame; first: (S + 1,) as in Mesh; boxes: (S, 4) from `windows`.
    """
    x = (np.arange(camera.width) - camera.cx) / camera.fx
    y = (np.arange(camera.height) - camera.cy) / camera.fy
    inverse_depth = np.zeros((camera.height, camera.width), np.float32)
    face = np.full((camera.height, camera.width), -1, np.int32)
    slopes = -planes[:, :3] / np.where(np.abs(planes[:, 3:]) < 1e-9, 1e-9, planes[:, 3:])
    for k in np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])):
        left, top, right, bottom = boxes[k]
        faces = np.arange(first[k], first[k + 1])
        before = planes[faces, 3] > 0  # the camera lies before the face, so that a ray may enter there
        if not before.any():
            continue  # the camera is inside
        across = (slopes[faces, :1] * x[left:right] + slopes[faces, 2:]).astype(np.float32)[:, None]
        down = (slopes[faces, 1:2] * y[top:bottom]).astype(np.float32)[:, :, None]
        entry = np.full((bottom - top, right - left), np.inf, np.float32)
        hit_face = np.zeros(entry.shape, np.int32)
        leave = np.full(entry.shape, 1 / far, np.float32)
        for j, face_index in enumerate(faces):
            s = across[j] + down[j]
            if before[j]:
                hit_face[s < entry] = face_index
                np.minimum(entry, s, out=entry)
            else:
                np.maximum(leave, s, out=leave)
        known = inverse_depth[top:bottom, left:right]
        hit = (entry > leave) & (entry > known)
        np.copyto(known, entry, where=hit)
        np.copyto(face[top:bottom, left:right], hit_face, where=hit)
    return inverse_depth, face
