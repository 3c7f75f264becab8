"""A scene and what a camera sees of it at a time: image, inverse depth, faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.geometry import inverse
from depth_ros.world import textures
from depth_ros.world.shapes import Mesh, cast, windows


@dataclass(frozen=True)
class Light:
    """Sun, sky and haze. sun: (3,) unit vector towards it; ambient + diffuse is the light on a face in full sun.

    zenith, horizon: RGB of the sky in [0, 1]; visibility: m at which 63 % of the light is haze.
    """

    sun: np.ndarray
    ambient: float
    diffuse: float
    tint: np.ndarray
    zenith: np.ndarray
    horizon: np.ndarray
    visibility: float


@dataclass(frozen=True)
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
    road: textures.Road | None = None


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


def look(scene: Scene, camera: Camera, T_world_camera: np.ndarray, time: float) -> View:
    """Cast one ray through every pixel centre."""
    mesh = scene.mesh
    bodies = np.stack([body(time) for body in scene.bodies])
    T_world_solid = bodies[mesh.body] @ mesh.T
    T_camera_solid = inverse(T_world_camera) @ T_world_solid
    T_solid_camera = inverse(T_camera_solid)[mesh.solid]
    planes = np.einsum("fi,fij->fj", mesh.planes, T_solid_camera)
    surfaces = mesh.surfaces @ T_solid_camera
    facing = np.einsum("fij,fj->fi", T_world_solid[mesh.solid, :3, :3], mesh.planes[:, :3])
    boxes = windows(T_camera_solid, mesh.half, camera)
    inverse_depth, face = cast(planes, mesh.first, boxes, camera, scene.far)
    return View(camera, T_world_camera, inverse_depth, face, planes, surfaces, facing)


def _coordinates(view: View, face: np.ndarray, x: np.ndarray, y: np.ndarray, depth: np.ndarray) -> list[np.ndarray]:
    """u, v, du, dv (H, W) m: place on the face and the size of a pixel there.

    With the point t * ray, t = 1 / s: u = t (a . ray) + a3, so du/dx = t (a_x - (u - a3) ds/dx).
    """
    rows = np.concatenate(
        [view.surfaces.reshape(-1, 8), -view.planes[:, :2] / np.where(view.planes[:, 3:] == 0, 1, view.planes[:, 3:])],
        axis=1,
    ).astype(np.float32)
    rows = rows.T[:, face]
    slope_x, slope_y = rows[8], rows[9]
    places, sizes = [], []
    for a in (rows[:4], rows[4:8]):
        away = depth * (a[0] * x + a[1] * y + a[2])
        over_x, over_y = a[0] - away * slope_x, a[1] - away * slope_y
        places.append(away + a[3])
        sizes.append(depth / view.camera.fx * np.hypot(over_x, over_y) + 1e-6)
    return places + sizes


def paint(scene: Scene, view: View) -> np.ndarray:
    """(H, W, 3) float32 RGB in [0, 1], before the camera's own noise."""
    mesh, camera, light = scene.mesh, view.camera, scene.light
    x = ((np.arange(camera.width) - camera.cx) / camera.fx).astype(np.float32)[None]
    y = ((np.arange(camera.height) - camera.cy) / camera.fy).astype(np.float32)[:, None]
    face = np.maximum(view.face, 0)
    depth = np.where(view.face >= 0, 1 / np.maximum(view.inverse_depth, 1e-4), np.float32(1))
    u, v, du, dv = _coordinates(view, face, x, y, depth)
    seed = mesh.seed.astype(np.int32)
    rough, fine = textures.noise(u, v, du, dv, seed.astype(np.float32)[face])
    colour = _sky(scene, view, x, y).reshape(-1, 3)
    flat = [channel.reshape(-1) for channel in (u, v, du, dv, rough, fine)]
    faces = view.face.reshape(-1)
    texture = np.where(faces >= 0, mesh.texture[faces], -1)
    lit = _lit(scene, view)
    haze = np.exp(-depth.reshape(-1) / light.visibility)
    for k in np.unique(texture[texture >= 0]):
        pixels = np.flatnonzero(texture == k)
        f = faces[pixels]
        u_, v_, du_, dv_, rough_, fine_ = (channel[pixels] for channel in flat)
        width, height = mesh.extent[f].astype(np.float32).T
        a, b, c = (mesh.colours[f, i : i + 3] for i in (0, 3, 6))
        surface = textures.Surface(u_, v_, du_, dv_, width, height, seed[f], rough_, fine_, a, b, c, scene.road)
        own = getattr(textures, mesh.names[k])(surface)
        upright = np.abs(view.facing[f, 2]) < 0.5
        corner = 1 - 0.25 * upright * np.exp(-v_ / 0.35)  # ground and walls hide some of the sky from each other
        own = own * (lit[f] * corner[:, None].astype(np.float32))
        colour[pixels] = light.horizon + (own - light.horizon) * haze[pixels, None]
    return colour.reshape(camera.height, camera.width, 3)


def _lit(scene: Scene, view: View) -> np.ndarray:
    """(F, 3) light on every face: the sun by Lambert's law, the sky by how much of it the face looks at."""
    light = scene.light
    direct = np.maximum(view.facing @ light.sun, 0)
    sky = 0.75 + 0.25 * view.facing[:, 2]
    return ((light.ambient * sky + light.diffuse * direct)[:, None] * light.tint).astype(np.float32)


def _sky(scene: Scene, view: View, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(H, W, 3) gradient from the horizon to the zenith with some clouds."""
    R = view.T_world_camera[:3, :3].astype(np.float32)
    up = R[2, 0] * x + R[2, 1] * y + R[2, 2]
    elevation = np.clip(up / np.sqrt(1 + x * x + y * y), 0.0, 1)
    light = scene.light
    if not (view.face < 0).any():
        return np.zeros((*elevation.shape, 3), np.float32)
    height = np.maximum(elevation, 0.02)
    east, north = (R[0, 0] * x + R[0, 1] * y + R[0, 2]) / height, (R[1, 0] * x + R[1, 1] * y + R[1, 2]) / height
    size = np.full_like(east, 0.05) / height
    rough, _ = textures.noise(east * 0.8, north * 0.8, size, size, np.zeros_like(east))
    cloud = np.clip(0.5 + rough, 0, 1) * np.clip(elevation * 6, 0, 1)
    sky = textures.mix(light.horizon.astype(np.float32), light.zenith.astype(np.float32), np.sqrt(elevation))
    return textures.mix(sky, np.ones(3, np.float32) * light.horizon.max(), 0.5 * cloud).astype(np.float32)
