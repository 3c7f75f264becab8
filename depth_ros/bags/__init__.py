"""Bags <-> frames and truth, without ROS: rosbag2 (mcap, sqlite3) both ways, ROS 1 bags for reading."""

from depth_ros.bags.reader import BagReader
from depth_ros.bags.writer import write_bag

__all__ = ["BagReader", "write_bag"]
