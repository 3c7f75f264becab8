"""A virtual object in a clip: a crate that is fixed in the world and occluded by nearer surfaces."""

from __future__ import annotations

import numpy as np

from depth_ros.effects.clip import ClipImage
from depth_ros.world.patterns import SurfacePoints
from depth_ros.world.render import Light, Scene, render_geometry, shade
from depth_ros.world.shapes import Material, Mesh, Solid, box_planes

LIGHT = Light(
    sun=np.array([0.35, -0.75, -0.56]), ambient=0.55, diffuse=0.45, tint=np.ones(3), zenith=np.zeros(3),
    horizon=np.zeros(3), visibility=1e6,
)  # fmt: skip
CRATE_YAW = np.radians(30.0)
"""Rotation of the crate about its vertical axis, rad; two sides are visible."""


def crate_texture(s: SurfacePoints) -> np.ndarray:
    """Side of a crate: a frame of the first colour, planks of the second, gaps of the third."""
    rim = 0.12 * s.width
    inner = (np.minimum(s.u, s.width - s.u) > rim) & (np.minimum(s.v, s.height - s.v) > rim)
    gap = (s.v / s.height * 6) % 1 < 0.12
    return np.where((inner & gap)[:, None], s.c, np.where(inner[:, None], s.b, s.a))


def crate_scene(size: float, T_world_crate: np.ndarray) -> Scene:
    """A scene with one crate of `size` m."""
    material = Material(crate_texture, ((0.85, 0.35, 0.10), (0.95, 0.55, 0.20), (0.35, 0.12, 0.05)))
    solid = Solid(box_planes([size] * 3), [size] * 3, T_world_crate, (material,) * 6)
    return Scene(Mesh.of([solid]), (lambda _: np.eye(4),), lambda _: np.eye(4), LIGHT, far=1e3)


def place_crate(
    first: ClipImage, size: float, distance: float, column: float = 0.5, row: float = 0.5
) -> Scene:
    """A crate in front of the camera of `first`, upright in that image. size, distance: m.

    column, row: position in the image, fractions of its width and height.
    """
    assert first.T_world_camera is not None
    camera = first.frame.camera
    x = (column * (camera.width - 1) - camera.cx) / camera.fx * distance
    y = (row * (camera.height - 1) - camera.cy) / camera.fy * distance
    T = np.eye(4)  # the crate has z up, the camera y down
    T[:3, 0] = [np.cos(CRATE_YAW), 0, np.sin(CRATE_YAW)]
    T[:3, 1] = [-np.sin(CRATE_YAW), 0, np.cos(CRATE_YAW)]
    T[:3, 2] = [0, -1, 0]
    T[:3, 3] = [x, y, distance]
    return crate_scene(size, first.T_world_camera @ T)


def free_distance(first: ClipImage, size: float, column: float, row: float) -> float:
    """Distance (m) at which a crate of `size` m does not intersect the scene; at least `size`.

    Half the diagonal of the crate less than the 10 % quantile of depth in an eighth of the image around its position
    (`column`, `row`: see `place_crate`).
    """
    assert first.depth is not None
    height, width = first.depth.shape
    rows, columns = (
        slice(max(0, round(fraction * length) - length // 16), round(fraction * length) + length // 16 + 1)
        for fraction, length in ((row, height), (column, width))
    )
    depth = first.depth[rows, columns]
    depth = depth[np.isfinite(depth)]
    nearest = float(np.quantile(depth, 0.1)) if len(depth) else 5 * size
    return max(nearest - size * np.sqrt(0.5), size)


def insert_object(image: ClipImage, scene: Scene) -> tuple[np.ndarray, float]:
    """The image (H, W, 3) uint8 with the object of `scene`, and the visible fraction of the object.

    The fraction is NaN if the object is out of view. Invalid depth occludes nothing. The image needs a pose and depth
    in the units of the poses.
    """
    assert image.T_world_camera is not None and image.depth is not None
    view = render_geometry(scene, image.frame.camera, image.T_world_camera, 0.0)
    in_view = view.face >= 0
    occluded = np.isfinite(image.depth) & (image.depth < view.depth)
    visible = in_view & ~occluded
    pixels = image.frame.image.copy()
    rendered = np.clip(255 * shade(scene, view, 0.0), 0, 255).round().astype(np.uint8)
    pixels[visible] = rendered[visible]
    return pixels, float(visible.sum() / in_view.sum()) if in_view.any() else float("nan")
