"""The rendered world: its truth is compared with geometry that does not use the renderer."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import yaml

from depth_ros.datasets import Sample, open_folder
from depth_ros.errors import DepthRosError
from depth_ros.geometry import back_project, inverse, project, rays
from depth_ros.world import World, WorldSettings, write_folder

KINDS = ("street", "room")
SCENES = (("street", 0), ("street", 5), ("room", 0), ("room", 1))
"""Scenes that show a moving object large enough to check."""


@pytest.fixture(scope="module", params=SCENES, ids=str)
def world(request: pytest.FixtureRequest) -> World:
    kind, seed = request.param
    return World(WorldSettings(kind=kind, seed=seed, frames=4, noise=0.0))


def at(image: np.ndarray, pixels: np.ndarray, how: int = cv2.INTER_NEAREST) -> np.ndarray:
    """Values of an image at pixels (H, W, 2); 0 outside."""
    return cv2.remap(image, pixels.astype(np.float32), None, how)


def agreeing(sample_depth: np.ndarray, pixels: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Pixels whose counterpart in the other view lies at the expected depth: what both views see."""
    other = at(np.nan_to_num(sample_depth), pixels)
    return np.abs(other - expected) < 0.01 * expected


def inverse_depth_error(points: np.ndarray, sample: Sample) -> np.ndarray:
    """Relative error of points (..., 3) in the camera frame.

    Inverse depth of a plane is linear in the image, so that bilinear sampling is exact on it.
    """
    pixels, depth = project(points.reshape(-1, *points.shape[-2:]), sample.left.camera.K)
    found = at(1 / np.nan_to_num(sample.depth, nan=np.inf), pixels, cv2.INTER_LINEAR)
    return np.abs(found * depth - 1).reshape(points.shape[:-1])


def test_sample_has_every_truth(world: World) -> None:
    sample = world[1]
    height, width = sample.depth.shape
    assert sample.left.image.shape == sample.right.image.shape == (height, width, 3)
    assert (sample.left.camera.width, sample.left.camera.height) == (width, height)
    assert sample.depth.dtype == np.float32
    assert sample.moving.dtype == np.int32
    assert sample.left.camera.baseline == 0
    assert sample.right.camera.baseline == pytest.approx(world.baseline)
    assert sample.left.stamp == sample.right.stamp == round(1e9 / world.rate)
    assert np.isnan(sample.depth).any() == (world.settings.kind == "street")  # only the sky is unknown
    assert sample.left.image.std() > 20
    with pytest.raises(IndexError):
        world[len(world)]


def test_floor_is_where_the_pose_says(world: World) -> None:
    sample = world[2]
    up = rays(sample.left.camera) @ sample.T_world_camera[2, :3]
    with np.errstate(divide="ignore"):
        expected = np.where(up < 0, -sample.T_world_camera[2, 3] / up, np.inf)  # z = 0 of the world
    points = (
        back_project(sample.depth, sample.left.camera) @ sample.T_world_camera[2, :3]
        + sample.T_world_camera[2, 3]
    )
    floor = np.abs(points) < 1e-3
    assert floor.mean() > 0.03
    assert np.allclose(sample.depth[floor], expected[floor], rtol=1e-3)
    assert not (sample.depth > expected * (1 + 1e-3)).any()  # nothing shines through


@pytest.mark.parametrize("seed", range(8))
def test_room_is_closed_and_street_is_not_in_the_way(seed: int) -> None:
    room = World(WorldSettings(kind="room", seed=seed, frames=1)).render(0)[1]
    assert np.isfinite(room).all()
    assert room.max() < 13
    assert np.median(room) > 0.6
    street = World(WorldSettings(seed=seed, frames=1)).render(0)[1]
    assert np.nanmin(street) > 1.5
    assert np.nanmax(street) <= 250


def test_right_eye_shows_the_left_image_at_f_b_over_z(world: World) -> None:
    sample = world[0]
    right, right_depth = world.render(0, "right")
    camera = sample.left.camera
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    disparity = camera.fx * world.baseline / sample.depth
    seen = agreeing(right_depth, np.stack([u - disparity, v], axis=-1), sample.depth)
    assert seen.mean() > 0.6

    def error(scale: float) -> float:
        warped = at(right, np.stack([u - scale * disparity, v], axis=-1), cv2.INTER_LINEAR)
        return np.abs(warped.astype(float) - sample.left.image)[seen].mean()

    assert error(1) < 4
    assert error(1) < 0.4 * error(0)
    assert error(1) < min(error(0.97), error(1.03))


def test_next_frame_shows_static_points_where_the_pose_says(world: World) -> None:
    old, new = world[1], world[2]
    camera = old.left.camera
    T = inverse(new.T_world_camera) @ old.T_world_camera
    points = back_project(old.depth, camera) @ T[:3, :3].T + T[:3, 3]
    pixels, depth = project(points, camera.K)
    seen = agreeing(new.depth, pixels, depth) & (old.moving == 0)
    assert seen.mean() > 0.4
    assert np.median(inverse_depth_error(points, new)[seen]) < 1e-4  # remap rounds to 1/32 px
    error = np.abs(at(new.left.image, pixels, cv2.INTER_LINEAR).astype(float) - old.left.image)[seen]
    assert error.mean() < 4


def test_object_motion_takes_points_of_objects_to_where_they_are(world: World) -> None:
    old, new = world[1], world[2]
    camera = new.left.camera
    T_new_old = inverse(new.T_world_camera) @ old.T_world_camera
    motions = world.object_motions(2)
    assert {motion.label for motion in motions} == set(np.unique(new.moving)) - {0}
    checked = 0
    for motion in motions:
        assert np.array_equal(motion.mask, new.moving == motion.label)
        points = (
            back_project(old.depth, camera)[old.moving == motion.label] @ T_new_old[:3, :3].T
            + T_new_old[:3, 3]
        )
        if len(points) > 200:
            moved = points @ motion.T[:3, :3].T + motion.T[:3, 3]
            error = np.median(inverse_depth_error(moved, new))
            assert error < 1e-4
            assert error < 0.1 * np.median(inverse_depth_error(points, new))
            checked += 1
    assert checked


def test_objects_do_move_in_both_kinds() -> None:
    for kind in KINDS:
        settings = [WorldSettings(kind=kind, seed=seed, frames=3) for seed in range(4)]
        motions = [motion for s in settings for motion in World(s).object_motions(1)]
        assert max(np.linalg.norm(motion.T - np.eye(4)) for motion in motions) > 0.005
    with pytest.raises(DepthRosError, match="no frame before"):
        World(settings[0]).object_motions(0)


def test_planes_hold_the_points_of_their_pixels(world: World) -> None:
    planes, sample = world.planes(1), world[1]
    known = planes.labels >= 0
    assert known.mean() > 0.6
    assert planes.labels.max() == len(planes.equations) - 1
    equations = planes.equations[planes.labels[known]]
    points = back_project(sample.depth, sample.left.camera)[known].astype(float)
    assert np.abs((equations[:, :3] * points).sum(axis=1) + equations[:, 3]).max() < 1e-4
    assert np.allclose(np.linalg.norm(planes.equations[:, :3], axis=1), 1)
    assert (planes.equations[:, 3] >= 0).all()
    counts = np.bincount(planes.labels[known])
    assert counts.min() >= 50
    ground = sample.T_world_camera[2]  # z of the world = 0
    assert np.abs(planes.equations - ground).max(axis=1).min() < 1e-6


def test_same_seed_same_pixels_other_seed_other_street() -> None:
    a, b, c = (World(WorldSettings(seed=seed, frames=2)) for seed in (3, 3, 4))
    assert np.array_equal(a[1].left.image, b[1].left.image)
    assert np.array_equal(a[1].depth, b[1].depth, equal_nan=True)
    assert not np.array_equal(a[1].left.image, c[1].left.image)
    assert not np.array_equal(a[0].left.image[-20:], a[0].right.image[-20:])


def test_settings_are_honoured_and_refused() -> None:
    image, depth = World(WorldSettings(width=160, height=64, frames=1, supersample=2)).render(0)
    assert image.shape == (64, 160, 3)
    assert depth.shape == (64, 160)
    still = World(WorldSettings(kind="room", moving=0, frames=2))
    assert not still[1].moving.any()
    assert still.object_motions(1) == []
    with pytest.raises(DepthRosError, match="'kind' is 'sea'; allowed: 'street', 'room'"):
        World(WorldSettings(kind="sea"))


@pytest.mark.parametrize("kind", KINDS)
def test_written_folder_reads_back(kind: str, tmp_path) -> None:
    world = World(WorldSettings(kind=kind, frames=2, seed=1))
    write_folder(world, tmp_path)
    camera = yaml.safe_load((tmp_path / "camera.yaml").read_text())
    folder = open_folder(tmp_path)
    assert len(folder) == 2
    assert folder.rate == world.rate
    for mine, read in zip(world, folder, strict=True):
        assert np.array_equal(mine.left.image, read.left.image)
        assert np.array_equal(mine.right.image, read.right.image)
        assert np.allclose(mine.T_world_camera, read.T_world_camera, atol=1e-8)
        assert np.allclose(mine.left.camera.K, read.left.camera.K)
        assert read.right.camera.baseline == pytest.approx(world.baseline)
        known = np.isfinite(read.depth)
        assert known.mean() > 0.98 * np.isfinite(mine.depth).mean()
        assert np.abs(mine.depth - read.depth)[known].max() <= 0.51 / camera["depth_scale"]
