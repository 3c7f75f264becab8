"""Scenes rendered by Blender: depth, masks and pose against geometry that is known, and the recording that results."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_ros.cli import main
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rays
from depth_ros.recordings import open_recording
from depth_ros.rendering.blender import Blender, find_blender
from depth_ros.rendering.free_space import FreeSpace
from depth_ros.rendering.meshes import primitives
from depth_ros.rendering.reading import read_scene
from depth_ros.rendering.recording import plan_frame, render_recording
from depth_ros.rendering.scene import Part
from depth_ros.rendering.settings import SceneSettings
from depth_ros.rendering.views import camera_pose

BOX, BOX_AT = np.array([1.0, 1.5, 0.8]), np.array([2.0, 0.3, 0.4])
WORLD = """<sdf version="1.6"><world name="w">
  <model name="floor"><link name="l"><visual name="v"><geometry><plane><size>12 12</size></plane></geometry>
    <material><diffuse>0.5 0.4 0.3 1</diffuse></material></visual></link></model>
  <model name="box"><pose>2.0 0.3 0.4 0 0 0</pose><link name="l"><visual name="v"><geometry><box>
    <size>1.0 1.5 0.8</size></box></geometry>
    <material><diffuse>0.8 0.1 0.1 1</diffuse></material></visual></link></model>
</world></sdf>"""


@pytest.fixture
def scene(tmp_path):
    (tmp_path / "box.sdf").write_text(WORLD)
    return read_scene(tmp_path / "box.sdf")


def blender() -> list[str]:
    try:
        return find_blender(os.environ.get("DEPTH_ROS_BLENDER", ""))
    except DepthRosError as error:
        pytest.skip(f"DEPTH_ROS_BLENDER names no program to render with: {error}")


def exact(camera, T_world_camera) -> tuple[np.ndarray, np.ndarray]:
    """Depth (0 = nothing) and label of every pixel: the nearer of the floor, 1, and the box, 2 (slab method)."""
    origin, d = T_world_camera[:3, 3], rays(camera).astype(float) @ T_world_camera[:3, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = -origin[2] / d[..., 2]
        on_floor = (floor > 0) & (np.abs(origin[:2] + floor[..., None] * d[..., :2]) < 6).all(-1)
        slabs = np.sort(np.stack([(BOX_AT + s * BOX / 2 - origin) / d for s in (-1, 1)]), axis=0)
    near, far = slabs[0].max(-1), slabs[1].min(-1)
    box = np.where((near < far) & (far > 0), near, np.inf)
    floor = np.where(on_floor, floor, np.inf)
    depth = np.minimum(box, floor)
    return np.where(np.isfinite(depth), depth, 0), np.where(
        np.isfinite(depth), np.where(box < floor, 2, 1), 0
    )


def test_depth_and_masks_are_those_of_the_geometry(scene):
    settings = SceneSettings(
        width=96, height=72, fov=80, baseline=0.1, samples=4, threads=1, appearance="scene"
    )
    T = camera_pose(np.array([-1.0, 0.2, 1.3]), 0.1, -0.3, 0.05)
    space = FreeSpace(scene.triangles())
    with Blender(scene, settings, blender()) as program:
        frame = plan_frame(space, [], settings, T, 0)
        checks = {"pattern": "checks", "size": 2.0}  # on the floor
        rendered = program.render(frame | {"surfaces": [checks, {}], "objects": []})
    depth, labels = exact(settings.camera, T)
    agree = rendered.labels == labels
    assert agree.mean() > 0.998  # pixels whose centres are on an edge may differ
    assert (np.abs(rendered.depth - depth)[agree] <= 1e-4 * depth[agree]).all()
    assert set(np.unique(labels)) == {0, 1, 2}
    left, right = rendered.lights
    red = (left[..., 0] > 2 * left[..., 1])[2:-2, 2:-2]
    assert (red == (labels == 2)[2:-2, 2:-2]).mean() > 0.97
    disparity = settings.camera.fx * settings.baseline / np.maximum(depth, 1e-3)
    u, v = np.meshgrid(np.arange(96, dtype=np.float32), np.arange(72, dtype=np.float32))
    warped = cv2.remap(right, (u - disparity).astype(np.float32), v, cv2.INTER_LINEAR)
    shown = (labels > 0) & (u > disparity + 4)
    assert np.abs(warped - left)[shown].mean() < 0.4 * np.abs(right - left)[shown].mean()


def test_a_rendered_recording_is_read_and_continued(scene, tmp_path):
    settings = SceneSettings(
        frames=2,
        width=64,
        height=48,
        samples=1,
        threads=1,
        views="drive",
        lowest=0.5,
        highest=0.6,
        rate=2.0,
        moving=1,
    )
    command, done = blender(), []
    robot = {"robot": (Part(*primitives.box(np.array([0.3, 0.3, 0.4]))),)}
    for _ in range(2):
        render_recording(scene, settings, tmp_path / "drive", command, done.append, robot)
    assert done == [0, 1, 1, 2]  # the second call renders nothing
    for change, problem in (({"fov": 80.0}, "another fov"), ({"frames": 1}, "2 frames, more than 1")):
        with pytest.raises(DepthRosError, match=problem):
            render_recording(
                scene, replace(settings, **change), tmp_path / "drive", command, done.append, robot
            )
    recording = open_recording(tmp_path / "drive")
    assert recording.contents.depth and recording.contents.poses and recording.contents.consecutive
    first, second = recording[0], recording[1]
    assert np.linalg.norm(second.T_world_camera[:3, 3] - first.T_world_camera[:3, 3]) == pytest.approx(
        0.25, abs=0.03
    )
    assert recording.contents.moving_objects and set(np.unique(first.moving_objects)) == {0, 1}
    speed = np.linalg.norm(first.velocities[1])
    assert (
        0.2 < speed < 1.0 and abs(first.velocities[1] @ first.T_world_camera[2, :3]) < 1e-3
    )  # along the floor
    depth, labels = exact(settings.camera, first.T_world_camera)
    still = first.moving_objects == 0
    stored = np.nan_to_num(first.depth)
    assert np.abs(stored - depth)[still & (depth > 0) & (stored > 0)].mean() < 0.01
    assert (cv2.imread(str(tmp_path / "drive/instances/000000.png"), -1) == labels)[still].mean() > 0.99
    assert (tmp_path / "drive/instances.txt").read_text() == "1 floor\n2 box\n"


def test_without_blender_the_error_says_what_to_type(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "box.sdf").write_text(WORLD)
    arguments = ["render", "scene", str(tmp_path / "box.sdf"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert "Python 3.11, pip install bpy==" in capsys.readouterr().err
    assert main([*arguments, "--blender", "no_such_blender"]) == 1
    assert "no_such_blender: no such program" in capsys.readouterr().err
    assert main([*arguments, "--fov", "200"]) == 1
    assert "'fov' is 200.0 deg; it must be" in capsys.readouterr().err


def test_a_program_that_fails_is_reported(scene, tmp_path):
    program = tmp_path / "python_without_bpy"
    program.write_text("#!/bin/sh\necho No module named bpy >&2\nexit 3\n")
    program.chmod(0o755)
    with (
        pytest.raises(DepthRosError, match="status 3: No module named bpy"),
        Blender(scene, SceneSettings(), find_blender(str(program))),
    ):
        pass
    assert not list(Path(tmp_path).glob("depth_ros_render_*"))
