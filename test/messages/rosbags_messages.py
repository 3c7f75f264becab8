"""Messages of rosbags (ROS 2 and ROS 1 types) for the tests; those of rclpy are tested in test/nodes."""

from __future__ import annotations

import numpy as np
from rosbags.typesys import Stores, get_typestore

TYPES = get_typestore(Stores.ROS2_HUMBLE).types
TYPES_ROS1 = get_typestore(Stores.ROS1_NOETIC).types


def header(stamp: int = 5_000_000_007, frame_id: str = "optical"):
    sec, nanosec = divmod(stamp, 10**9)
    time = TYPES["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    return TYPES["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def image(width, height, encoding, data, step=None, is_bigendian=0):
    data = np.frombuffer(bytes(data), np.uint8)
    step = len(data) // max(height, 1) if step is None else step
    return TYPES["sensor_msgs/msg/Image"](
        header=header(),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=step,
        data=data,
    )


def camera_info(types=TYPES, width=640, height=480, k=None, d=(), p=None, r=None, model="plumb_bob", **more):
    K = [500.0, 0, 320, 0, 510, 240, 0, 0, 1] if k is None else k
    values = {"k": K, "d": d, "r": np.eye(3).ravel() if r is None else r,
              "p": [500.0, 0, 320, 0, 0, 510, 240, 0, 0, 0, 1, 0] if p is None else p}  # fmt: skip
    values = {name: np.array(value, np.float64) for name, value in values.items()}
    if types is TYPES_ROS1:
        values = {name.upper(): value for name, value in values.items()}
    roi = dict(zip(("x_offset", "y_offset", "width", "height"), more.pop("roi", (0, 0, 0, 0)), strict=True))
    binning = dict(zip(("binning_x", "binning_y"), more.pop("binning", (0, 0)), strict=True))
    return types["sensor_msgs/msg/CameraInfo"](
        header=header(), width=width, height=height, distortion_model=model, **values, **binning,
        roi=types["sensor_msgs/msg/RegionOfInterest"](**roi, do_rectify=False),
    )  # fmt: skip
