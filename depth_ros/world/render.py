"""A scene and what a camera sees of it at a time: image, inverse depth, faces."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.geometry import inverse
from depth_ros.world.patterns import STRAIGHT, Road, Surface, mix, noise
from depth_ros.world.shapes import Mesh, cast, windows


@dataclass(frozen=True)
class Light:
    """Sun, lamps, sky and haze.

    sun: (3,) unit vector towards it; ambient + diffuse: light on a face in full sun; tint: (3,) colour of all
    light; zenith, horizon: RGB of the sky; visibility: m at which 63 % of the light is haze; lamps: (L, 4)
    places in the world, m, and strength, without shadows; shadows: whether the sun casts them.
    """

    sun: np.ndarray
    ambient: float
    diffuse: float
    tint: np.ndarray
    zenith: np.ndarray
    horizon: np.ndarray
    visibility: float
    lamps: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    shadows: bool = False


@dataclass(frozen=True, eq=False)
class Scene:
    """Solids, the bodies that carry them and the camera's path. Times in s.

    bodies: T_world_body at a time; number 0 is the world itself. camera: T_world_camera (optical) at a time.
    far: m beyond which nothing is drawn.
    """

    mesh: Mesh
    bodies: tuple[Callable[[float], np.ndarray], ...]
    camera: Callable[[float], np.ndarray]
    light: Light
    far: float
    road: Road = STRAIGHT


@dataclass(frozen=True)
class View:
    """What one camera sees. inverse_depth: (H, W) float32 1/m, 0 = sky; face: (H, W) int32, -1 = sky.

    planes: (F, 4), surfaces: (F, 2, 4) of all faces in the camera frame; facing: (F, 3) normals in the world.
    """

    camera: Camera
    T_world_camera: np.ndarray
    inverse_depth: np.ndarray
    face: np.ndarray
    planes: np.ndarray
    surfaces: np.ndarray
    facing: np.ndarray

    @property
    def depth(self) -> np.ndarray:
        """(H, W) float32 m, NaN = sky."""
        with np.errstate(divide="ignore"):
            return np.where(self.face >= 0, 1 / self.inverse_depth, np.float32(np.nan))


def look(scene: Scene, camera: Camera, T_world_camera: np.ndarray, time: float, far: float = 0.0) -> View:
    """Cast one ray through every pixel centre, as far as the scene says or `far` m."""
    mesh = scene.mesh
    bodies = np.stack([body(time) for body in scene.bodies])
    T_world_solid = bodies[mesh.body] @ mesh.T
    T_camera_solid = inverse(T_world_camera) @ T_world_solid
    T_solid_camera = inverse(T_camera_solid)[mesh.solid]
    planes = np.einsum("fi,fij->fj", mesh.planes, T_solid_camera)
    surfaces = mesh.surfaces @ T_solid_camera
    facing = np.einsum("fij,fj->fi", T_world_solid[mesh.solid, :3, :3], mesh.planes[:, :3])
    boxes = windows(T_camera_solid, mesh.half, camera)
    inverse_depth, face = cast(planes, mesh.first, boxes, camera, far or scene.far)
    return View(camera, T_world_camera, inverse_depth, face, planes, surfaces, facing)


def _coordinates(
    view: View, face: np.ndarray, x: np.ndarray, y: np.ndarray, depth: np.ndarray
) -> list[np.ndarray]:
    """u, v, du, dv (H, W) m: place on the face and the size of a pixel there.

    With the point t * ray, t = 1 / s: u = t (a . ray) + a3, so du/dx = t (a_x - (u - a3) ds/dx).
    """
    rows = np.concatenate(
        [
            view.surfaces.reshape(-1, 8),
            -view.planes[:, :2] / np.where(view.planes[:, 3:] == 0, 1, view.planes[:, 3:]),
        ],
        axis=1,
    ).astype(np.float32)
    rows = np.take(np.ascontiguousarray(rows.T), face, axis=1)
    slope_x, slope_y = rows[8], rows[9]
    places, sizes = [], []
    for a in (rows[:4], rows[4:8]):
        away = depth * (a[0] * x + a[1] * y + a[2])
        over_x, over_y = a[0] - away * slope_x, a[1] - away * slope_y
        places.append(away + a[3])
        sizes.append(depth / view.camera.fx * np.hypot(over_x, over_y) + 1e-6)
    return places + sizes


def paint(scene: Scene, view: View, time: float) -> np.ndarray:
    """(H, W, 3) float32 RGB in [0, 1] and above where overexposed, before the camera's own noise."""
    mesh, camera, light = scene.mesh, view.camera, scene.light
    x = ((np.arange(camera.width) - camera.cx) / camera.fx).astype(np.float32)[None]
    y = ((np.arange(camera.height) - camera.cy) / camera.fy).astype(np.float32)[:, None]
    face = np.maximum(view.face, 0)
    depth = np.where(view.face >= 0, 1 / np.maximum(view.inverse_depth, 1e-4), np.float32(1))
    u, v, du, dv = _coordinates(view, face, x, y, depth)
    seed = mesh.seed.astype(np.int32)
    rough, fine = noise(u, v, du, dv, seed.astype(np.float32)[face])
    colour = _sky(scene, view, x, y).reshape(-1, 3)
    horizon = light.horizon.astype(np.float32)
    points = np.stack([depth * x, depth * y, depth], axis=-1)
    light_on = _illumination(scene, view, face, points, v, time).reshape(-1)
    haze = np.exp(-depth / np.float32(light.visibility)).reshape(-1)
    flat = [channel.reshape(-1) for channel in (u, v, du, dv, rough, fine)]
    faces = view.face.reshape(-1)
    texture = np.where(faces >= 0, mesh.texture[faces], -1)
    for k in np.unique(texture[texture >= 0]):
        pixels = np.flatnonzero(texture == k)
        f = faces[pixels]
        u_, v_, du_, dv_, rough_, fine_ = (channel[pixels] for channel in flat)
        width, height = mesh.extent[f].astype(np.float32).T
        a, b, c = np.take(mesh.colours, f, axis=1)
        surface = Surface(u_, v_, du_, dv_, width, height, seed[f], rough_, fine_, a, b, c, scene.road)
        own = mesh.textures[k](surface) * light_on[pixels, None] * light.tint.astype(np.float32)
        colour[pixels] = horizon + (own - horizon) * haze[pixels, None]
    return colour.reshape(camera.height, camera.width, 3)


def _illumination(
    scene: Scene, view: View, face: np.ndarray, points: np.ndarray, v: np.ndarray, time: float
) -> np.ndarray:
    """(H, W) light on every pixel: sky by how much of it a face looks at, sun and lamps by Lambert's law."""
    light = scene.light
    sky = light.ambient * (0.75 + 0.25 * view.facing[:, 2])
    upright = np.abs(view.facing[:, 2]) < 0.5
    corner = 0.25 * upright  # near the ground a wall sees less of the sky
    sun = light.diffuse * np.maximum(view.facing @ light.sun, 0)
    per_face = np.take(np.stack([sky, corner, sun]).astype(np.float32), face, axis=1)
    total = per_face[0] * (1 - per_face[1] * np.exp(-v / np.float32(0.35)))
    total += per_face[2] * (_sunlit(scene, view, points, time) if light.shadows else np.float32(1))
    for lamp in light.lamps:
        place = (inverse(view.T_world_camera) @ [*lamp[:3], 1.0]).astype(np.float32)
        height = (view.planes @ place).astype(np.float32)[face]  # of the lamp above the plane of the face
        distance = np.square(points - place[:3]).sum(axis=-1)
        total += (
            np.float32(lamp[3]) * np.maximum(height, 0) / (distance * np.sqrt(distance) + np.float32(0.3))
        )
    return total


SUN_PIXELS, SUN_REACH, SUN_AWAY = 512, 36.0, 400.0
"""The shadow map: size, half its width in m, distance of its camera in m."""


@functools.lru_cache(maxsize=2)  # both eyes share one
def _shadow_map(scene: Scene, east: float, north: float, time: float) -> View:
    """What the sun sees of the surroundings of a place on the ground."""
    forward = -scene.light.sun
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    T_world_sun = np.eye(4)
    T_world_sun[:3] = np.column_stack(
        [right, np.cross(forward, right), forward, [east, north, 0] - SUN_AWAY * forward]
    )
    focal, centre = SUN_PIXELS / 2 * SUN_AWAY / SUN_REACH, (SUN_PIXELS - 1) / 2
    camera = Camera.pinhole(SUN_PIXELS, SUN_PIXELS, focal, focal, centre, centre)
    return look(scene, camera, T_world_sun, time, far=2 * SUN_AWAY)


def _sunlit(scene: Scene, view: View, points: np.ndarray, time: float) -> np.ndarray:
    """(H, W) share of the sun's disc that a pixel sees: 0 in shadow. `points` (H, W, 3) in the camera frame.

    The middle of the map stays on a grid in the world, so that shadows do not crawl with the camera.
    """
    middle = view.T_world_camera @ [0.0, 0.0, 0.8 * SUN_REACH, 1.0]
    sun = _shadow_map(scene, *(np.round(middle[:2] / 16) * 16).tolist(), time)
    T = (inverse(sun.T_world_camera) @ view.T_world_camera).astype(np.float32)
    seen = (points.reshape(-1, 3) @ T[:3, :3].T + T[:3, 3]).reshape(points.shape)
    column, row = (
        seen[..., k] / seen[..., 2] * np.float32(sun.camera.fx) + np.float32(sun.camera.cx) for k in (0, 1)
    )
    return _closer(sun.inverse_depth, column, row, 1 / (seen[..., 2] - np.float32(0.25)))


def _closer(nearest: np.ndarray, column: np.ndarray, row: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Share, bilinear between four pixels, of `nearest` (inverse depth) that are not nearer than `held`."""
    size = nearest.shape[0]
    left, top = np.floor(column), np.floor(row)
    right_share, low_share = column - left, row - top
    left, top = left.astype(np.int32), top.astype(np.int32)
    known = (left >= 0) & (top >= 0) & (left < size - 1) & (top < size - 1)
    at = np.where(known, top * size + left, 0)
    flat = nearest.reshape(-1)
    a, b, c, d = ((flat[at + step] <= held).astype(np.float32) for step in (0, 1, size, size + 1))
    upper, lower = a + (b - a) * right_share, c + (d - c) * right_share
    return np.where(known, upper + (lower - upper) * low_share, np.float32(1))


def _sky(scene: Scene, view: View, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(H, W, 3) gradient from the horizon to the zenith with some clouds."""
    out = np.zeros((y.size, x.size, 3), np.float32)
    rows = np.flatnonzero((view.face < 0).any(axis=1))
    if not rows.size:
        return out
    light, R, y = scene.light, view.T_world_camera[:3, :3].astype(np.float32), y[rows]
    east, north, up = (R[k, 0] * x + R[k, 1] * y + R[k, 2] for k in range(3))
    elevation = np.clip(up / np.sqrt(1 + x * x + y * y), 0, 1)
    height = np.maximum(elevation, np.float32(0.02))
    size = 0.05 / height
    rough, _ = noise(0.8 * east / height, 0.8 * north / height, size, size, np.zeros_like(east))
    cloud = np.clip(0.5 + rough, 0, 1) * np.clip(elevation * 6, 0, 1)
    sky = mix(light.horizon.astype(np.float32), light.zenith.astype(np.float32), np.sqrt(elevation))
    out[rows] = mix(sky, np.full(3, light.horizon.max(), np.float32), 0.5 * cloud)
    return out
