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
from depth_ros.geometry import back_project, inverse, rays, se3_exp
from depth_ros.recordings import open_recording
from depth_ros.rendering.appearance import scene_lamps
from depth_ros.rendering.blender import Blender, find_blender
from depth_ros.rendering.free_space import FreeSpace
from depth_ros.rendering.meshes import primitives
from depth_ros.rendering.reading import read_scene
from depth_ros.rendering.recording import plan_frame, render_recording
from depth_ros.rendering.scene import Instance, Part
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
    hidden = Instance("hidden", 3, scene.instances[1].mesh, np.diag([0.01, 0.01, 0.01, 1.0]))
    hidden.T_world_mesh[2, 3] = -0.3
    scene.instances[1:1] = [hidden] * 300  # large numbers of instances are exact, too
    with Blender(scene, settings, blender()) as program:
        frame = plan_frame(space, [], settings, T, 0)
        checks = {"pattern": "checks", "size": 2.0}  # on the floor
        rendered = program.render(frame | {"surfaces": [checks, {}], "objects": []})
    depth, labels = exact(settings.camera, T)
    agree = rendered.labels == labels
    assert agree.mean() > 0.998  # pixels whose centres are on an edge may differ
    assert (np.abs(rendered.depth - depth)[agree] <= 1e-4 * depth[agree]).all()
    assert set(np.unique(labels)) == {0, 1, 2}
    points = back_project(rendered.depth, settings.camera)
    for number, equation in enumerate(rendered.planes.equations):
        pixels = rendered.planes.labels == number
        assert np.abs(points[pixels] @ equation[:3] + equation[3]).max() < 1e-3
        assert len(np.unique(labels[pixels])) == 1
    found = inverse(T).T @ rendered.planes.equations.T  # in the world
    expected = [[0, 0, 1, 0], [0, 0, 1, -0.8], [-1, 0, 0, 1.5]]  # floor, top and front
    assert pytest.approx(np.array(expected), abs=1e-3) == found.T
    assert (rendered.planes.labels[labels == 1] == 0).all() and (
        rendered.planes.labels[labels == 0] == -1
    ).all()
    left, right = rendered.lights
    red = (left[..., 0] > 2 * left[..., 1])[2:-2, 2:-2]
    assert (red == (labels == 2)[2:-2, 2:-2]).mean() > 0.97
    disparity = settings.camera.fx * settings.baseline / np.maximum(depth, 1e-3)
    u, v = np.meshgrid(np.arange(96, dtype=np.float32), np.arange(72, dtype=np.float32))
    warped = cv2.remap(right, (u - disparity).astype(np.float32), v, cv2.INTER_LINEAR)
    shown = (labels > 0) & (u > disparity + 4)
    assert np.abs(warped - left)[shown].mean() < 0.4 * np.abs(right - left)[shown].mean()


@pytest.mark.parametrize(("exposure", "readout"), [(0.04, 0.1), (0.1, 0.0)])
def test_depth_is_that_of_the_time_of_each_row(scene, exposure, readout):
    """And the image is the mean of the light during the exposure."""
    settings = SceneSettings(
        width=96, height=72, fov=80, samples=16, threads=1, appearance="scene", exposure_time=exposure,
        readout_time=readout,
    )  # fmt: skip
    T, twist = (
        camera_pose(np.array([-1.0, 0.2, 1.3]), 0.1, -0.3, 0.05),
        np.array([0.6, 0.2, 0.3, 0.1, 0.5, 0.2]),
    )
    frame = plan_frame(FreeSpace(scene.triangles()), [], settings, T, 0)
    frame |= {"surfaces": [{"pattern": "checks", "size": 2.0}, {}], "objects": []}
    with Blender(scene, settings, blender()) as program:

        def render(*times):
            return program.render(frame | {"cameras": [[(T @ se3_exp(t * twist)).tolist() for t in times]]})

        rendered, middle = render(*settings.exposure_times), render(0.0)
        row = 60 if readout else 36
        stamp = ((row + 0.5) / 72 - 0.5) * readout
        times = stamp + np.linspace(-exposure / 2, exposure / 2, 7)
        mean = np.mean([render(t).lights[0] for t in times], axis=0)
    rows = ((np.arange(72) + 0.5) / 72 - 0.5) * readout
    views = [exact(settings.camera, T @ se3_exp(t * twist)) for t in rows]
    depth, labels = (np.stack([view[kind][row] for row, view in enumerate(views)]) for kind in (0, 1))
    assert (rendered.labels == labels).mean() > 0.998
    same = rendered.labels == labels
    shown = same & (depth > 0)
    off = [(np.abs(each.depth - depth)[shown] / depth[shown]).max() for each in (rendered, middle)]
    assert off[0] < 5e-4  # between the three poses motion is linear
    assert off[1] > (0.02 if readout else 0.0)
    near = slice(row - 2, row + 3) if readout else slice(None)  # exposed at about that time
    off = [np.abs(each.lights[0] - mean)[near].mean() for each in (rendered, middle)]
    assert off[0] < 0.6 * off[1]


def test_lights_of_sdf_fall_with_distance_as_in_gazebo(tmp_path):
    """Light that a grey floor reflects below a point light, a spot, and a directional one, against the formula."""
    attenuation = "<range>4</range><constant>0.3</constant><linear>0.2</linear><quadratic>0.1</quadratic>"
    lights = {
        "point": f"<diffuse>0.5 0.25 0.5 1</diffuse><attenuation>{attenuation}</attenuation><intensity>2</intensity>",
        "spot": f"<diffuse>1 0.5 1 1</diffuse><attenuation>{attenuation}</attenuation>"
        "<spot><inner_angle>0.8</inner_angle><outer_angle>0.9</outer_angle></spot><direction>0 0 -1</direction>",
        "directional": "<diffuse>1 0.5 1 1</diffuse><direction>0.6 0 -0.8</direction>",
    }
    settings = SceneSettings(width=64, height=48, fov=100, samples=32, threads=1, appearance="scene")
    T = camera_pose(np.array([0.0, 0.0, 3.0]), 0.0, -np.pi / 2, 0.0)  # looks down
    at = (back_project(np.full((48, 64), 3.0), settings.camera) @ T[:3, :3].T + T[:3, 3])[..., :2]
    for kind, text in lights.items():
        light = f"<light name='l' type='{kind}'><pose>0.5 0 2 0 0 0</pose>{text}</light>"
        sky = "<scene><ambient>0 0 0 1</ambient></scene>"
        floor = WORLD.split('<model name="box">')[0].replace("0.5 0.4 0.3", "0.5 0.5 0.5")
        (tmp_path / "w.sdf").write_text(f"{floor}{sky}{light}</world></sdf>")
        scene = read_scene(tmp_path / "w.sdf")
        with Blender(scene, settings, blender()) as program:
            lit = {"lamps": scene_lamps(scene), "sky": {"colour": scene.ambient, "strength": 1.0}}
            frame = plan_frame(FreeSpace(scene.triangles()), [], settings, T, 0)
            seen = program.render(frame | lit | {"surfaces": [{}], "objects": []}).lights[0]
        aside = np.linalg.norm(at - [0.5, 0.0], axis=-1)
        d = np.hypot(aside, 2.0)
        expected = 0.5 * (2 / d) / (0.3 + 0.2 * d + 0.1 * d**2) * (d < 4)
        if kind == "spot":
            expected = np.where(
                aside < 2 * np.tan(0.37), expected, np.where(aside < 2 * np.tan(0.49), np.nan, 0.0)
            )
        if kind == "directional":
            expected = np.full_like(d, 0.5 * 0.8)
        edge = np.abs(d - 4) < 0.15
        known = np.isfinite(expected) & ~edge
        assert seen[..., 0][known] == pytest.approx(expected[known], rel=0.25, abs=0.01), (
            kind
        )  # it is not all matt
        lit_pixels = known & (expected > 0)
        ratio = seen[lit_pixels][:, 0] / expected[lit_pixels]
        assert np.median(ratio) == pytest.approx(1, abs=0.06), kind
        assert np.median(seen[lit_pixels][:, 1] / seen[lit_pixels][:, 0]) == pytest.approx(0.5, abs=0.02), (
            kind
        )


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
    points = back_project(first.depth, settings.camera)
    assert recording.contents.planes and len(first.planes.equations) >= 1
    for number, equation in enumerate(first.planes.equations):
        off = points[first.planes.labels == number] @ equation[:3] + equation[3]
        assert np.abs(off).max() < 2e-3  # depth is stored in mm


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
