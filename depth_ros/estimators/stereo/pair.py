"""A stereo pair from the frames of two cameras."""

from __future__ import annotations

from dataclasses import replace

from depth_ros.datatypes import Frame, StereoFrame
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify

MAX_CALIBRATION_DIFFERENCE = 0.02
"""Largest difference of the rectified cameras: of fy and cy as a fraction of the height, of fx relative to fx."""

NO_BASELINE = 1e-6
"""m, below which the two cameras are at the same position."""
MIN_BASELINE, MAX_BASELINE = 0.001, 5.0
"""m, of a plausible pair."""


def baseline_doubt(baseline: float) -> str:
    """What is implausible about a baseline, m; empty if nothing is."""
    if MIN_BASELINE <= baseline <= MAX_BASELINE:
        return ""
    in_millimetres = baseline > MAX_BASELINE and MIN_BASELINE <= baseline / 1000 <= MAX_BASELINE
    question = ": was the calibration in millimetres?" if in_millimetres else ""
    return (
        f"the baseline is {baseline:.4g} m by camera_info, and depth is proportional to it{question}; P[3] of the "
        "right camera has to be -fx * baseline, in px m"
    )


def stereo_pair(left: Frame, right: Frame) -> StereoFrame:
    """The pair of both frames as they are. Raises DepthRosError where images or cameras do not form a stereo pair."""
    if left.image.shape != right.image.shape:
        sizes = [f"{frame.image.shape[1]}x{frame.image.shape[0]}" for frame in (left, right)]
        raise DepthRosError(
            f"the left image is {sizes[0]} and the right image {sizes[1]}: set both cameras to the same size"
        )
    cameras = [frame.camera.rectified() for frame in (left, right)]
    baseline = cameras[1].baseline - cameras[0].baseline
    offsets = [float(camera.P[0, 3]) + 0.0 for camera in cameras]
    if abs(baseline) < NO_BASELINE and any(camera.P[1, 3] for camera in cameras):
        raise DepthRosError(
            "P[7] of camera_info is set and P[3] is not, so the cameras are one above the other: only pairs side by "
            "side are matched; rotate images and calibration by 90 degrees"
        )
    if abs(baseline) < NO_BASELINE:
        raise DepthRosError(
            f"P[3] of the left and right camera_info is {offsets[0]:g} and {offsets[1]:g}, so the baseline is unknown: "
            "it must be 0 and -fx * baseline, as camera_calibration writes it for a stereo pair"
        )
    if baseline < 0:
        raise DepthRosError(
            f"the baseline is {baseline:.3f} m (P[3] of the left and right camera_info is {offsets[0]:g} and "
            f"{offsets[1]:g}), which puts the right camera on the left: left and right are swapped, or P[3] has the "
            "wrong sign"
        )
    rows = [abs(cameras[0].fy - cameras[1].fy), abs(cameras[0].cy - cameras[1].cy)]
    if (
        max(rows) > MAX_CALIBRATION_DIFFERENCE * cameras[0].height
        or abs(cameras[0].fx / cameras[1].fx - 1) > MAX_CALIBRATION_DIFFERENCE
    ):
        raise DepthRosError(
            f"P of the left and right camera_info differs: fx {cameras[0].fx:.1f} and {cameras[1].fx:.1f}, "
            f"fy {cameras[0].fy:.1f} and {cameras[1].fy:.1f}, cy {cameras[0].cy:.1f} and {cameras[1].cy:.1f}; "
            "calibrate the cameras as a stereo pair"
        )
    return StereoFrame(left, right, baseline)


def rectified(pair: StereoFrame) -> StereoFrame:
    """The pair with rectified images."""
    frames = []
    for frame in (pair.left, pair.right):
        image, camera = rectify(frame.image, frame.camera)
        frames.append(replace(frame, image=image, camera=camera))
    return StereoFrame(frames[0], frames[1], pair.baseline)


def rectified_pair(left: Frame, right: Frame) -> StereoFrame:
    """The pair of both frames with rectified images; raises as `stereo_pair`."""
    return rectified(stereo_pair(left, right))
