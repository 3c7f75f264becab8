"""Convex solids with textured faces, and ray casting.

A solid is the intersection of half-spaces. The inverse depth s = 1 / Z of a plane is an affine function of
the pixel: n . X + d = 0 and X = ray / s give s = -(n . ray) / d. A ray enters a solid through the face with
the smallest s among those with the camera in front (d > 0) and leaves it through the face with the largest s among
the others, so hit, face and depth are exact and need no division per pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.world.patterns import Texture

Size = Sequence[float] | np.ndarray
"""Lengths along x, y and z, m."""

NEAR_PLANE = 0.05
"""Distance of the near plane, m."""

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
EDGES = np.array([(i, j) for i in range(8) for j in range(i) if abs(CORNERS[i] - CORNERS[j]).sum() == 2])


@dataclass(frozen=True)
class Material:
    """Appearance of a face: a texture and its three RGB colours in [0, 1]."""

    texture: Texture
    colours: tuple = ((0.5, 0.5, 0.5), (0.4, 0.4, 0.4), (0.3, 0.3, 0.3))


@dataclass(frozen=True)
class Solid:
    """A convex solid. planes: (K, 4), n . X + d <= 0 inside, m, outward unit normals, in the frame of the solid.

    size: (3,) of its bounding box, which is centred in its frame. T: (4, 4) from its frame to that of the rigid
    body with index `body` (0 = the world). materials: one per face (K). seed: varies its textures.
    """

    planes: np.ndarray
    size: Size
    T: np.ndarray
    materials: tuple[Material, ...]
    body: int = 0
    seed: int = 0
    uv_transforms: np.ndarray = field(init=False)
    """(K, 2, 4) from points in the frame of the solid to u, v on the face, m: to the right and up from a corner."""
    extent: np.ndarray = field(init=False)
    """(K, 2) width and height of the faces, m."""

    def __post_init__(self) -> None:
        n = self.planes[:, :3]
        is_horizontal = np.abs(n[:, 2]) > 0.95
        u = np.where(is_horizontal[:, None], [1.0, 0.0, 0.0], np.cross([0.0, 0.0, 1.0], n))
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        axes = np.stack([u, np.cross(n, u)], axis=1)
        half_extent = np.abs(axes) @ (np.asarray(self.size) / 2)
        object.__setattr__(self, "uv_transforms", np.concatenate([axes, half_extent[..., None]], axis=2))
        object.__setattr__(self, "extent", 2 * half_extent)


def planes_through(normals: np.ndarray | list, points: np.ndarray) -> np.ndarray:
    """(K, 4) planes through `points` (K, 3) with outward `normals` (K, 3) of any length."""
    n = np.asarray(normals, float)
    n = n / np.linalg.norm(n, axis=1, keepdims=True)
    return np.hstack([n, -(n * points).sum(axis=1, keepdims=True)])


def box_planes(size: Size) -> np.ndarray:
    """Faces +x -x +y -y +z -z of a box of `size` (3,) m."""
    normals = np.repeat(np.eye(3), 2, axis=0) * np.array([1, -1, 1, -1, 1, -1])[:, None]
    return planes_through(normals, normals * np.asarray(size) / 2)


def tapered_planes(size: Size, front: float, back: float, side: float) -> np.ndarray:
    """A box whose top is shorter by `front` m at +x, `back` at -x and `side` at +y and -y: cabins, roofs."""
    (x, y, z), height = np.asarray(size) / 2, size[2]
    normals = [
        [height, 0, front],
        [-height, 0, back],
        [0, height, side],
        [0, -height, side],
        [0, 0, 1],
        [0, 0, -1],
    ]
    return planes_through(
        normals, np.array([[x, 0, -z], [-x, 0, -z], [0, y, -z], [0, -y, -z], [0, 0, z], [0, 0, -z]])
    )


def prism_planes(size: Size, axis: int, sides: int = 8) -> np.ndarray:
    """A regular prism about `axis` with bounding box `size`: poles, trunks, wheels. The two ends come last."""
    angle = 2 * np.pi * np.arange(sides) / sides
    a, b = [k for k in range(3) if k != axis]
    points = np.zeros((sides + 2, 3))
    points[:sides, a], points[:sides, b] = np.cos(angle) * size[a] / 2, np.sin(angle) * size[b] / 2
    points[sides:, axis] = np.array([1, -1]) * size[axis] / 2
    normals = points / np.square(size)
    return planes_through(normals, points)


def crown_planes(size: Size, rng: np.random.Generator) -> np.ndarray:
    """A rounded solid of 26 faces at random distances: crowns of trees, bushes."""
    grid = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3)
    directions = grid[np.abs(grid).sum(axis=1) > 0].astype(float)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    half = np.asarray(size) / 2
    return planes_through(directions / half, directions * half * rng.uniform(0.8, 1.0, (len(directions), 1)))


@dataclass(frozen=True)
class Mesh:
    """All solids of a scene in arrays: F faces of S solids.

    planes: (F, 4); uv_transforms: (F, 2, 4); extent: (F, 2); solid: (F,) index; first: (S + 1,), solid k has the
    faces first[k] to first[k + 1]; T: (S, 4, 4); half: (S, 3) half sizes; body: (S,); seed: (F,); texture: (F,)
    index into `textures`; colours: (3, F, 3).
    """

    planes: np.ndarray
    uv_transforms: np.ndarray
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
        """A mesh of the solids, in their order."""
        counts = np.array([len(s.planes) for s in solids])
        solid = np.repeat(np.arange(len(solids)), counts)
        materials = [material for s in solids for material in s.materials]
        textures = tuple(dict.fromkeys(material.texture for material in materials))
        return Mesh(
            planes=np.concatenate([s.planes for s in solids]),
            uv_transforms=np.concatenate([s.uv_transforms for s in solids]),
            extent=np.concatenate([s.extent for s in solids]),
            solid=solid,
            first=np.concatenate([[0], np.cumsum(counts)]),
            T=np.stack([s.T for s in solids]),
            half=np.stack([np.asarray(s.size) / 2 for s in solids]),
            body=np.array([s.body for s in solids]),
            seed=np.array([s.seed for s in solids])[solid] * 7 + np.arange(len(solid)) % 7,
            texture=np.array([textures.index(paint.texture) for paint in materials]),
            textures=textures,
            colours=np.array([material.colours for material in materials], np.float32).swapaxes(0, 1).copy(),
        )


def image_boxes(T_camera_solid: np.ndarray, half: np.ndarray, camera: Camera) -> np.ndarray:
    """(S, 4) int bounding boxes in the image: left, top, right, bottom (exclusive) px; empty if not visible.

    half: (S, 3) half sizes of the solids, m.
    """
    R, t = T_camera_solid[:, :3, :3], T_camera_solid[:, None, :3, 3]
    corners = (CORNERS * half[:, None]) @ R.transpose(0, 2, 1) + t
    a, b = corners[:, EDGES[:, 0]], corners[:, EDGES[:, 1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = (NEAR_PLANE - a[..., 2:]) / (b[..., 2:] - a[..., 2:])
        cuts = np.where((fraction > 0) & (fraction < 1), a + fraction * (b - a), np.nan)
        points = np.concatenate([np.where(corners[..., 2:] > NEAR_PLANE, corners, np.nan), cuts], axis=1)
        pixels = points[..., :2] / points[..., 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
    visible = np.isfinite(pixels).all(axis=2).any(axis=1)
    low = np.where(visible[:, None], np.nanmin(np.where(np.isfinite(pixels), pixels, np.inf), axis=1), 0)
    high = np.where(visible[:, None], np.nanmax(np.where(np.isfinite(pixels), pixels, -np.inf), axis=1), -1)
    size = [camera.width, camera.height]
    low, high = np.clip(np.floor(low), 0, size), np.clip(np.ceil(high) + 1, 0, size)
    return np.concatenate([low, high], axis=1).astype(int)


def cast_rays(
    planes: np.ndarray, first: np.ndarray, boxes: np.ndarray, camera: Camera, far: float
) -> tuple[np.ndarray, np.ndarray]:
    """Inverse depth (H, W) float32 1/m, 0 = no hit within `far` m, and face index (H, W) int32, -1 = no hit.

    planes: (F, 4) in the camera frame; first: (S + 1,) as in Mesh; boxes: (S, 4) from `image_boxes`.
    """
    x = (np.arange(camera.width) - camera.cx) / camera.fx
    y = (np.arange(camera.height) - camera.cy) / camera.fy
    inverse_depth = np.zeros((camera.height, camera.width), np.float32)
    face = np.full((camera.height, camera.width), -1, np.int32)
    slopes = -planes[:, :3] / np.where(np.abs(planes[:, 3:]) < 1e-9, 1e-9, planes[:, 3:])
    for k in np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])):
        left, top, right, bottom = boxes[k]
        faces = np.arange(first[k], first[k + 1])
        is_front = planes[faces, 3] > 0  # the camera is in front of the face, so rays may enter through it
        if not is_front.any():
            continue  # the camera is inside the solid
        across = (slopes[faces, :1] * x[left:right] + slopes[faces, 2:]).astype(np.float32)[:, None]
        down = (slopes[faces, 1:2] * y[top:bottom]).astype(np.float32)[:, :, None]
        entry = np.full((bottom - top, right - left), np.inf, np.float32)
        hit_face = np.zeros(entry.shape, np.int32)
        exit_ = np.full(entry.shape, 1 / far, np.float32)
        for j, face_index in enumerate(faces):
            s = across[j] + down[j]
            if is_front[j]:
                hit_face[s < entry] = face_index
                np.minimum(entry, s, out=entry)
            else:
                np.maximum(exit_, s, out=exit_)
        nearest = inverse_depth[top:bottom, left:right]
        hit = (entry > exit_) & (entry > nearest)
        np.copyto(nearest, entry, where=hit)
        np.copyto(face[top:bottom, left:right], hit_face, where=hit)
    return inverse_depth, face
