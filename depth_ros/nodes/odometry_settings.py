"""Parameters of odometry_node."""

from __future__ import annotations

from dataclasses import dataclass

from depth_ros.config import setting


@dataclass(frozen=True)
class OdometryNodeSettings:
    """Parameters of odometry_node; those of OdometrySettings and ScaleSettings join them."""

    image_transport: str = setting(
        "raw", "how images come: `image` or `image/compressed`", choices=("raw", "compressed")
    )
    rectified: bool = setting(
        False, "images and depth are rectified already: P of camera_info describes them, D is ignored"
    )
    sync_tolerance: float = setting(
        0.02, "stamps of depth and image may differ by so much; the nearest are taken", "s", 0.0, 0.5
    )
    odom_frame: str = setting("odom", "frame that poses are given in")
    base_frame: str = setting(
        "base_link", "frame whose motion is given, placed by TF; empty: the camera's optical frame"
    )
    publish_tf: bool = setting(
        False, "publish the transform odom_frame -> base_frame; a robot has one publisher of it, often an EKF"
    )
    two_d: bool = setting(False, "the robot moves in a plane: z, roll and pitch stay zero")
    baseline: float = setting(
        0.0, "of the pair that the depth is from, which may be off; 0 = as P[3] of depth/camera_info has it",
        "m", 0.0, 10.0,
    )  # fmt: skip
    depth_scale: str = setting(
        "metric",
        "of the depth that comes. up_to_scale: its unit is unknown; camera_height, use_wheels and use_imu say how long "
        "it is, and without any poses go to odom_up_to_scale, and never to TF",
        choices=("metric", "up_to_scale"),
    )
    camera_height: float = setting(
        0.0, "of the camera over the ground, for depth that is up to scale; 0 = unknown", "m", 0.0, 100.0
    )
    use_wheels: bool = setting(
        False,
        "take the length of the way from nav_msgs/Odometry on `wheel_odom`, for depth that is up to scale",
    )
    longest_gap: float = setting(
        2.0, "after so long without a frame odometry starts anew, at its last pose", "s", 0.05, 60.0
    )
    use_imu: bool = setting(
        False,
        "start from the rotation that `imu` measures between two frames; for depth that is up to scale, take the "
        "length of the way from its accelerations",
    )
    unwatched: bool = setting(False, "go on while nobody subscribes to the results", dynamic=True)
    path_poses: int = setting(500, "poses that `path` holds", "", 1, 100000)
    path_spacing: float = setting(0.1, "distance of the poses on `path`", "m", 0.0, 100.0)
    autostart: bool = setting(True, "configure and activate at start, without a life-cycle manager")

    @property
    def scaled(self) -> bool:
        """Whether something says how many metres a unit of depth is, or it is one."""
        return self.depth_scale == "metric" or self.camera_height > 0 or self.use_wheels or self.use_imu
