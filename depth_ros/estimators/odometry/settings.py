"""Settings of odometry from depth images."""

from __future__ import annotations

from dataclasses import dataclass, replace

from depth_ros.config import setting

POLICIES = ("stop", "extrapolate", "null")


@dataclass(frozen=True)
class OdometrySettings:
    """How the camera's way is found."""

    points: int = setting(800, "patches of a key frame", "", 50, 5000)
    pixel_std: float = setting(
        0.15, "what the place of a patch is wrong by even where the image is without noise", "px", 0.01, 5.0
    )
    inverse_depth_std: float = setting(
        0.003, "standard deviation of 1 / depth where the depth does not say its own", "1/m", 1e-5, 1.0
    )
    disparity_bias: float = setting(
        1.0, "what the disparity of a pair may be off by as a whole, by a residual error of its rectification; it is "
        "estimated on the way; 0 = nothing", "px", 0.0, 10.0,
    )  # fmt: skip
    readout: float = setting(
        0.0, "time from reading the first row of an image to the last, of a rolling shutter; negative where the image "
        "is turned upside down", "s", -0.2, 0.2,
    )  # fmt: skip
    readout_std: float = setting(
        0.02, "what that may be off by; it is estimated on the way; 0 = nothing", "s", 0.0, 0.2
    )
    likeness: float = setting(
        0.7, "correlation with the key frame below which a patch is not found", "", 0.0, 1.0
    )
    min_inliers: int = setting(30, "patches that must agree with a motion", "", 6, 1000)
    min_share: float = setting(0.3, "share of the patches in view that must agree", "", 0.0, 1.0)
    max_error: float = setting(
        1.5, "distance of a patch from where the motion puts it, to agree", "px", 0.1, 10.0
    )
    key_frame_share: float = setting(
        0.5, "a new key frame is made where fewer patches of the old one agree", "", 0.1, 1.0
    )
    place_std: float = setting(
        0.0029, "error of the place from frame to frame that a real camera's calibration, shutter and clock add", "m",
        0.0, 1.0,
    )  # fmt: skip
    place_share: float = setting(0.0026, "the same, as a share of the way", "", 0.0, 1.0)
    turn_std: float = setting(0.0006, "the same of the rotation", "rad", 0.0, 0.1)
    turn_share: float = setting(0.08, "the same, as a share of the angle turned", "", 0.0, 1.0)
    window: int = setting(3, "key frames with which a frame is aligned together", "", 1, 10)
    when_lost: str = setting(
        "stop",
        "what the pose is while lost: that of the last frame; as constant velocity has it, for a bounded time; NaN",
        choices=POLICIES,
    )
    return_for: float = setting(
        1.0, "how long after a loss the key frames before it are tried", "s", 0.0, 60.0
    )
    extrapolate_for: float = setting(0.5, "how long constant velocity is believed", "s", 0.0, 10.0)


def ideal(settings: OdometrySettings) -> OdometrySettings:
    """The settings for rendered images, to which no camera adds errors."""
    return replace(settings, place_std=0.0, place_share=0.0, turn_std=0.0, turn_share=0.0)
