"""The IMU of a bag, with its place by /tf_static."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags import rosbag2
from rosbags.typesys import Stores, get_typestore

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.geometry import T_BODY_OPTICAL, quaternion_from_matrix
from depth_ros.messages.fill import fill_camera_info, fill_header, fill_image
from depth_ros.recordings import RecordingOptions, open_recording
from depth_ros.recordings.bags.writer import default_message
from depth_ros.recordings.imu import imu_of

TYPES = get_typestore(Stores.ROS2_JAZZY)
START = 1_700_000_000 * 10**9


def stamped(kind: str, stamp: int, frame_id: str):
    made = default_message(TYPES, kind)
    fill_header(made.header, stamp, frame_id)
    return made


def transform(parent: str, child: str, T: np.ndarray):
    made = stamped("geometry_msgs/msg/TransformStamped", START, parent)
    made.child_frame_id = child
    for axis, value in zip("xyz", T[:3, 3]):
        setattr(made.transform.translation, axis, float(value))
    for axis, value in zip("xyzw", quaternion_from_matrix(T[:3, :3])):
        setattr(made.transform.rotation, axis, float(value))
    return made


def bag(path: Path, imus: tuple[str, ...] = ("/imu/data",), has_tf: bool = True) -> Path:
    camera = Camera.pinhole(32, 24, 30.0, 30.0, 15.5, 11.5)
    info = stamped("sensor_msgs/msg/CameraInfo", START, "optical")
    fill_camera_info(info, camera)
    content = [("/cam/camera_info", START, info)]
    for index in range(3):
        image = stamped("sensor_msgs/msg/Image", START + index * 10**8, "optical")
        fill_image(image, np.full((24, 32, 3), index, np.uint8), "rgb8")
        content.append(("/cam/image_rect", START + index * 10**8, image))
    for topic in imus:
        for index in (*range(20), 3):  # the last one is out of order
            imu = stamped("sensor_msgs/msg/Imu", START + index * 10**7, "imu_link")
            imu.angular_velocity.z, imu.linear_acceleration.z = 0.1 * index, 9.81
            content.append((topic, START + 10**9 + index, imu))
    if has_tf:
        place = np.eye(4)
        place[:3, 3] = 0.3, 0.0, 0.5
        tf = default_message(TYPES, "tf2_msgs/msg/TFMessage")
        tf.transforms = [transform("base", "imu_link", place), transform("base", "optical", T_BODY_OPTICAL)]
        content.append(("/tf_static", START, tf))
    with rosbag2.Writer(path, version=9, storage_plugin=rosbag2.StoragePlugin.MCAP) as writer:
        connections = {}
        for topic, time, made in content:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, made.__msgtype__, typestore=TYPES)
            writer.write(connections[topic], time, TYPES.serialize_cdr(made, made.__msgtype__))
    return path


def test_measurements_and_place_are_read_when_asked_for(tmp_path):
    recording = open_recording(bag(tmp_path / "bag"))
    assert recording.contents.imu
    imu = imu_of(recording)
    assert imu.frame_id == "imu_link" and imu.stamps.tolist() == [START + i * 10**7 for i in range(20)]
    assert np.allclose(imu.angular_velocity[:, 2], 0.1 * np.arange(20))
    assert np.allclose(imu.linear_acceleration, [0, 0, 9.81])
    assert np.allclose(imu.T_camera_imu @ [0, 0, 0, 1], [0, -0.5, 0.3, 1])  # 0.3 m ahead, 0.5 m above
    assert recording[1].left.image[0, 0, 0] == 1


def test_of_several_imus_one_is_named(tmp_path):
    path = bag(tmp_path / "bag", ("/a/imu", "/b/imu"), has_tf=False)
    assert not open_recording(path).contents.imu and imu_of(open_recording(path)) is None
    imu = imu_of(open_recording(path, RecordingOptions(imu_topic="/b/imu")))
    assert len(imu.stamps) == 20 and imu.T_camera_imu is None
    with pytest.raises(DepthRosError, match="no IMU topic '/c'; it has: /a/imu, /b/imu"):
        open_recording(path, RecordingOptions(imu_topic="/c"))
