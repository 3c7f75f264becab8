"""Scenes and their rendering for a camera at a given time: geometry (inverse depth, faces), then the image."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.geometry import inverse
from depth_ros.world.patterns import STRAIGHT, Road, SurfacePoints, mix, value_noise
from depth_ros.world.shapes import Mesh, cast_rays, image_boxes


@dataclass(frozen=True)
class Light:
    """Sun, lamps, sky and haze.

    sun: (3,) unit vector towards the sun; ambient + diffuse: light on a face in full sun; tint: (3,) colour of all
    light; zenith, horizon: RGB of the sky; visibility: distance at which 63 % of the light is haze, m; lamps: (L, 4)
    positions in the world, m, and intensity, without shadows; shadows: whether the sun casts shadows.
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
    """Solids, the rigid bodies that they belong to, and the trajectory of the camera.

    bodies: T_world_body at a time (s); body 0 is the world itself. camera: T_world_camera (optical) at a time (s).
    far: distance of the far plane, m.
    """

    mesh: Mesh
    bodies: tuple[Callable[[float], np.ndarray], ...]
    camera: Callable[[float], np.ndarray]
    light: Light
    far: float
    road: Road = STRAIGHT


@dataclass(frozen=True)
class RenderedView:
    """Visible geometry of a scene. inverse_depth: (H, W) float32 1/m, 0 = sky; face: (H, W) int32, -1 = sky.

    planes: (F, 4) and uv_transforms: (F, 2, 4) of all faces in the camera frame; normals_world: (F, 3).
    """

    camera: Camera
    T_world_camera: np.ndarray
    inverse_depth: np.ndarray
    face: np.ndarray
    planes: np.ndarray
    uv_transforms: np.ndarray
    normals_world: np.ndarray

    @property
    def depth(self) -> np.ndarray:
        """(H, W) float32 m, NaN = sky."""
        with np.errstate(divide="ignore"):
            return np.where(self.face >= 0, 1 / self.inverse_depth, np.float32(np.nan))


def render_geometry(
    scene: Scene, camera: Camera, T_world_camera: np.ndarray, time: float, far: float = 0.0
) -> RenderedView:
    """Cast one ray through every pixel centre. far: overrides the far plane of the scene, m."""
    mesh = scene.mesh
    bodies = np.stack([body(time) for body in scene.bodies])
    T_world_solid = bodies[mesh.body] @ mesh.T
    T_camera_solid = inverse(T_world_camera) @ T_world_solid
    T_solid_camera = inverse(T_camera_solid)[mesh.solid]
    planes = np.einsum("fi,fij->fj", mesh.planes, T_solid_camera)
    uv_transforms = mesh.uv_transforms @ T_solid_camera
    normals_world = np.einsum("fij,fj->fi", T_world_solid[mesh.solid, :3, :3], mesh.planes[:, :3])
    boxes = image_boxes(T_camera_solid, mesh.half, camera)
    inverse_depth, face = cast_rays(planes, mesh.first, boxes, camera, far or scene.far)
    return RenderedView(camera, T_world_camera, inverse_depth, face, planes, uv_transforms, normals_world)


def _coordinates(
    view: RenderedView, face: np.ndarray, x: np.ndarray, y: np.ndarray, depth: np.ndarray
) -> list[np.ndarray]:
    """u, v, du, dv (H, W) m: coordinates on the face and the size of a pixel there.

    The point is t * ray with t = 1 / s: u = t (a . ray) + a3, so du/dx = t (a_x - (u - a3) ds/dx).
    """
    rows = np.concatenate(
        [
            view.uv_transforms.reshape(-1, 8),
            -view.planes[:, :2] / np.where(view.planes[:, 3:] == 0, 1, view.planes[:, 3:]),
        ],
        axis=1,
    ).astype(np.float32)
    rows = np.take(np.ascontiguousarray(rows.T), face, axis=1)
    slope_x, slope_y = rows[8], rows[9]
    coordinates, sizes = [], []
    for a in (rows[:4], rows[4:8]):
        offset = depth * (a[0] * x + a[1] * y + a[2])
        du_dx, du_dy = a[0] - offset * slope_x, a[1] - offset * slope_y
        coordinates.append(offset + a[3])
        sizes.append(depth / view.camera.fx * np.hypot(du_dx, du_dy) + 1e-6)
    return coordinates + sizes


def shade(scene: Scene, view: RenderedView, time: float) -> np.ndarray:
    """(H, W, 3) float32 RGB without image noise, in [0, 1]; larger where overexposed."""
    mesh, camera, light = scene.mesh, view.camera, scene.light
    x = ((np.arange(camera.width) - camera.cx) / camera.fx).astype(np.float32)[None]
    y = ((np.arange(camera.height) - camera.cy) / camera.fy).astype(np.float32)[:, None]
    face = np.maximum(view.face, 0)
    depth = np.where(view.face >= 0, 1 / np.maximum(view.inverse_depth, 1e-4), np.float32(1))
    u, v, du, dv = _coordinates(view, face, x, y, depth)
    seed = mesh.seed.astype(np.int32)
    coarse, fine = value_noise(u, v, du, dv, seed.astype(np.float32)[face])
    colour = _sky(scene, view, x, y).reshape(-1, 3)
    horizon = light.horizon.astype(np.float32)
    points = np.stack([depth * x, depth * y, depth], axis=-1)
    illumination = _illumination(scene, view, face, points, v, time).reshape(-1)
    haze = np.exp(-depth / np.float32(light.visibility)).reshape(-1)
    flat = [channel.reshape(-1) for channel in (u, v, du, dv, coarse, fine)]
    faces = view.face.reshape(-1)
    texture = np.where(faces >= 0, mesh.texture[faces], -1)
    for k in np.unique(texture[texture >= 0]):
        pixels = np.flatnonzero(texture == k)
        f = faces[pixels]
        u_, v_, du_, dv_, coarse_, fine_ = (channel[pixels] for channel in flat)
        width, height = mesh.extent[f].astype(np.float32).T
        a, b, c = np.take(mesh.colours, f, axis=1)
        surface = SurfacePoints(u_, v_, du_, dv_, width, height, seed[f], coarse_, fine_, a, b, c, scene.road)
        lit = mesh.textures[k](surface) * illumination[pixels, None] * light.tint.astype(np.float32)
        colour[pixels] = horizon + (lit - horizon) * haze[pixels, None]
    return colour.reshape(camera.height, camera.width, 3)


def _illumination(
    scene: Scene, view: RenderedView, face: np.ndarray, points: np.ndarray, v: np.ndarray, time: float
) -> np.ndarray:
    """(H, W) light on every pixel: sky by the orientation of the face, sun and lamps by Lambert's law."""
    light = scene.light
    sky = light.ambient * (0.75 + 0.25 * view.normals_world[:, 2])
    is_vertical = np.abs(view.normals_world[:, 2]) < 0.5
    occlusion = 0.25 * is_vertical  # less of the sky is visible from the foot of a wall
    sun = light.diffuse * np.maximum(view.normals_world @ light.sun, 0)
    per_face = np.take(np.stack([sky, occlusion, sun]).astype(np.float32), face, axis=1)
    total = per_face[0] * (1 - per_face[1] * np.exp(-v / np.float32(0.35)))
    total += per_face[2] * (_sun_visibility(scene, view, points, time) if light.shadows else np.float32(1))
    for lamp in light.lamps:
        position = (inverse(view.T_world_camera) @ [*lamp[:3], 1.0]).astype(np.float32)
        height = (view.planes @ position).astype(np.float32)[face]  # of the lamp above the face
        squared_distance = np.square(points - position[:3]).sum(axis=-1)
        total += (
            np.float32(lamp[3])
            * np.maximum(height, 0)
            / (squared_distance * np.sqrt(squared_distance) + np.float32(0.3))
        )
    return total


SHADOW_MAP_SIZE, SHADOW_MAP_HALF_WIDTH, SUN_DISTANCE = 512, 36.0, 400.0
"""Shadow map: width and height in px, half its width in m, distance of its camera in m."""


@functools.lru_cache(maxsize=2)  # the left and the right camera share one
def _shadow_map(scene: Scene, east: float, north: float, time: float) -> RenderedView:
    """The scene seen from the sun, around a point on the ground."""
    forward = -scene.light.sun
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    T_world_sun = np.eye(4)
    T_world_sun[:3] = np.column_stack(
        [right, np.cross(forward, right), forward, [east, north, 0] - SUN_DISTANCE * forward]
    )
    focal, centre = SHADOW_MAP_SIZE / 2 * SUN_DISTANCE / SHADOW_MAP_HALF_WIDTH, (SHADOW_MAP_SIZE - 1) / 2
    camera = Camera.pinhole(SHADOW_MAP_SIZE, SHADOW_MAP_SIZE, focal, focal, centre, centre)
    return render_geometry(scene, camera, T_world_sun, time, far=2 * SUN_DISTANCE)


def _sun_visibility(scene: Scene, view: RenderedView, points: np.ndarray, time: float) -> np.ndarray:
    """(H, W) visible fraction of the sun, 0 in shadow. points: (H, W, 3) in the camera frame.

    The centre of the shadow map is on a grid in the world, so that shadow edges do not move with the camera.
    """
    centre = view.T_world_camera @ [0.0, 0.0, 0.8 * SHADOW_MAP_HALF_WIDTH, 1.0]
    sun = _shadow_map(scene, *(np.round(centre[:2] / 16) * 16).tolist(), time)
    T = (inverse(sun.T_world_camera) @ view.T_world_camera).astype(np.float32)
    in_sun = (points.reshape(-1, 3) @ T[:3, :3].T + T[:3, 3]).reshape(points.shape)
    column, row = (
        in_sun[..., k] / in_sun[..., 2] * np.float32(sun.camera.fx) + np.float32(sun.camera.cx)
        for k in (0, 1)
    )
    return _shadow_test(sun.inverse_depth, column, row, 1 / (in_sun[..., 2] - np.float32(0.25)))


def _shadow_test(
    shadow_map: np.ndarray, column: np.ndarray, row: np.ndarray, inverse_depth: np.ndarray
) -> np.ndarray:
    """Percentage-closer filtering: bilinear mean over four pixels of "the shadow map is not nearer than the point"."""
    size = shadow_map.shape[0]
    left, top = np.floor(column), np.floor(row)
    right_weight, bottom_weight = column - left, row - top
    left, top = left.astype(np.int32), top.astype(np.int32)
    inside = (left >= 0) & (top >= 0) & (left < size - 1) & (top < size - 1)
    index = np.where(inside, top * size + left, 0)
    flat = shadow_map.reshape(-1)
    a, b, c, d = ((flat[index + step] <= inverse_depth).astype(np.float32) for step in (0, 1, size, size + 1))
    upper, lower = a + (b - a) * right_weight, c + (d - c) * right_weight
    return np.where(inside, upper + (lower - upper) * bottom_weight, np.float32(1))


def _sky(scene: Scene, view: RenderedView, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(H, W, 3) gradient from the horizon to the zenith with clouds."""
    out = np.zeros((y.size, x.size, 3), np.float32)
    rows = np.flatnonzero((view.face < 0).any(axis=1))
    if not rows.size:
        return out
    light, R, y = scene.light, view.T_world_camera[:3, :3].astype(np.float32), y[rows]
    east, north, up = (R[k, 0] * x + R[k, 1] * y + R[k, 2] for k in range(3))
    elevation = np.clip(up / np.sqrt(1 + x * x + y * y), 0, 1)
    height = np.maximum(elevation, np.float32(0.02))
    size = 0.05 / height
    coarse, _ = value_noise(0.8 * east / height, 0.8 * north / height, size, size, np.zeros_like(east))
    cloud = np.clip(0.5 + coarse, 0, 1) * np.clip(elevation * 6, 0, 1)
    sky = mix(light.horizon.astype(np.float32), light.zenith.astype(np.float32), np.sqrt(elevation))
    out[rows] = mix(sky, np.full(3, light.horizon.max(), np.float32), 0.5 * cloud)
    return out
