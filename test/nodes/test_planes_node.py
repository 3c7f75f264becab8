"""The real planes_node in a process of its own, over DDS: known planes, and planes fitted to depth images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from node_client import Client, camera, image_of, info_of
from sensor_msgs.msg import Image

from depth_ros.geometry import matrix_from_quaternion, rays
from depth_ros.messages.fill import fill_depth
from depth_ros.nodes import planes_node
from depth_ros.playback.play import node_process

COMMAND = ["-m", "depth_ros.nodes.planes_node", "--ros-args"]
SIZE = camera(64, 48)


# Before the client of the module: Fast DDS 3.2 hangs if one of two participants of a process closes.
def test_planes_are_fitted_to_depth_images():
    """A floor and a wall as depth in millimetres, without a model."""
    size = camera(128, 96)
    depth = 1 / np.maximum(rays(size)[..., 1], 1 / 3)  # a floor 1 m below, a wall 3 m ahead
    image = Image()
    fill_depth(image, depth, "16UC1")
    parameters = ["-p", "source:=depth", "-p", "relative_distance_threshold:=0.02"]
    with node_process([*COMMAND, *parameters]) as (_, namespace):
        client = Client(namespace, planes_node)
        try:
            (array,) = client.results_of(image, info_of(size), "planes")
            texts = [m.text for m in array.markers if m.text]
            equations = np.array([[float(word) for word in text.split()] for text in texts])
            order = np.argsort(equations[:, 1])
            assert len(equations) == 2
            assert equations[order[0]] == pytest.approx([0, -1, 0, 1], abs=0.02)
            assert equations[order[1]] == pytest.approx([0, 0, -1, 3], abs=0.02)
            client.wait_for_warning(
                "depth image encoding 'rgb8' is not supported",
                lambda: client.publish(image_of(size), info_of(size)),
            )
        finally:
            client.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory):
    log = tmp_path_factory.mktemp("node") / "estimates.txt"
    log.touch()
    script = Path(__file__).parent / "known_planes_node.py"
    with node_process([str(script), str(log), "--ros-args"]) as (_, namespace):
        client = Client(namespace, planes_node, log=log)
        yield client
        client.close()


def normal_of(marker) -> np.ndarray:
    q = marker.pose.orientation
    return matrix_from_quaternion(np.array([q.x, q.y, q.z, q.w]))[:, 2]


def points_of(marker) -> np.ndarray:
    """Points of a marker in the frame of its header."""
    q, p = marker.pose.orientation, marker.pose.position
    local = np.array([[point.x, point.y, point.z] for point in marker.points])
    return local @ matrix_from_quaternion(np.array([q.x, q.y, q.z, q.w])).T + [p.x, p.y, p.z]


def test_markers_have_equations_and_outlines(client: Client):
    (array,) = client.results_of(image_of(SIZE), info_of(SIZE), "planes")
    first, *markers = array.markers
    assert first.action == first.DELETEALL and {m.header.frame_id for m in markers} == {"front_optical"}
    wall, wall_text, floor, floor_text = markers
    assert [m.ns for m in markers] == ["plane_0", "plane_0", "plane_1", "plane_1"]
    assert wall.type == wall.LINE_STRIP and normal_of(wall) == pytest.approx([0, 0, -1], abs=1e-6)
    assert normal_of(floor) == pytest.approx([0, -1, 0], abs=1e-6) and floor.color != wall.color
    assert [float(word) for word in wall_text.text.split()] == [0, 0, -1, 2]
    assert [float(word) for word in floor_text.text.split()] == [0, -1, 0, 1]
    border, below = points_of(wall), points_of(floor)
    assert border[:, 2] == pytest.approx(np.full(len(border), 2.0), abs=1e-6)
    assert below[:, 1] == pytest.approx(np.ones(len(below)), abs=1e-6)
    assert border[:, 0].min() == pytest.approx(2 * (0 - SIZE.cx) / SIZE.fx, abs=1e-5)
    assert border[:, 0].max() == pytest.approx(2 * (31 - SIZE.cx) / SIZE.fx, abs=1e-5)
    assert border[0] == pytest.approx(border[-1])  # closed


def test_labels_and_points_have_the_planes(client: Client):
    assert client.set_parameters(point_stride=2)[0].successful
    labels, info, cloud = client.results_of(
        image_of(SIZE, 90), info_of(SIZE), "planes/labels", "planes/camera_info", "planes/points"
    )
    assert client.set_parameters(point_stride=1)[0].successful
    assert labels.header == info.header == cloud.header and labels.encoding == "mono8"
    values = np.frombuffer(labels.data, np.uint8).reshape(48, 64)
    assert (values[:, :32] == 1).all() and (values[:36, 32:] == 0).all() and (values[36:, 32:] == 2).all()
    assert [f.name for f in cloud.fields] == [
        "x", "y", "z", "rgb", "normal_x", "normal_y", "normal_z", "curvature"
    ]  # fmt: skip
    points = np.frombuffer(cloud.data, "<f4").reshape(24, 32, 8)
    assert (points[:, :16, 2] == 2).all() and (points[:, :16, 4:7] == [0, 0, -1]).all()
    assert np.isnan(points[:18, 16:, :3]).all()
    ray = rays(SIZE)[40, 50]
    assert points[20, 25, :3] == pytest.approx(ray / ray[1], rel=1e-5)  # 1 m below
    assert (points[20, 25, 4:] == [0, -1, 0, 0]).all()
    assert np.frombuffer(cloud.data, np.uint8)[12:16].tolist() == [90, 90, 90, 0]


def test_no_planes_are_computed_without_subscribers(client: Client):
    client.subscribe()
    client.spin(0.5)
    before = len(client.estimated_stamps)
    for _ in range(3):
        client.publish(image_of(SIZE), info_of(SIZE))
        client.spin(0.1)
    assert len(client.estimated_stamps) == before
