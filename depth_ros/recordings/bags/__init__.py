"""Bags without ROS: rosbag2 (mcap, sqlite3) is read and written, ROS 1 bags are read."""

from depth_ros.recordings.bags.recording import BagRecording
from depth_ros.recordings.bags.writer import write_bag

__all__ = ["BagRecording", "write_bag"]
