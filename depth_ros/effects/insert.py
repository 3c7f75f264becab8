"""A virtual object in a clip: a crate that stands still in the world and is hidden by what is in front of it."""

from __future__ import annotations

import numpy as np

from depth_ros.effects.clip import Moment
from depth_ros.world.patterns import Surface
from depth_ros.world.render import Light, Scene, look, paint
from depth_ros.world.shapes import Mesh, Paint, Solid, box_planes

LIGHT = Light(
    sun=np.array([0.35, -0.75, -0.56]), ambient=0.55, diffuse=0.45, tint=np.ones(3), zenith=np.zeros(3),
    horizon=np.zeros(3), visibility=1e6,
)  # fmt: skip


def planks(surface: Surface) -> np.ndarray:
    """A crate's side: a frame of the first colour, planks of the second, gaps of the third."""
    rim = 0.12 * surface.width
    inner = (np.minimum(surface.u, surface.width - surface.u) > rim) & (
        np.minimum(surface.v, surface.height - surface.v) > rim
    )
    gap = (surface.v / surface.height * 6) % 1 < 0.12
    return np.where((inner & gap)[:, None], surface.c, np.where(inner[:, None], surface.b, surface.a))


def crate(size: float, T_world_crate: np.ndarray) -> Scene:
    """A crate of `size` m at a place in the world."""
    paint_ = Paint(planks, ((0.85, 0.35, 0.10), (0.95, 0.55, 0.20), (0.35, 0.12, 0.05)))
    solid = Solid(box_planes([size] * 3), [size] * 3, T_world_crate, (paint_,) * 6)
    return Scene(Mesh.of([solid]), (lambda _: np.eye(4),), lambda _: np.eye(4), LIGHT, far=1e3)


def place(first: Moment, size: float, distance: float, column: float = 0.5, row: float = 0.5) -> Scene:
    """A crate in front of the camera of `first`, `distance` m away, at a place given as shares of the image.

    It is turned by 30 degrees, so that two sides show, with its top towards the top of that image.
    """
    assert first.T_world_camera is not None
    camera = first.frame.camera
    x = (column * (camera.width - 1) - camera.cx) / camera.fx * distance
    y = (row * (camera.height - 1) - camera.cy) / camera.fy * distance
    turn = np.radians(30.0)
    T = np.eye(4)  # the crate has z up, the camera y down
    T[:3, 0] = [np.cos(turn), 0, np.sin(turn)]
    T[:3, 1] = [-np.sin(turn), 0, np.cos(turn)]
    T[:3, 2] = [0, -1, 0]
    T[:3, 3] = [x, y, distance]
    return crate(size, first.T_world_camera @ T)


def in_front(first: Moment, size: float, column: float, row: float) -> float:
    """m, a distance at which a crate of that size touches nothing: half its diagonal nearer than what is seen in an
    eighth of the image about its place, of which the nearest tenth counts as noise. At least one size away."""
    assert first.depth is not None
    height, width = first.depth.shape
    rows, columns = (
        slice(max(0, round(share * side) - side // 16), round(share * side) + side // 16 + 1)
        for share, side in ((row, height), (column, width))
    )
    seen = first.depth[rows, columns]
    seen = seen[np.isfinite(seen)]
    nearest = float(np.quantile(seen, 0.1)) if len(seen) else 5 * size
    return max(nearest - size * np.sqrt(0.5), size)


def with_object(moment: Moment, scene: Scene) -> tuple[np.ndarray, float]:
    """The image (H, W, 3) uint8 with the object where it is nearer than the scene, and the share of it that shows; NaN
    where it is out of view. Unknown depth hides nothing. The moment needs a pose and depth in the units of the poses.
    """
    assert moment.T_world_camera is not None and moment.depth is not None
    view = look(scene, moment.frame.camera, moment.T_world_camera, 0.0)
    there = view.face >= 0
    hidden = np.isfinite(moment.depth) & (moment.depth < view.depth)
    shown = there & ~hidden
    image = moment.frame.image.copy()
    picture = np.clip(255 * paint(scene, view, 0.0), 0, 255).round().astype(np.uint8)
    image[shown] = picture[shown]
    return image, float(shown.sum() / there.sum()) if there.any() else float("nan")
