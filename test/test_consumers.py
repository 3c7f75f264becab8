"""Configurations for Nav2 and MoveIt, against the parameters of those packages and the topics of the nodes."""

from __future__ import annotations

import posixpath

import pytest
import yaml
from node_tables import ROOT, table_of

NAV2 = yaml.safe_load((ROOT / "config/nav2_voxel_layer.yaml").read_text())
COSTMAP = NAV2["local_costmap"]["local_costmap"]["ros__parameters"]
LAYER = COSTMAP["voxel_layer"]
MOVEIT = yaml.safe_load((ROOT / "config/moveit_sensors_3d.yaml").read_text())
DEPTH_NODES = ("depth_node", "stereo_depth_node")
OUTPUTS = "/camera/depth_ros/"
"""Namespace in which the launch files start a node for `camera:=/camera`."""

LAYER_PARAMETERS = {
    "plugin": str, "enabled": bool, "footprint_clearing_enabled": bool, "min_obstacle_height": float,
    "max_obstacle_height": float, "z_voxels": int, "origin_z": float, "z_resolution": float,
    "unknown_threshold": int, "mark_threshold": int, "combination_method": int, "publish_voxel_map": bool,
    "observation_sources": str, "tf_filter_tolerance": float,
}  # fmt: skip
"""Parameters that nav2_costmap_2d::VoxelLayer and ObstacleLayer declare (voxel_layer.cpp, obstacle_layer.cpp)."""
SOURCE_PARAMETERS = {
    "topic": str, "sensor_frame": str, "observation_persistence": float, "expected_update_rate": float,
    "data_type": str, "min_obstacle_height": float, "max_obstacle_height": float, "inf_is_valid": bool,
    "marking": bool, "clearing": bool, "obstacle_max_range": float, "obstacle_min_range": float,
    "raytrace_max_range": float, "raytrace_min_range": float,
}  # fmt: skip
"""Parameters that ObstacleLayer declares for each observation source."""
UPDATER_PARAMETERS = {
    "image_topic": str, "queue_size": int, "near_clipping_plane_distance": float, "far_clipping_plane_distance": float,
    "shadow_threshold": float, "padding_scale": float, "padding_offset": float, "max_update_rate": float,
    "skip_vertical_pixels": int, "skip_horizontal_pixels": int, "filtered_cloud_topic": str, "ns": str,
}  # fmt: skip
"""Parameters that DepthImageOctomapUpdater::setParams reads in turn, until one is missing."""


def check(given: dict[str, object], known: dict[str, type]) -> None:
    """Names and types are those declared: Nav2 rejects an integer for a floating-point parameter."""
    for name, value in given.items():
        assert name in known and type(value) is known[name], name


def test_nav2_declares_every_parameter():
    sources = LAYER["observation_sources"].split()
    check({name: value for name, value in LAYER.items() if name not in sources}, LAYER_PARAMETERS)
    assert sources and all(name in LAYER for name in sources)
    for name in sources:
        check(LAYER[name], SOURCE_PARAMETERS)
    assert set(COSTMAP["plugins"]) == {"voxel_layer", "inflation_layer"} <= set(COSTMAP)


@pytest.mark.parametrize("node", DEPTH_NODES)
def test_nav2_observation_source_is_the_point_cloud_of_the_node(node: str):
    source = LAYER["depth_ros"]
    topic = table_of(node).published(source["topic"].removeprefix(OUTPUTS))
    assert topic.type.__name__ == source["data_type"] == "PointCloud2"
    assert source["marking"] and source["clearing"]
    (max_depth,) = table_of(node).defaults("max_depth")
    assert source["obstacle_max_range"] < source["raytrace_max_range"] < max_depth


def test_nav2_costmap_covers_the_ranges_and_has_the_frames_of_odometry():
    assert LAYER["depth_ros"]["obstacle_max_range"] > COSTMAP["width"] / 2 > LAYER["z_resolution"]
    assert LAYER["z_voxels"] <= 16
    assert LAYER["z_voxels"] * LAYER["z_resolution"] >= LAYER["max_obstacle_height"]
    odometry = table_of("odometry_node")
    assert [COSTMAP["global_frame"]] == odometry.defaults("odom_frame")
    assert [COSTMAP["robot_base_frame"]] == odometry.defaults("base_frame")


@pytest.mark.parametrize("server", sorted(set(NAV2) - {"local_costmap"}))
def test_nav2_server_subscribes_to_the_odometry_of_the_node(server: str):
    topic = NAV2[server]["ros__parameters"]["odom_topic"].removeprefix("/")
    assert table_of("odometry_node").published(topic).type.__name__ == "Odometry"


def test_moveit_has_every_parameter_of_the_updater():
    (sensor,) = MOVEIT["sensors"]
    given = dict(MOVEIT[sensor])
    assert given.pop("sensor_plugin") == "occupancy_map_monitor/DepthImageOctomapUpdater"
    check(given, UPDATER_PARAMETERS)
    assert set(given) == set(UPDATER_PARAMETERS)
    assert 0 < given["near_clipping_plane_distance"] < given["far_clipping_plane_distance"]


def test_moveit_publishes_in_a_namespace_of_its_own():
    """The updater advertises a camera_info beside filtered_cloud_topic, which is relative to `ns`."""
    sensor = MOVEIT["depth_ros"]
    filtered = posixpath.join(sensor["ns"], sensor["filtered_cloud_topic"])
    own = {OUTPUTS + topic.name for node in DEPTH_NODES for topic in table_of(node).topics}
    assert posixpath.dirname(filtered) + "/camera_info" not in own | {"/camera/camera_info"}
    assert not filtered.startswith(OUTPUTS)


@pytest.mark.parametrize("node", DEPTH_NODES)
def test_moveit_subscribes_to_the_depth_image_of_the_node_and_the_camera_info_beside_it(node: str):
    table = table_of(node)
    topic = MOVEIT["depth_ros"]["image_topic"].removeprefix(OUTPUTS)
    assert table.published(topic).type.__name__ == "Image"
    info = topic.rpartition("/")[0] + "/camera_info"
    assert table.published(info).type.__name__ == "CameraInfo"
    assert set(table.fields["depth_encoding"][0].metadata["choices"]) == {
        "32FC1",
        "16UC1",
    }  # all that MoveIt reads
