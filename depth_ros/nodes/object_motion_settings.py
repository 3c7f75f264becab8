"""Parameters of object_motion_node."""

from __future__ import annotations

from dataclasses import dataclass

from depth_ros.config import setting


@dataclass(frozen=True)
class ObjectMotionNodeSettings:
    """Parameters of object_motion_node only."""

    ego_motion: str = setting(
        "camera",
        "Source of the camera's own motion. camera: estimated from image and depth; odom: nav_msgs/Odometry on odom.",
        choices=("camera", "odom"),
    )
    use_labels: bool = setting(
        False,
        "Take the objects from the instance label images on labels (0: background) instead of clustering motion.",
    )
    motion_model: str = setting(
        "",
        "Model of task object_motion that estimates the motion, instead of geometry. Needs use_labels, with labels "
        "that are consistent over time. While the node is configured, another one is loaded in the background and then "
        "takes over.",
        dynamic=True,
    )
    approximate_sync_tolerance_seconds: float = setting(
        0.02,
        "Maximum stamp difference of depth image, colour image and labels; the nearest are used.",
        "s",
        0.0,
        0.5,
    )
    max_pair_interval: float = setting(
        0.35, "Maximum time between two images that are compared.", "s", 0.01, 5.0
    )
    point_stride: int = setting(
        1, "Step between the rows and columns of the point cloud. Increase it for a smaller cloud.", "px", 1, 16,
        dynamic=True,
    )  # fmt: skip
    arrow_seconds: float = setting(
        1.0, "Time after which an object reaches the tip of its arrow.", "s", 0.05, 10.0, dynamic=True
    )
