"""The ground truth of the rendered world, compared with geometry that does not use the renderer."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import yaml

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.geometry import T_BODY_OPTICAL, back_project, inverse, project, rays
from depth_ros.recordings import Sample, open_recording
from depth_ros.world import World, WorldSettings, patterns, write_folder
from depth_ros.world.render import Light, Scene, render_geometry, shade
from depth_ros.world.scene_builder import SceneBuilder, transform
from depth_ros.world.shapes import Material

KINDS = ("street", "room")
SCENES = (("street", 0), ("street", 5), ("room", 0), ("room", 1))
"""Scenes with a visible moving object that is large enough to check."""


@pytest.fixture(scope="module", params=SCENES, ids=str)
def world(request: pytest.FixtureRequest) -> World:
    kind, seed = request.param
    return World(WorldSettings(kind=kind, seed=seed, frames=4, noise=0.0))


def sampled(image: np.ndarray, pixels: np.ndarray, interpolation: int = cv2.INTER_NEAREST) -> np.ndarray:
    """Values of an image at pixels (H, W, 2); 0 outside."""
    return cv2.remap(image, pixels.astype(np.float32), None, interpolation)


def visible_in_both(other_depth: np.ndarray, pixels: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Mask of the pixels whose counterpart in the other view has the expected depth."""
    other = sampled(np.nan_to_num(other_depth), pixels)
    return np.abs(other - expected) < 0.01 * expected


def inverse_depth_error(points: np.ndarray, sample: Sample) -> np.ndarray:
    """Relative error of points (..., 3) in the camera frame.

    The inverse depth of a plane is linear in the image, so bilinear sampling of it is exact.
    """
    pixels, depth = project(points.reshape(-1, *points.shape[-2:]), sample.left.camera.K)
    found = sampled(1 / np.nan_to_num(sample.depth, nan=np.inf), pixels, cv2.INTER_LINEAR)
    return np.abs(found * depth - 1).reshape(points.shape[:-1])


def test_sample_has_all_ground_truth(world: World) -> None:
    sample = world[1]
    height, width = sample.depth.shape
    assert sample.left.image.shape == sample.right.image.shape == (height, width, 3)
    assert (sample.left.camera.width, sample.left.camera.height) == (width, height)
    assert sample.depth.dtype == np.float32
    assert sample.moving_objects.dtype == np.int32
    assert sample.left.camera.baseline == 0
    assert sample.right.camera.baseline == pytest.approx(world.baseline)
    assert sample.left.stamp == sample.right.stamp == 10**9 + round(1e9 / world.rate)
    assert np.isnan(sample.depth).any() == (world.settings.kind == "street")  # only the sky is invalid
    assert sample.left.image.std() > 20
    with pytest.raises(IndexError):
        world[len(world)]


def test_floor_is_consistent_with_the_pose(world: World) -> None:
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
    assert not (sample.depth > expected * (1 + 1e-3)).any()  # nothing below the floor is visible


@pytest.mark.parametrize("seed", range(8))
def test_room_is_closed_and_the_street_ahead_is_free(seed: int) -> None:
    room = World(WorldSettings(kind="room", seed=seed, frames=1)).render(0)[1]
    assert np.isfinite(room).all()
    assert room.max() < 13
    assert np.median(room) > 0.6
    street = World(WorldSettings(seed=seed, frames=1)).render(0)[1]
    assert np.nanmin(street) > 1.5
    assert np.nanmax(street) <= 250


def test_disparity_of_the_right_image_is_f_b_over_z(world: World) -> None:
    sample = world[0]
    right, right_depth = world.render(0, "right")
    camera = sample.left.camera
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    disparity = camera.fx * world.baseline / sample.depth
    seen = visible_in_both(right_depth, np.stack([u - disparity, v], axis=-1), sample.depth)
    assert seen.mean() > 0.6

    def error(scale: float) -> float:
        warped = sampled(right, np.stack([u - scale * disparity, v], axis=-1), cv2.INTER_LINEAR)
        return np.abs(warped.astype(float) - sample.left.image)[seen].mean()

    assert error(1) < 4
    assert error(1) < 0.4 * error(0)
    assert error(1) < min(error(0.97), error(1.03))


def test_static_points_in_the_next_frame_are_consistent_with_the_poses(world: World) -> None:
    old, new = world[1], world[2]
    camera = old.left.camera
    T = inverse(new.T_world_camera) @ old.T_world_camera
    points = back_project(old.depth, camera) @ T[:3, :3].T + T[:3, 3]
    pixels, depth = project(points, camera.K)
    seen = visible_in_both(new.depth, pixels, depth) & (old.moving_objects == 0)
    assert seen.mean() > 0.4
    assert np.median(inverse_depth_error(points, new)[seen]) < 1e-4  # remap rounds to 1/32 px
    error = np.abs(sampled(new.left.image, pixels, cv2.INTER_LINEAR).astype(float) - old.left.image)[seen]
    assert error.mean() < 4


def test_object_motion_maps_points_of_objects_to_their_new_positions(world: World) -> None:
    old, new = world[1], world[2]
    camera = new.left.camera
    T_new_old = inverse(new.T_world_camera) @ old.T_world_camera
    motions = world.object_motions(2)
    assert {motion.label for motion in motions} == set(np.unique(new.moving_objects)) - {0}
    checked = 0
    for motion in motions:
        assert np.array_equal(motion.mask, new.moving_objects == motion.label)
        points = (
            back_project(old.depth, camera)[old.moving_objects == motion.label] @ T_new_old[:3, :3].T
            + T_new_old[:3, 3]
        )
        if len(points) > 200:
            moved = points @ motion.T[:3, :3].T + motion.T[:3, 3]
            error = np.median(inverse_depth_error(moved, new))
            assert error < 1e-4
            assert error < 0.1 * np.median(inverse_depth_error(points, new))
            checked += 1
    assert checked


def test_objects_move_in_both_kinds() -> None:
    for kind in KINDS:
        settings = [WorldSettings(kind=kind, seed=seed, frames=3) for seed in range(4)]
        motions = [motion for s in settings for motion in World(s).object_motions(1)]
        assert max(np.linalg.norm(motion.T - np.eye(4)) for motion in motions) > 0.005
    with pytest.raises(DepthRosError, match="no previous frame; allowed: 1 to 2"):
        World(settings[0]).object_motions(0)


def test_planes_contain_the_points_of_their_pixels(world: World) -> None:
    planes, sample = world.planes(1), world[1]
    labelled = planes.labels >= 0
    assert labelled.mean() > 0.6
    assert planes.labels.max() == len(planes.equations) - 1
    equations = planes.equations[planes.labels[labelled]]
    points = back_project(sample.depth, sample.left.camera)[labelled].astype(float)
    assert np.abs((equations[:, :3] * points).sum(axis=1) + equations[:, 3]).max() < 1e-4
    assert np.allclose(np.linalg.norm(planes.equations[:, :3], axis=1), 1)
    assert (planes.equations[:, 3] >= 0).all()
    counts = np.bincount(planes.labels[labelled])
    assert counts.min() >= 50
    ground = sample.T_world_camera[2]  # z of the world = 0
    assert np.abs(planes.equations - ground).max(axis=1).min() < 1e-6


def test_seed_determines_the_pixels() -> None:
    a, b, c = (World(WorldSettings(seed=seed, frames=2)) for seed in (3, 3, 4))
    assert np.array_equal(a[1].left.image, b[1].left.image)
    assert np.array_equal(a[1].depth, b[1].depth, equal_nan=True)
    assert not np.array_equal(a[1].left.image, c[1].left.image)
    assert not np.array_equal(a[0].left.image[-20:], a[0].right.image[-20:])


def test_settings_are_applied_and_validated() -> None:
    image, depth = World(WorldSettings(width=160, height=64, frames=1, supersample=2)).render(0)
    assert image.shape == (64, 160, 3)
    assert depth.shape == (64, 160)
    static = World(WorldSettings(kind="room", moving_count=0, frames=2))
    assert not static[1].moving_objects.any()
    assert static.object_motions(1) == []
    with pytest.raises(DepthRosError, match="'kind' is 'sea'; allowed: 'street', 'room'"):
        World(WorldSettings(kind="sea"))


def test_sun_casts_shadows() -> None:
    """A pole of 2 m in front of the camera, with the sun on the right: its shadow is on the left."""
    builder = SceneBuilder(np.random.default_rng(0))
    white = Material(patterns.plain, ((1.0,) * 3,) * 3)
    builder.add_box((100, 100, 2), transform(0, 0, -1), white)
    builder.add_box((0.2, 0.2, 2), transform(4, 0, 1), white)
    images = []
    for shadows in (False, True):
        light = Light(
            np.array([0, -0.6, 0.8]), 0.3, 0.5, np.ones(3), np.ones(3), np.ones(3), 1e6, shadows=shadows
        )
        scene = Scene(builder.mesh(), tuple(builder.bodies), lambda t: np.eye(4), light, far=50.0)
        T_world_camera = transform(0, 0, 3, pitch=0.6) @ T_BODY_OPTICAL
        camera = Camera.pinhole(160, 120, 100, 100, 79.5, 59.5)
        view = render_geometry(scene, camera, T_world_camera, 0.0)
        images.append(shade(scene, view, 0.0).mean(axis=2))
    darker = images[1] < 0.8 * images[0]
    points = back_project(view.depth, camera)[darker] @ T_world_camera[:3, :3].T + T_world_camera[:3, 3]
    ground = points[np.abs(points[:, 2]) < 0.01]
    assert len(ground) > 50
    assert np.abs(ground[:, 0] - 4).max() < 0.4
    assert ground[:, 1].min() > -0.3 and 1.2 < ground[:, 1].max() < 1.8  # 2 m * 0.6 / 0.8 = 1.5 m


@pytest.mark.parametrize("kind", KINDS)
def test_written_folder_reads_back(kind: str, tmp_path) -> None:
    world = World(WorldSettings(kind=kind, frames=2, seed=1))
    write_folder(world, tmp_path)
    camera = yaml.safe_load((tmp_path / "camera.yaml").read_text())
    folder = open_recording(tmp_path)
    assert len(folder) == 2
    assert folder.rate == world.rate
    for rendered, read in zip(world, folder, strict=True):
        assert np.array_equal(rendered.left.image, read.left.image)
        assert np.array_equal(rendered.right.image, read.right.image)
        assert np.allclose(rendered.T_world_camera, read.T_world_camera, atol=1e-8)
        assert np.allclose(rendered.left.camera.K, read.left.camera.K)
        assert read.right.camera.baseline == pytest.approx(world.baseline)
        valid = np.isfinite(read.depth)
        assert valid.mean() > 0.98 * np.isfinite(rendered.depth).mean()
        assert np.abs(rendered.depth - read.depth)[valid].max() <= 0.51 / camera["depth_scale"]
