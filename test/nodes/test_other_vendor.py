"""A subscriber on another DDS implementation, Eclipse Cyclone, receives the results of a node on Fast DDS."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from test_perception_node import CAMERAS, PairClient, command

from depth_ros.playback.play import node_process

pytest.importorskip("cyclonedds", reason="no Cyclone DDS: pip install cyclonedds")

from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import array, float64, int32, sequence, uint8, uint32
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic


@dataclass
class Time(IdlStruct, typename="builtin_interfaces::msg::dds_::Time_"):
    sec: int32
    nanosec: uint32


@dataclass
class Header(IdlStruct, typename="std_msgs::msg::dds_::Header_"):
    stamp: Time
    frame_id: str


@dataclass
class Image(IdlStruct, typename="sensor_msgs::msg::dds_::Image_"):
    header: Header
    height: uint32
    width: uint32
    encoding: str
    is_bigendian: uint8
    step: uint32
    data: sequence[uint8]


@dataclass
class Vector3(IdlStruct, typename="geometry_msgs::msg::dds_::Vector3_"):
    x: float64
    y: float64
    z: float64


@dataclass
class Point(IdlStruct, typename="geometry_msgs::msg::dds_::Point_"):
    x: float64
    y: float64
    z: float64


@dataclass
class Quaternion(IdlStruct, typename="geometry_msgs::msg::dds_::Quaternion_"):
    x: float64
    y: float64
    z: float64
    w: float64


@dataclass
class Pose(IdlStruct, typename="geometry_msgs::msg::dds_::Pose_"):
    position: Point
    orientation: Quaternion


@dataclass
class PoseWithCovariance(IdlStruct, typename="geometry_msgs::msg::dds_::PoseWithCovariance_"):
    pose: Pose
    covariance: array[float64, 36]


@dataclass
class Twist(IdlStruct, typename="geometry_msgs::msg::dds_::Twist_"):
    linear: Vector3
    angular: Vector3


@dataclass
class TwistWithCovariance(IdlStruct, typename="geometry_msgs::msg::dds_::TwistWithCovariance_"):
    twist: Twist
    covariance: array[float64, 36]


@dataclass
class Odometry(IdlStruct, typename="nav_msgs::msg::dds_::Odometry_"):
    header: Header
    child_frame_id: str
    pose: PoseWithCovariance
    twist: TwistWithCovariance


PROFILE = """<dds xmlns="http://www.eprosima.com"><profiles>
  <participant profile_name="by_name" is_default_profile="true"><rtps><propertiesPolicy><properties>
    <property><name>fastdds.type_propagation</name><value>disabled</value></property>
  </properties></propertiesPolicy></rtps></participant>
</profiles></dds>"""
"""Match types by name, as ROS does: Cyclone 11 rejects the type objects that Fast DDS 3 sends along."""


def test_cyclone_receives_depth_and_odometry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    # LARGE_DATA uses TCP and shared memory, which is specific to Fast DDS; other implementations need UDP.
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    (tmp_path / "profile.xml").write_text(PROFILE)
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", str(tmp_path / "profile.xml"))
    with node_process(command("model:=semi_global")) as (_, namespace):
        robot = PairClient(namespace)
        reliable = Qos(Policy.Reliability.Reliable(max_blocking_time=0), Policy.History.KeepLast(10))
        participant = DomainParticipant(int(os.environ["ROS_DOMAIN_ID"]))
        readers = [
            DataReader(participant, Topic(participant, f"rt{namespace}/{name}", kind), qos=reliable)
            for name, kind in (("depth/image_rect", Image), ("odom", Odometry))
        ]
        robot.publish_mounting_pose()
        received: tuple[list[Image], list[Odometry]] = ([], [])
        end, count = time.monotonic() + 60, 0
        while time.monotonic() < end and not (received[0] and len(received[1]) > 2):
            robot.publish_view(count)
            count = min(count + 1, 6)
            robot.spin(0.3)
            for reader, messages in zip(readers, received):
                messages.extend(reader.take(10))
        robot.close()
    depth, odometry = received[0][-1], received[1][-1]
    assert (depth.width, depth.height) == (CAMERAS["left"].width, CAMERAS["left"].height)
    assert depth.encoding == "32FC1" and depth.header.frame_id == "camera_optical"
    metres = np.array(depth.data, np.uint8).view("<f4")
    assert 1 < np.nanmedian(metres) < 8
    assert (odometry.header.frame_id, odometry.child_frame_id) == ("odom", "base_link")
    assert odometry.twist.twist.linear.x != 0 and 0 < odometry.pose.covariance[0] < 1
