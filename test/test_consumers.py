"""The configurations for Nav2 and MoveIt against what those packages read and what our nodes publish. No ROS."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from test_launch import settings_of, topics_of

CONFIG = Path(__file__).resolve().parent.parent / "config"
NAV2 = yaml.safe_load((CONFIG / "nav2_voxel_layer.yaml").read_text())
COSTMAP = NAV2["local_costmap"]["local_costmap"]["ros__parameters"]
LAYER = COSTMAP["voxel_layer"]
MOVEIT = yaml.safe_load((CONFIG / "moveit_sensors_3d.yaml").read_text())

OF_LAYER = {
    "plugin": str, "enabled": bool, "footprint_clearing_enabled": bool, "min_obstacle_height": float,
    "max_obstacle_height": float, "z_voxels": int, "origin_z": float, "z_resolution": float,
    "unknown_threshold": int, "mark_threshold": int, "combination_method": int, "publish_voxel_map": bool,
    "observation_sources": str, "tf_filter_tolerance": float,
}  # fmt: skip
"""What nav2_costmap_2d::VoxelLayer and ObstacleLayer declare (voxel_layer.cpp, obstacle_layer.cpp)."""
OF_SOURCE = {
    "topic": str, "sensor_frame": str, "observation_persistence": float, "expected_update_rate": float,
    "data_type": str, "min_obstacle_height": float, "max_obstacle_height": float, "inf_is_valid": bool,
    "marking": bool, "clearing": bool, "obstacle_max_range": float, "obstacle_min_range": float,
    "raytrace_max_range": float, "raytrace_min_range": float,
}  # fmt: skip
"""What ObstacleLayer declares for each source."""
OF_UPDATER = {
    "image_topic": str, "queue_size": int, "near_clipping_plane_distance": float, "far_clipping_plane_distance": float,
    "shadow_threshold": float, "padding_scale": float, "padding_offset": float, "max_update_rate": float,
    "skip_vertical_pixels": int, "skip_horizontal_pixels": int, "filtered_cloud_topic": str, "ns": str,
}  # fmt: skip
"""What DepthImageOctomapUpdater::setParams reads, one after the other as long as they are there."""


def check(given: dict[str, object], known: dict[str, type]) -> None:
    """Names exist and have their type: Nav2 refuses a whole number where it declares a real one."""
    for name, value in given.items():
        assert name in known and type(value) is known[name], name


def test_nav2_knows_every_parameter():
    sources = LAYER["observation_sources"].split()
    check({name: value for name, value in LAYER.items() if name not in sources}, OF_LAYER)
    assert sources and all(name in LAYER for name in sources)
    for name in sources:
        check(LAYER[name], OF_SOURCE)
    assert set(COSTMAP["plugins"]) == {"voxel_layer", "inflation_layer"} <= set(COSTMAP)


def test_nav2_source_is_our_cloud():
    source = LAYER["depth_ros"]
    assert source["topic"].removeprefix("/camera/") in topics_of("depth_node") & topics_of(
        "stereo_depth_node"
    )
    assert source["data_type"] == "PointCloud2" and source["marking"] and source["clearing"]
    assert (
        source["obstacle_max_range"] < source["raytrace_max_range"] < settings_of("depth_node")["max_depth"]
    )
    assert source["obstacle_max_range"] > COSTMAP["width"] / 2 > LAYER["z_resolution"]
    assert (
        LAYER["z_voxels"] <= 16 and LAYER["z_voxels"] * LAYER["z_resolution"] >= LAYER["max_obstacle_height"]
    )
    assert COSTMAP["global_frame"] == settings_of("odometry_node")["odom_frame"]
    assert COSTMAP["robot_base_frame"] == settings_of("odometry_node")["base_frame"]


@pytest.mark.parametrize("server", sorted(set(NAV2) - {"local_costmap"}))
def test_nav2_reads_our_odometry(server: str):
    topic = NAV2[server]["ros__parameters"]["odom_topic"]
    assert topic.removeprefix("/") in topics_of("odometry_node")


def test_moveit_reads_every_parameter_of_the_updater():
    (sensor,) = MOVEIT["sensors"]
    given = dict(MOVEIT[sensor])
    assert given.pop("sensor_plugin") == "occupancy_map_monitor/DepthImageOctomapUpdater"
    check(given, OF_UPDATER)
    assert set(given) == set(OF_UPDATER)
    assert 0 < given["near_clipping_plane_distance"] < given["far_clipping_plane_distance"]


def test_moveit_source_is_our_depth_with_its_camera_info_beside_it():
    topic = MOVEIT["depth_ros"]["image_topic"].removeprefix("/camera/")
    ours = topics_of("depth_node") & topics_of("stereo_depth_node")
    assert {topic, topic.rpartition("/")[0] + "/camera_info"} <= ours
    assert {"32FC1", "16UC1"} >= {
        settings_of(name)["depth_encoding"] for name in ("depth_node", "stereo_depth_node")
    }
