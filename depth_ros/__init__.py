"""depth_ros: metric depth, point clouds and odometry from the cameras a robot already has."""

__version__ = "0.1.0"
