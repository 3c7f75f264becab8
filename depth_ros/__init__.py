"""Metric depth, point clouds and odometry from a robot's cameras."""

__version__ = "0.1.0"
