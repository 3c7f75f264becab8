"""Planes of meshes, of the frames that show them, and in recordings."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_ros.datatypes import Planes
from depth_ros.errors import DepthRosError
from depth_ros.recordings import open_recording
from depth_ros.rendering.meshes import primitives
from depth_ros.rendering.planes import mesh_planes, transformed_planes, visible_equations
from depth_ros.rendering.scene import Part
from depth_ros.rendering.views import camera_pose
from depth_ros.world import World, WorldSettings, write_folder


def test_a_box_has_six_planes_and_a_ball_none():
    box, ball = Part(*primitives.box(np.array([1.0, 2.0, 3.0]))), Part(*primitives.sphere(np.full(3, 0.3)))
    planes, equations = mesh_planes((box, ball))
    assert set(planes[: len(box.corners)]) == {1, 2, 3, 4, 5, 6} and not planes[len(box.corners) :].any()
    assert sorted(np.abs(equations[:, 3])) == pytest.approx([0.5, 0.5, 1, 1, 1.5, 1.5])
    equation = equations[np.repeat(planes[: len(box.corners)] - 1, 3)]
    points = box.corners.reshape(-1, 3)
    assert (equation[:, :3] * points).sum(1) + equation[:, 3] == pytest.approx(
        np.zeros(len(points)), abs=1e-9
    )
    assert not mesh_planes((box,), 0.01)[0].any()  # 2 x 3 cm at most


def panel(y: float, size: float, slope: float) -> np.ndarray:
    """Two triangles about (-0.006 y, y, 0), with x = -slope y on them."""
    corners = np.array([[0, -1, -1], [0, 1, -1], [0, 1, 1], [0, -1, 1]]) * size / 2
    corners[:, 0] = -slope * corners[:, 1]
    return (corners + np.array([-0.006 * y, y, 0]))[[[0, 1, 2], [0, 2, 3]]]


def test_panels_of_which_none_is_close_to_their_mean_are_no_plane():
    """They are near the plane of the largest one, which is steeper than the others; as in a shelf 18 m long."""
    corners = np.concatenate([panel(-8, 1, 0), panel(8, 1, 0), panel(12, 1.2, 0.006)])
    planes, equations = mesh_planes((Part(corners),))
    assert planes.max() == len(equations) and np.isfinite(equations).all()


def test_planes_of_a_frame_are_in_the_camera_frame_and_coplanar_ones_of_an_object_are_one():
    T = camera_pose(np.array([1.0, 2.0, 1.5]), 0.3, -0.4, 0.1)
    moved = transformed_planes(np.array([[0.0, 0.0, 1.0, 0.0]]), np.diag([1.0, 1.0, 2.0, 1.0]))
    equations = np.concatenate([moved, [[0, 0, -1, 0.004], [0, 0, 1, 0], [1, 0, 0, -4]]])
    numbers = np.repeat([[0], [1], [2], [3], [-1]], 100, axis=1)
    numbers[3, 30:] = -1
    planes = visible_equations(numbers, [1, 1, 2, 3], equations, T)  # the second is the floor from below
    assert planes.labels.max(1).tolist() == [0, 0, 1, -1, -1]  # the last plane is too small
    for equation in planes.equations:
        assert np.linalg.norm(equation[:3]) == pytest.approx(1) and equation[3] == pytest.approx(1.5)
        assert equation[:3] @ T[2, :3] == pytest.approx(1)  # up, that is to the camera


def test_planes_of_a_recording_are_read(tmp_path):
    folder = write_folder(World(WorldSettings(kind="room", frames=2, width=64, height=48)), tmp_path / "room")
    assert not open_recording(folder).contents.planes
    labels = np.zeros((48, 64), np.uint8)
    labels[:20], labels[30:] = 1, 2
    (folder / "planes").mkdir()
    cv2.imwrite(str(folder / "planes/000001.png"), labels)
    (folder / "planes/000001.txt").write_text("0 0 -1 2.5\n0 -1 0 1\n")
    recording = open_recording(folder)
    assert recording.contents.planes and recording[0].planes is None
    planes = recording[1].planes
    assert isinstance(planes, Planes) and planes.labels[[0, 25, 40], 0].tolist() == [0, -1, 1]
    assert planes.equations.tolist() == [[0, 0, -1, 2.5], [0, -1, 0, 1]]
    for text, problem in (
        ("0 0 -1 2.5\n", "1 planes; 000001.png has the label 2"),
        ("0 0 -1\n", "four numbers"),
    ):
        (folder / "planes/000001.txt").write_text(text)
        with pytest.raises(DepthRosError, match=problem):
            _ = recording[1]
