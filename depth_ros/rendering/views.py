"""Camera poses in the free space of a scene: random views, a drive, and close views of tables."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from scipy import ndimage
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.geometry import T_BODY_OPTICAL, rays, se3_exp
from depth_ros.rendering.free_space import FreeSpace
from depth_ros.rendering.settings import SceneSettings

TRIES = 3000
"""Positions that are tried for one view."""
RAYS = (32, 24)
"""Rays across and down a view that is judged."""
TABLE = (0.3, 1.3)
"""Heights of the surfaces that arms look at, m above the floor."""
ROBOT_RADIUS = 0.3
"""Distance of a drive from obstacles, m."""
MIN_AREA = 1.0
"""Free floor that a drive needs, m2."""
CORNER = 0.25
"""Length over which corners of a drive are rounded, m, standard deviation."""
TURN_RATE = 45.0
"""Maximum angular velocity of a drive, and of the camera during the exposure of other views, degrees/s."""
Views = Callable[[FreeSpace, SceneSettings, int], np.ndarray]
"""T_world_camera (4, 4), optical, of the frame of a number; it depends on the seed and the number alone."""


def camera_pose(position: np.ndarray, yaw: float, pitch: float, roll: float) -> np.ndarray:
    """T_world_camera (4, 4), optical; rad, pitch > 0 looks up, roll > 0 lowers the right side."""
    (sy, cy), (sp, cp), (sr, cr) = ((math.sin(a), math.cos(a)) for a in (yaw, -pitch, roll))
    T = np.eye(4)
    T[:3, :3] = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    T[:3, 3] = position
    return T @ T_BODY_OPTICAL


def view_depth(space: FreeSpace, camera: Camera, T_world_camera: np.ndarray, reach: float) -> np.ndarray:
    """(24, 32) m along the optical axis, to the precision of a cell; infinite beyond `reach`."""
    directions = rays(camera.resized(*RAYS)).reshape(-1, 3) @ T_world_camera[:3, :3].T
    lengths = np.linalg.norm(directions, axis=1)
    distance = space.trace(T_world_camera[:3, 3], directions / lengths[:, None], reach)
    return (distance / lengths).reshape(RAYS[1], RAYS[0])


def is_useful(depth: np.ndarray, settings: SceneSettings) -> bool:
    """Whether a random view has enough known depth, nothing too close, and more than one flat wall."""
    known = depth[depth < settings.max_depth]
    if len(known) < max(settings.min_valid * depth.size, 1) or (depth < 0.5).mean() > 0.3:
        return False
    near, middle, far = np.quantile(known, [0.1, 0.5, 0.9])
    return bool(known.min() > settings.clearance and middle > 0.6 and far / near > 1.5)


def random_view(space: FreeSpace, settings: SceneSettings, number: int) -> np.ndarray:
    """An independent view: a random place above the floor, any heading, mostly looking slightly down."""
    rng = np.random.default_rng([settings.seed, number, 1])
    for _ in range(TRIES):
        height = rng.uniform(settings.lowest, settings.highest)
        position = np.array([*rng.uniform(space.low[:2], space.high[:2]), space.floor + height])
        yaw, pitch = rng.uniform(-math.pi, math.pi), rng.normal(-8 if height > 0.6 else 0, 10)
        roll = float(np.clip(rng.normal(0, 2.5), -6, 6))
        T = camera_pose(position, yaw, math.radians(np.clip(pitch, -35, 15)), math.radians(roll))
        if not stands_free(space, settings, T, height):
            continue
        if is_useful(view_depth(space, settings.camera, T, settings.max_depth), settings):
            return T
    raise DepthRosError(
        f"no useful view among {TRIES}: {settings.lowest:g} to {settings.highest:g} m above the floor at "
        f"{space.floor:.2f} m, {settings.clearance:g} m from all surfaces, {settings.min_valid:.0%} of the view within "
        f"{settings.max_depth:g} m; change --lowest, --highest, --clearance, --min-valid or --max-depth"
    )


def stands_free(space: FreeSpace, settings: SceneSettings, T: np.ndarray, height: float) -> bool:
    """Whether a camera (both of a pair) keeps its clearance, and the floor is `height` m below it."""
    positions = T[:3, 3] + np.outer((0.0, settings.baseline), T[:3, 0])
    if (space.clearance(positions) < settings.clearance).any():
        return False
    down = space.trace(T[:3, 3], np.array([[0.0, 0.0, -1.0]]), height + 1.0)[0]
    return bool(abs(down - height) < 2 * space.cell)


def arm_view(space: FreeSpace, settings: SceneSettings, number: int) -> np.ndarray:
    """A view from 0.3 to 0.9 m at a level surface at a table's height, from above at 35 to 85 degrees."""
    rng = np.random.default_rng([settings.seed, number, 2])
    for _ in range(TRIES):
        start = np.array(
            [*rng.uniform(space.low[:2], space.high[:2]), space.floor + rng.uniform(*TABLE) + 0.2]
        )
        height, level = space.surface_below(start)
        if not level or not TABLE[0] < height - space.floor < TABLE[1]:
            continue
        target = np.array([*start[:2], height])
        yaw, pitch = rng.uniform(-math.pi, math.pi), -math.radians(rng.uniform(35, 85))
        T = camera_pose(target, yaw, pitch, math.radians(rng.normal(0, 5)))
        reach = rng.uniform(0.3, 0.9)
        T[:3, 3] -= reach * T[:3, 2]
        clearance = min(settings.clearance, reach / 2)
        seen = space.trace(T[:3, 3], T[None, :3, 2], 2 * reach)[0]
        if space.clearance(T[:3, 3]) >= clearance and abs(seen - reach) < 3 * space.cell:
            return T
    raise DepthRosError(
        f"no free view of a level surface {TABLE[0]:g} to {TABLE[1]:g} m above the floor at {space.floor:.2f} m: use "
        "--views random"
    )


def drive_view(space: FreeSpace, settings: SceneSettings, number: float) -> np.ndarray:
    """A pose of a drive at a constant height along the path of the seed; between frames, too, and just beyond them."""
    height = np.random.default_rng([settings.seed, 3]).uniform(settings.lowest, settings.highest)
    path, headings = _path(space, settings, height)
    frame = min(max(math.floor(number), 0), max(len(path) - 2, 0))
    following, part = min(frame + 1, len(path) - 1), number - frame
    position = path[frame] + part * (path[following] - path[frame])
    heading = headings[frame] + part * (headings[following] - headings[frame])
    return camera_pose(np.array([*position, space.floor + height]), heading, 0.0, 0.0)


VIEWS: dict[str, Views] = {"random": random_view, "drive": drive_view, "arm": arm_view}


def exposed_poses(space: FreeSpace, settings: SceneSettings, number: int, T: np.ndarray) -> list[np.ndarray]:
    """T_world_camera (4, 4) at `settings.exposure_times` of a frame with the pose T at its stamp.

    A drive goes on along its path; other views have a random velocity, up to `settings.speed` and TURN_RATE.
    """
    if settings.views == "drive":
        times = (number + t * settings.rate for t in settings.exposure_times)
        return [drive_view(space, settings, time) for time in times]
    rng = np.random.default_rng([settings.seed, number, 11])
    velocity = rng.standard_normal((2, 3))
    velocity *= rng.uniform(0, 1, (2, 1)) / np.linalg.norm(velocity, axis=1, keepdims=True)
    twist = np.concatenate([settings.speed * velocity[0], math.radians(TURN_RATE) * velocity[1]])
    return [T @ se3_exp(t * twist) for t in settings.exposure_times]


@functools.lru_cache(maxsize=1)
def _path(space: FreeSpace, settings: SceneSettings, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 2) m and headings (N,) rad of a drive, of all frames."""
    step = settings.speed / settings.rate
    rng = np.random.default_rng([settings.seed, 4])
    points = _route(space, rng, height, 1.3 * step * settings.frames + 1.0)
    smooth = ndimage.gaussian_filter1d(_resampled(points, 0.02), CORNER / 0.02, axis=0, mode="nearest")
    path = _resampled(smooth, step)
    tangents = np.gradient(path, axis=0)
    headings = np.unwrap(np.arctan2(tangents[:, 1], tangents[:, 0]))
    headings = ndimage.gaussian_filter1d(headings, max(CORNER / step, 1.0), mode="nearest")
    turns = np.abs(np.diff(headings)) * settings.rate / math.radians(TURN_RATE)
    frames = np.concatenate([[0], np.cumsum(np.maximum(1.0, turns))])  # slower in narrow turns
    regular = np.arange(settings.frames)
    x, y, heading = (np.interp(regular, frames, values) for values in (path[:, 0], path[:, 1], headings))
    return np.stack([x, y], 1), heading


def _resampled(points: np.ndarray, step: float) -> np.ndarray:
    """Points (M, 2) every `step` m along a polyline (N, 2)."""
    travelled = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return np.stack([np.interp(np.arange(0, travelled[-1], step), travelled, c) for c in points.T], 1)


def _route(space: FreeSpace, rng: np.random.Generator, height: float, length: float) -> np.ndarray:
    """Positions (N, 2) m of shortest paths, kept off obstacles, between random places of the largest free area."""
    layers = slice(
        *(int((space.floor + h - space.low[2]) / space.cell) for h in (2 * space.cell, height + 0.2))
    )
    obstacles = (space.distance[:, :, layers] == 0).any(2)
    clearance = ndimage.distance_transform_edt(~obstacles, sampling=space.cell)
    below = int((space.floor - space.low[2]) / space.cell)
    has_floor = space.distance[:, :, max(below - 1, 0) : below + 2].min(2) < 0.5 * space.cell
    areas, count = ndimage.label((clearance > ROBOT_RADIUS) & has_floor)
    sizes = np.bincount(areas.ravel(), minlength=2)[1:]
    if not count or sizes.max() * space.cell**2 < MIN_AREA:
        raise DepthRosError(
            f"no {MIN_AREA:g} m2 of connected floor where a robot of {ROBOT_RADIUS:g} m radius stands free, at "
            f"{space.floor:.2f} m: use --views random"
        )
    free = areas == 1 + int(np.argmax(sizes))
    cells, graph = np.argwhere(free), _grid_graph(free, clearance)
    route = [int(rng.integers(len(cells)))]
    while (len(route) - 1) * space.cell < length:
        distance, previous = dijkstra(graph, indices=route[-1], return_predecessors=True)
        leg = [int(rng.choice(np.argsort(distance)[len(cells) // 2 :]))]  # one of the farther half
        while leg[-1] != route[-1]:
            leg.append(int(previous[leg[-1]]))
        route += leg[-2::-1]
    return space.low[:2] + (cells[route] + 0.5) * space.cell


def _grid_graph(free: np.ndarray, clearance: np.ndarray) -> csr_matrix:
    """Edges between free cells and their eight neighbours; those near obstacles cost more."""
    number = np.full(free.shape, -1)
    number[free] = np.arange(free.sum())
    rows, columns, costs = [], [], []
    width, height = free.shape
    for dx, dy in ((1, 0), (0, 1), (1, 1), (1, -1)):
        a = number[: width - dx, max(0, -dy) : height - max(0, dy)]
        b = number[dx:, max(0, dy) : height + min(0, dy)]
        near = clearance[: width - dx, max(0, -dy) : height - max(0, dy)]
        edge = (a >= 0) & (b >= 0)
        rows.append(a[edge])
        columns.append(b[edge])
        costs.append(math.hypot(dx, dy) * (1 + 0.5 / near[edge]))
    r, c, w = map(np.concatenate, (rows, columns, costs))
    ends = np.concatenate([r, c]), np.concatenate([c, r])
    return csr_matrix((np.tile(w, 2), ends), shape=(free.sum(), free.sum()))
