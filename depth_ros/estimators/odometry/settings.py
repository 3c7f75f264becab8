"""Settings of the odometry from depth images."""

from __future__ import annotations

from dataclasses import dataclass, replace

from depth_ros.config import setting

LOST_POLICIES = ("stop", "extrapolate", "null")


@dataclass(frozen=True)
class OdometrySettings:
    """Settings of OdometryEstimator: patches, error model, inlier test and behaviour while lost."""

    num_patches: int = setting(
        800, "Approximate number of patches tracked per key frame; fewer are faster and less accurate.", "", 50, 5000
    )  # fmt: skip
    pixel_std: float = setting(0.15, "Position noise of a patch in a noise-free image.", "px", 0.01, 5.0)
    inverse_depth_std: float = setting(
        0.003, "Standard deviation of the inverse depth; used where the depth has no standard deviation of its own.",
        "1/m", 1e-5, 1.0,
    )  # fmt: skip
    disparity_bias_std: float = setting(
        1.0, "Prior standard deviation of the constant disparity error left by imperfect rectification; estimated "
        "online. 0 disables.", "px", 0.0, 10.0,
    )  # fmt: skip
    readout_time: float = setting(
        0.0, "Prior mean of the readout time of a rolling shutter, first to last row; negative if the image is "
        "rotated by 180 degrees.", "s", -0.2, 0.2,
    )  # fmt: skip
    readout_time_std: float = setting(
        0.02, "Prior standard deviation of the readout time; estimated online. 0 for a global shutter.", "s", 0.0, 0.2
    )  # fmt: skip
    min_correlation: float = setting(
        0.7, "Minimum correlation of a patch with its key frame; lower it for strongly changing illumination.",
        "", 0.0, 1.0,
    )  # fmt: skip
    min_inliers: int = setting(
        30, "Minimum number of inlier patches; with fewer the frame is lost.", "", 6, 1000
    )
    min_inlier_ratio: float = setting(
        0.3, "Minimum ratio of inliers to patches in view; below it the frame is lost.", "", 0.0, 1.0
    )
    max_reprojection_error: float = setting(
        1.5, "Maximum reprojection error of an inlier patch.", "px", 0.1, 10.0
    )
    key_frame_inlier_ratio: float = setting(
        0.5, "Create a key frame when the ratio of inliers to patches of the last one falls below this value.",
        "", 0.1, 1.0,
    )  # fmt: skip
    translation_noise: float = setting(
        0.0029, "Standard deviation added to each translation axis per frame: calibration, shutter and clock errors.",
        "m", 0.0, 1.0,
    )  # fmt: skip
    relative_translation_noise: float = setting(
        0.0026, "Standard deviation added to each translation axis, as a fraction of the distance between two frames.",
        "", 0.0, 1.0,
    )  # fmt: skip
    rotation_noise: float = setting(
        0.0006, "Standard deviation added to each rotation axis per frame: calibration, shutter and clock errors.",
        "rad", 0.0, 0.1,
    )  # fmt: skip
    relative_rotation_noise: float = setting(
        0.08, "Standard deviation added to each rotation axis, as a fraction of the rotation angle between two frames.",
        "", 0.0, 1.0,
    )  # fmt: skip
    window_size: int = setting(
        3, "Number of key frames that each frame is aligned with; more reduce drift but take longer.", "", 1, 10
    )  # fmt: skip
    when_lost: str = setting(
        "stop", "Pose while lost: the last pose (stop), constant velocity for extrapolation_timeout (extrapolate), or "
        "NaN (null).", choices=LOST_POLICIES,
    )  # fmt: skip
    relocalization_timeout: float = setting(
        1.0, "Maximum time after a loss during which frames are also aligned with the key frames before it.",
        "s", 0.0, 60.0,
    )  # fmt: skip
    extrapolation_timeout: float = setting(
        0.5, "Maximum time of the constant-velocity extrapolation while lost.", "s", 0.0, 10.0
    )


def without_camera_noise(settings: OdometrySettings) -> OdometrySettings:
    """The settings for rendered images: translation and rotation noise of a real camera set to zero."""
    return replace(
        settings, translation_noise=0.0, relative_translation_noise=0.0, rotation_noise=0.0,
        relative_rotation_noise=0.0,
    )  # fmt: skip
