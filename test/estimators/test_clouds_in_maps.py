"""Clouds and scan in the consumers' maps: a box in a rendered room is marked, and cleared once it is taken away.

OctoMap's own library, in a small program; and numpy forms of the rules of nav2_costmap_2d's VoxelLayer,
ObservationBuffer and ObstacleLayer.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_ros.datatypes import Depth
from depth_ros.estimators.clouds import CloudSettings, clearing_points, filtered_points, scan_of
from depth_ros.estimators.filters import FilterSettings, filtered
from depth_ros.geometry import T_BODY_OPTICAL, back_project, rays
from depth_ros.world import World, WorldSettings
from depth_ros.world.render import render_geometry

ROOM = World(WorldSettings(kind="room", width=160, height=120, seed=5, moving_count=0))
FILTERS = FilterSettings(base_frame="base", min_height=0.1, max_height=1.5, max_depth=8.0)
CLOUDS = CloudSettings(clearing_range=8.0)
RESOLUTION = 0.05
"""m, of all maps."""
UPDATES = 1, 2, 7
"""Clouds before, with and after the box."""


@dataclass(frozen=True)
class View:
    """What a camera sees, with the clouds in the frame of the map (z up), and the box (2, 3) m as corners."""

    depth: Depth
    T: np.ndarray
    marking: np.ndarray
    clearing: np.ndarray
    scan_points: np.ndarray


@pytest.fixture(scope="module")
def scene() -> tuple[View, View, np.ndarray]:
    """Views of a room without and with a box, and the corners of the box."""
    T = ROOM.pose(0)
    geometry = render_geometry(ROOM.scene, ROOM.cameras["left"], T, 0.0)
    image = np.zeros((120, 160, 3), np.uint8)
    empty = Depth(0, "camera", geometry.depth, ROOM.cameras["left"], image)
    forward = T[:2, 2] / np.linalg.norm(T[:2, 2])
    centre = T[:2, 3] + 2.2 * forward
    box = np.array([[*(centre - 0.2), 0.0], [*(centre + 0.2), 0.5]])
    with_box = replace(empty, depth=np.fmin(empty.depth, depth_of_box(T, box)))
    assert 0.01 < (with_box.depth < empty.depth - 0.2).mean() < 0.5
    return view_of(empty, T), view_of(with_box, T), box


def depth_of_box(T: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(H, W) depth m of a box from a camera at T (4, 4), inf beside it."""
    directions = rays(ROOM.cameras["left"]) @ T[:3, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.sort((box[:, None, None] - T[:3, 3]) / directions, axis=0)
    near, far = ends[0].max(axis=-1), ends[1].min(axis=-1)
    return np.where((near < far) & (near > 0), near, np.inf).astype(np.float32)


def view_of(depth: Depth, T: np.ndarray) -> View:
    kept = filtered(depth, FILTERS)
    keep = np.isfinite(kept.depth)
    clouds = (
        filtered_points(kept, CLOUDS.voxel_size, T, FILTERS).xyz,
        clearing_points(depth, keep, FILTERS, CLOUDS.clearing_range),
    )
    T_scan = T @ np.linalg.inv(T_BODY_OPTICAL)  # a level frame in the camera
    yaw = math.atan2(T_scan[1, 0], T_scan[0, 0])
    T_scan[:3, :3] = [[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]]
    scan = scan_of(depth, keep, np.linalg.inv(T_scan) @ T, T, FILTERS, CLOUDS)
    ranges = scan.ranges
    ranges = np.where(ranges == np.inf, np.float32(scan.range_max - 1e-4), ranges)  # inf_is_valid
    angles = scan.angle_min + scan.angle_increment * np.arange(len(ranges))
    flat = np.column_stack([ranges * np.cos(angles), ranges * np.sin(angles), 0 * ranges])
    assert all(np.isfinite(cloud).all() for cloud in clouds)
    return View(
        depth,
        T,
        *(cloud @ T[:3, :3].T + T[:3, 3] for cloud in clouds),
        flat @ T_scan[:3, :3].T + T_scan[:3, 3],
    )


def sequence(scene: tuple[View, View, np.ndarray]) -> list[View]:
    empty, with_box, _ = scene
    before, during, after = UPDATES
    return [empty] * before + [with_box] * during + [empty] * after


def in_box(points: np.ndarray, box: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """(N,) bool: points inside of the box above the height band's lower end."""
    low, high = box + np.array([[-margin], [margin]])
    inside = (points >= low) & (points <= high)
    return inside.all(axis=1) & (points[:, 2] > FILTERS.min_height)


def behind_surfaces(points: np.ndarray, view: View, margin: float) -> int:
    """Number of points that are farther than what the camera sees in their direction by more than a margin, m."""
    camera = view.depth.camera
    in_camera = (points - view.T[:3, 3]) @ view.T[:3, :3]
    z = in_camera[:, 2]
    pixels = in_camera[z > 0.3] @ camera.K.T
    u, v = np.rint(pixels[:, :2] / pixels[:, 2:]).astype(int).T
    seen = (u >= 0) & (v >= 0) & (u < camera.width) & (v < camera.height)
    farthest = cv2.dilate(view.depth.depth, np.ones((9, 9), np.uint8))  # a cell is several pixels wide
    return int((z[z > 0.3][seen] > farthest[v[seen], u[seen]] + margin).sum())


def octomap_folder() -> Path | None:
    """The prefix in which OctoMap is installed: of the system, or of the wheel cmeel-octomap."""
    prefixes = [Path("/usr"), *Path("/opt/ros").glob("*"), *(Path(p) / "cmeel.prefix" for p in sys.path)]
    return next((prefix for prefix in prefixes if (prefix / "include/octomap/OcTree.h").is_file()), None)


@pytest.fixture(scope="module")
def octomap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program."""
    prefix, compiler = octomap_folder(), shutil.which("c++")
    if prefix is None:
        pytest.skip("OctoMap is not installed: pip install cmeel-octomap, or apt install liboctomap-dev")
    if compiler is None:
        pytest.skip("no C++ compiler is installed")
    program = tmp_path_factory.mktemp("octomap") / "judge"
    libraries = [f"-L{prefix}/lib", f"-Wl,-rpath,{prefix}/lib", "-loctomap", "-loctomath"]
    source = str(Path(__file__).with_name("octomap_judge.cpp"))
    subprocess.run(
        [compiler, "-O1", "-w", f"-I{prefix}/include", source, "-o", str(program), *libraries], check=True
    )
    return program


def octomap_states(program: Path, views: list[View]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Centres (N, 3) of occupied and of free cells after each update."""
    data = np.float64(RESOLUTION).tobytes()
    for view in views:
        data += np.array([len(view.marking), len(view.clearing)], np.int32).tobytes()
        data += np.vstack([view.T[None, :3, 3], view.marking, view.clearing]).astype(np.float32).tobytes()
    output = subprocess.run([str(program)], input=data, capture_output=True, check=True).stdout
    for _ in views:
        counts = np.frombuffer(output[:8], np.int32)
        cells = np.frombuffer(output[8 : 8 + 12 * counts.sum()], np.float32).reshape(-1, 3)
        output = output[8 + 12 * counts.sum() :]
        yield cells[: counts[0]], cells[counts[0] :]


def test_octomap_marks_a_box_and_clears_it_when_it_is_taken_away(octomap: Path, scene):
    empty, _, box = scene
    states = list(octomap_states(octomap, sequence(scene)))
    before, during, _ = np.cumsum(UPDATES)
    occupied, free = states[before - 1]
    assert not in_box(occupied, box).any() and in_box(free, box).sum() > 100
    marked = in_box(states[during - 1][0], box, RESOLUTION)
    assert marked.sum() > 20
    occupied, free = states[-1]
    assert not in_box(occupied, box, -RESOLUTION).any()
    for occupied, free in states:
        assert behind_surfaces(occupied, empty, 2 * RESOLUTION) == 0
        assert not (occupied[:, 2] < FILTERS.min_height - RESOLUTION).any()
        assert ((free[:, 2] > 0) & (free[:, 2] < FILTERS.min_height)).sum() > 200  # just above the floor


class VoxelLayer:
    """Rules of nav2_costmap_2d: the buffer drops points outside of the source's heights, NaN too; rays clear up to two
    cells before their ends, within raytrace_max_range; then the points within obstacle_max_range mark."""

    def __init__(self, raytrace_max_range: float = 8.0, obstacle_max_range: float = 8.0) -> None:
        self._raytrace, self._obstacle = raytrace_max_range, obstacle_max_range
        self.marked = np.zeros((400, 400, 200), bool)

    def update(self, origin: np.ndarray, marking: np.ndarray, clearing: np.ndarray) -> None:
        ends = self._buffered(clearing, -100.0, 100.0)
        distance = np.linalg.norm(ends - origin, axis=1)[:, None]
        reach = np.clip(distance - 2 * RESOLUTION, 0.0, self._raytrace)[:, 0]
        directions = (ends - origin) / distance
        for step in np.arange(0.0, self._raytrace, RESOLUTION / 2):
            self.marked[self._cells(origin + step * directions[reach > step])] = False
        marking = self._buffered(marking, FILTERS.min_height, FILTERS.max_height)
        self.marked[self._cells(marking[np.linalg.norm(marking - origin, axis=1) <= self._obstacle])] = True

    @staticmethod
    def _cells(points: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple((np.floor(points / RESOLUTION).astype(int) + np.array([200, 200, 100])).T)

    @staticmethod
    def _buffered(points: np.ndarray, low: float, high: float) -> np.ndarray:
        return points[(points[:, 2] >= low) & (points[:, 2] <= high)]

    def columns(self) -> np.ndarray:
        """(N, 2) m, centres of the columns with a marked voxel (mark_threshold 0)."""
        return (np.argwhere(self.marked.any(axis=2)) - 200 + 0.5) * RESOLUTION


def columns_in_box(layer: VoxelLayer, box: np.ndarray, margin: float) -> int:
    xy = layer.columns()
    return int(((xy > box[0, :2] - margin) & (xy < box[1, :2] + margin)).all(axis=1).sum())


def test_a_voxel_layer_marks_a_box_and_clears_it_and_never_marks_the_floor(scene):
    empty, _, box = scene
    layer, counts = VoxelLayer(), []
    truth = (
        back_project(empty.depth.depth, empty.depth.camera).reshape(-1, 3) @ empty.T[:3, :3].T
        + empty.T[:3, 3]
    )
    high = truth[(truth[:, 2] > 0.05) & (truth[:, 2] < FILTERS.max_height + 0.1), :2]
    walls = set(map(tuple, np.floor(high / 0.1).astype(int).tolist()))
    for view in sequence(scene):
        layer.update(view.T[:3, 3], view.marking, view.clearing)
        counts.append(columns_in_box(layer, box, RESOLUTION))
    before, during, _ = np.cumsum(UPDATES)
    assert counts[before - 1] == 0 and counts[during - 1] >= 8 and counts[-1] == 0
    near_walls = {(x + i, y + j) for x, y in walls for i in (-1, 0, 1) for j in (-1, 0, 1)}
    assert set(map(tuple, np.floor(layer.columns() / 0.1).astype(int).tolist())) <= near_walls


def test_one_source_for_both_never_clears_what_the_floor_shows_to_be_gone(scene):
    """Why there are two clouds: the points of the floor are dropped by the height band before rays are traced."""
    box, layer = scene[2], VoxelLayer()
    for view in sequence(scene):
        layer.update(view.T[:3, 3], view.marking, view.marking)
    assert columns_in_box(layer, box, RESOLUTION) > 0


def test_an_obstacle_layer_marks_and_clears_by_the_scan(scene):
    """In two dimensions: inf becomes range_max (inf_is_valid) and clears; NaN neither marks nor clears."""
    box, layer, counts = scene[2], VoxelLayer(), []
    for view in sequence(scene):
        known = view.scan_points[np.isfinite(view.scan_points[:, 0])]
        hits = known[np.linalg.norm(known - view.T[:3, 3], axis=1) < CLOUDS.clearing_range - 0.01]
        origin, hits, known = (p * [1, 1, 0] + [0, 0, 0.5] for p in (view.T[:3, 3], hits, known))
        layer.update(origin, hits, known)
        counts.append(columns_in_box(layer, box, RESOLUTION))
    before, during, _ = np.cumsum(UPDATES)
    assert counts[before - 1] == 0 and counts[during - 1] >= 4 and counts[-1] == 0
