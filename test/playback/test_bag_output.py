"""Results of a replay as a bag, read back by rosbags and by rclpy."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from depth_ros.errors import DepthRosError
from depth_ros.estimators.filters import FilterSettings, filtered
from depth_ros.estimators.stereo.estimator import StereoEstimator
from depth_ros.geometry import T_BODY_OPTICAL
from depth_ros.playback.bag_output import ResultBag
from depth_ros.playback.kinds import STEREO
from depth_ros.playback.replay import ReplayOptions, replay
from depth_ros.playback.robot import RobotOptions
from depth_ros.recordings import RecordingOptions, open_recording
from depth_ros.world import World, WorldSettings

FRAMES = 8
TOPICS = {
    "/stereo/left/image_raw/compressed": "sensor_msgs/msg/CompressedImage",
    "/stereo/right/image_raw/compressed": "sensor_msgs/msg/CompressedImage",
    "/depth/image_rect": "sensor_msgs/msg/Image", "/depth/camera_info": "sensor_msgs/msg/CameraInfo",
    "/depth/confidence": "sensor_msgs/msg/Image", "/disparity": "stereo_msgs/msg/DisparityImage",
    "/points": "sensor_msgs/msg/PointCloud2", "/points_filtered": "sensor_msgs/msg/PointCloud2",
    "/points_clearing": "sensor_msgs/msg/PointCloud2", "/odom": "nav_msgs/msg/Odometry", "/path": "nav_msgs/msg/Path",
    "/tf": "tf2_msgs/msg/TFMessage", "/tf_static": "tf2_msgs/msg/TFMessage",
}  # fmt: skip


@pytest.fixture(scope="module")
def street() -> World:
    return World(WorldSettings(kind="street", frames=FRAMES, width=320, height=96, seed=4, moving_count=0))


@pytest.fixture(scope="module")
def bag(street, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "results.mcap"
    replay(street, StereoEstimator("semi_global"), STEREO, ReplayOptions(path, progress=False))
    assert [file.name for file in path.parent.iterdir()] == ["results.mcap"]
    return path


def messages(path) -> dict[str, list]:
    types, found = get_typestore(Stores.ROS2_JAZZY), dict[str, list]()
    with Reader(path) as reader:
        for connection, _, data in reader.messages():
            found.setdefault(connection.topic, []).append(types.deserialize_cdr(data, connection.msgtype))
    return found


def test_topics_are_those_of_the_nodes(bag):
    with Reader(bag) as reader:
        types = {connection.topic: connection.msgtype for connection in reader.connections}
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
    assert types.items() >= TOPICS.items()
    assert counts["/depth/image_rect"] == counts["/points"] == counts["/odom"] == FRAMES
    assert counts["/tf_static"] == 1


def test_depth_and_points_are_those_of_the_estimator_after_the_filters(bag, street):
    found = messages(bag)
    disparity = StereoEstimator("semi_global").estimate(STEREO.input_of(street[3]))
    expected = filtered(disparity.depth(), FilterSettings())
    image = found["/depth/image_rect"][3]
    depth = image.data.view(np.float32).reshape(image.height, image.width)
    assert np.array_equal(depth, expected.depth, equal_nan=True)
    points = found["/points"][3]
    z = points.data.view(np.float32).reshape(points.height, points.width, -1)[..., 2]
    assert np.array_equal(z, expected.depth[::2, ::2], equal_nan=True)
    assert [field.name for field in points.fields] == ["x", "y", "z", "rgb"]
    assert found["/disparity"][3].f == pytest.approx(expected.camera.fx)


def test_rclpy_reads_the_messages(bag):
    serialization = pytest.importorskip("rclpy.serialization")
    with Reader(bag) as reader:
        last = {connection.topic: (connection.msgtype, data) for connection, _, data in reader.messages()}
    read = {}
    for topic, (kind, data) in last.items():
        package, _, name = kind.split("/")
        if package == "tf2_msgs" and importlib.util.find_spec(package) is None:
            continue
        message_type = getattr(importlib.import_module(f"{package}.msg"), name)
        read[topic] = serialization.deserialize_message(bytes(data), message_type)
    assert read.keys() >= TOPICS.keys() - {"/tf", "/tf_static"}
    assert read["/depth/image_rect"].encoding == "32FC1"
    assert read["/odom"].header.stamp == read["/depth/image_rect"].header.stamp


def test_odometry_follows_the_camera(bag, street):
    found = messages(bag)
    last = found["/odom"][-1]
    driven = np.linalg.norm(street[FRAMES - 1].T_world_camera[:3, 3] - street[0].T_world_camera[:3, 3])
    p = last.pose.pose.position
    assert p.x == pytest.approx(driven, rel=0.1)
    assert (last.header.frame_id, last.child_frame_id) == ("odom", "base_link")
    assert found["/tf"][-1].transforms[0].transform.translation.x == p.x
    assert len(found["/path"][-1].poses) >= 1


def test_the_images_of_the_bag_are_a_recording(bag, street):
    recording = open_recording(bag, RecordingOptions(image_topic="/stereo/left/image_raw"))
    assert len(recording) == FRAMES and recording.contents.pairs
    assert not recording.contents.depth  # the depth is a result, not ground truth
    assert np.array_equal(recording[2].left.image, street[2].left.image)


def test_other_names_and_existing_files_are_refused(street, bag, tmp_path):
    with pytest.raises(DepthRosError, match=r"results\.mcap exists already"):
        replay(street, StereoEstimator("semi_global"), STEREO, ReplayOptions(bag, 1, progress=False))

    class Failing(StereoEstimator):
        def estimate(self, frame):
            raise DepthRosError("no engine")

    with pytest.raises(DepthRosError, match="no engine"):
        replay(street, Failing("semi_global"), STEREO, ReplayOptions(tmp_path / "x.mcap", progress=False))
    assert not list(tmp_path.iterdir())


def test_depth_of_unknown_scale_has_topics_that_say_so(street, tmp_path):
    estimator = StereoEstimator("semi_global")
    with ResultBag(tmp_path / "results.mcap", is_consecutive=True, is_metric=False) as bag:
        bag.write(street[0], estimator.estimate(STEREO.input_of(street[0])).depth())
    topics = set(messages(tmp_path / "results.mcap"))
    assert topics >= {
        "/depth_up_to_scale/image_rect",
        "/depth_up_to_scale/camera_info",
        "/points_up_to_scale",
    }
    assert not topics & {"/depth/image_rect", "/points", "/odom", "/points_filtered", "/points_clearing"}


@pytest.fixture(scope="module")
def robot_bag(street, tmp_path_factory):
    """The results of a robot whose parameters are those for Nav2, with another height band."""
    folder = tmp_path_factory.mktemp("robot")
    (folder / "nodes.yaml").write_text(
        "/**:\n  ros__parameters:\n    base_frame: base_footprint\n    min_height: 0.3\n    max_height: 2.0\n"
        "    max_depth: 30.0\n    clearing_range: 25.0\n    cloud_rate: 5.0\n    max_age: 0.5\n"
    )
    height = float(street.pose(0)[2, 3])
    robot = RobotOptions(folder / "nodes.yaml", height).robot(street)
    options = ReplayOptions(folder / "results.mcap", progress=False, robot=robot)
    return replay(street, StereoEstimator("semi_global"), STEREO, options), options, height


def rows(message, columns: int) -> np.ndarray:
    return message.data.view(np.float32).reshape(message.width, columns)


def test_clouds_and_scan_are_those_of_the_robot(robot_bag, street):
    _, options, height = robot_bag
    found = messages(options.out)
    assert (
        len(found["/points_filtered"]) == len(found["/points_clearing"]) == len(found["/scan"]) == FRAMES // 2
    )
    mounting = found["/tf_static"][0].transforms[0]
    assert mounting.header.frame_id == "base_footprint" and mounting.transform.translation.z == height
    filtered_cloud = found["/points_filtered"][0]
    assert [field.name for field in filtered_cloud.fields] == ["x", "y", "z", "rgb", "std"]
    heights = height - rows(filtered_cloud, 5)[:, 1]
    assert len(heights) > 50 and heights.min() >= 0.3 and heights.max() <= 2.0
    ends = rows(found["/points_clearing"][0], 3)
    assert np.linalg.norm(ends, axis=1).max() == pytest.approx(25.0, rel=1e-4)
    assert (height - ends[:, 1] < 0.3).sum() > 50  # the road
    scan = found["/scan"][0]
    assert scan.header.frame_id == "base_footprint" and scan.range_max == 25.0
    nearest = np.nanmin(scan.ranges[np.isfinite(scan.ranges)])
    points = rows(filtered_cloud, 5)
    assert nearest == pytest.approx(np.hypot(points[:, 0], points[:, 2]).min(), rel=0.05)
    assert found["/odom"][-1].child_frame_id == "base_footprint"


def test_depth_is_checked_by_the_height_of_the_camera(robot_bag):
    """It looks up by 1.4 degrees, which is not known here."""
    result, _, _ = robot_bag
    assert 1 < float(result.checks["depth of the floor / expected"]) < 1.2


def test_the_place_of_the_camera_is_that_in_the_recorded_transforms(bag, tmp_path):
    (tmp_path / "nodes.yaml").write_text(
        "depth_node:\n  ros__parameters: {base_frame: base_link, min_height: -1.0}"
    )
    recording = open_recording(bag, RecordingOptions(image_topic="/stereo/left/image_raw"))
    robot = RobotOptions(tmp_path / "nodes.yaml").robot(recording)
    assert robot.T_base_camera == pytest.approx(T_BODY_OPTICAL) and robot.filters.min_height == -1
    (tmp_path / "nodes.yaml").write_text("depth_node:\n  ros__parameters: {base_frame: another}")
    with pytest.raises(DepthRosError, match="no transform from 'another' to 'left_camera_optical_frame'"):
        RobotOptions(tmp_path / "nodes.yaml").robot(recording)
    (tmp_path / "nodes.yaml").write_text("base_frame: base_link")
    with pytest.raises(DepthRosError, match="ros__parameters"):
        RobotOptions(tmp_path / "nodes.yaml").robot(recording)
