"""Bags without ROS: rosbag2 (mcap, sqlite3) is read and written, ROS 1 bags are read."""

from depth_ros.recordings.bags.reader import BagReader
from depth_ros.recordings.bags.writer import write_bag

__all__ = ["BagReader", "write_bag"]
