"""Configurations for Nav2 and MoveIt, against the parameters of those packages and the topics of the nodes."""

from __future__ import annotations

import math

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
    "point_cloud_topic": str, "max_range": float, "padding_offset": float, "padding_scale": float,
    "point_subsample": int, "max_update_rate": float, "filtered_cloud_topic": str, "ns": str,
}  # fmt: skip
"""Parameters that PointCloudOctomapUpdater::setParams reads in turn, until one is missing."""
MONITOR = yaml.safe_load((ROOT / "config/nav2_collision_monitor.yaml").read_text())["collision_monitor"][
    "ros__parameters"
]
NODE_PARAMETERS = yaml.safe_load((ROOT / "config/nav2_depth_node.yaml").read_text())["/**"]["ros__parameters"]
LOWEST_RAY, HIGHEST_RAY = -5.0, 12.0
"""z of the ends of rays that a camera looking down a ramp, or up into the sky, may have, m."""


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
def test_one_cloud_marks_and_another_one_clears(node: str):
    obstacles, free_space = LAYER["obstacles"], LAYER["free_space"]
    for source in (obstacles, free_space, MONITOR["depth_ros"]):
        topic = table_of(node).published(source["topic"].removeprefix(OUTPUTS))
        assert topic.type.__name__ == "PointCloud2"
    assert obstacles["topic"].endswith("points_filtered") and free_space["topic"].endswith("points_clearing")
    assert (obstacles["marking"], obstacles["clearing"]) == (True, False)
    assert (free_space["marking"], free_space["clearing"]) == (False, True)
    # The costmap drops the points outside of these heights before it traces rays to them.
    assert free_space["min_obstacle_height"] < LOWEST_RAY < HIGHEST_RAY < free_space["max_obstacle_height"]
    assert free_space["raytrace_max_range"] <= NODE_PARAMETERS["clearing_range"]
    assert obstacles["obstacle_max_range"] <= NODE_PARAMETERS["max_depth"]


@pytest.mark.parametrize("node", DEPTH_NODES)
def test_the_parameters_of_the_node_for_nav2_are_valid(node: str):
    table = table_of(node)
    assert not [problem for name, value in NODE_PARAMETERS.items() if (problem := table.problem(name, value))]
    assert NODE_PARAMETERS["min_height"] == LAYER["obstacles"]["min_obstacle_height"]
    assert NODE_PARAMETERS["voxel_size"] == COSTMAP["resolution"]
    assert NODE_PARAMETERS["base_frame"] == COSTMAP["robot_base_frame"] == MONITOR["base_frame_id"]


def test_a_leg_of_a_chair_has_more_voxels_than_the_collision_monitor_needs():
    rows = math.floor((0.5 - MONITOR["depth_ros"]["min_height"]) / NODE_PARAMETERS["voxel_size"])
    assert all(MONITOR[polygon]["min_points"] < rows for polygon in MONITOR["polygons"])
    assert all(name in MONITOR for name in MONITOR["observation_sources"])


def test_nav2_costmap_covers_the_ranges_and_has_the_frames_of_odometry():
    assert LAYER["obstacles"]["obstacle_max_range"] > COSTMAP["width"] / 2 > LAYER["z_resolution"]
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
    assert given.pop("sensor_plugin") == "occupancy_map_monitor/PointCloudOctomapUpdater"
    check(given, UPDATER_PARAMETERS)
    assert set(given) == set(UPDATER_PARAMETERS)
    assert not given["filtered_cloud_topic"].startswith(OUTPUTS)


@pytest.mark.parametrize("node", DEPTH_NODES)
def test_moveit_subscribes_to_points_that_reach_beyond_its_range(node: str):
    """It frees the space in front of farther points."""
    topic = table_of(node).published(MOVEIT["depth_ros"]["point_cloud_topic"].removeprefix(OUTPUTS))
    assert (topic.name, topic.type.__name__) == ("points_filtered", "PointCloud2")
    (max_depth,) = table_of(node).defaults("max_depth")
    assert MOVEIT["depth_ros"]["max_range"] < max_depth
