"""Parameters of odometry_node."""

from __future__ import annotations

from dataclasses import dataclass

from depth_ros.config import setting


@dataclass(frozen=True)
class OdometryNodeSettings:
    """Parameters of odometry_node only."""

    approximate_sync_tolerance_seconds: float = setting(
        0.02,
        "Maximum stamp difference of a depth image and its colour image; the nearest is used.",
        "s",
        0.0,
        0.5,
    )
    odom_frame: str = setting("odom", "Frame in which poses are published.")
    base_frame: str = setting(
        "base_link",
        "Frame whose motion is published, located by TF. Empty for the optical frame of the camera.",
    )
    publish_tf: bool = setting(
        False,
        "Publish the transform from odom_frame to base_frame. Leave it false if another node, for example an EKF, "
        "publishes it.",
    )
    two_d_mode: bool = setting(
        False, "Constrain the motion to a plane: z, roll and pitch stay zero. Needs a base_frame."
    )
    baseline: float = setting(
        0.0,
        "Baseline of the stereo pair that the depth is computed from, for the estimation of a disparity bias. 0 takes "
        "it from P[3] of depth/camera_info.",
        "m", 0.0, 10.0,
    )  # fmt: skip
    depth_scale: str = setting(
        "metric",
        "Scale of the depth images. up_to_scale: their unit is unknown; it is estimated with camera_height, "
        "use_wheel_odometry or use_imu, and until then poses go to odom_up_to_scale and never to TF.",
        choices=("metric", "up_to_scale"),
    )
    camera_height: float = setting(
        0.0, "Height of the camera above the ground, to estimate the scale of up-to-scale depth. 0 if unknown.",
        "m", 0.0, 100.0,
    )  # fmt: skip
    use_wheel_odometry: bool = setting(
        False, "Estimate the scale of up-to-scale depth from the nav_msgs/Odometry on wheel_odom."
    )
    max_frame_gap: float = setting(
        2.0, "Restart from the last pose after a gap this long without frames.", "s", 0.05, 60.0
    )
    use_imu: bool = setting(
        False,
        "Predict the rotation between two frames from the angular velocities on imu, and estimate the scale of "
        "up-to-scale depth from its accelerations.",
    )
    run_without_subscribers: bool = setting(False, "Keep estimating without subscribers.", dynamic=True)
    path_poses: int = setting(500, "Maximum number of poses on path; the oldest are removed.", "", 1, 100000)
    path_spacing: float = setting(0.1, "Minimum distance between two poses on path.", "m", 0.0, 100.0)

    @property
    def has_metric_scale(self) -> bool:
        """Whether depth is metric or a source of its scale is enabled."""
        return (
            self.depth_scale == "metric" or self.camera_height > 0 or self.use_wheel_odometry or self.use_imu
        )
