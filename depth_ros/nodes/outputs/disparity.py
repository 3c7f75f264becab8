"""Disparity output: disparity image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from stereo_msgs.msg import DisparityImage

from depth_ros.datatypes import Disparity
from depth_ros.messages.fill import fill_disparity, fill_header
from depth_ros.nodes.outputs.publishers import Publishers
from depth_ros.nodes.topics import Topic

DISPARITY_TOPICS = (
    Topic("disparity", DisparityImage, "out", "Disparity of the left image; invalid pixels are -1."),
)


class DisparityOutput:
    """Fills and publishes the message if it has subscribers. It is reused: publishing copies it.

    disparity_range, step: px, of the matcher; see `StereoEstimator`.
    """

    def __init__(self, publishers: Publishers, disparity_range: int, step: float) -> None:
        self._publishers, self._range, self._step = publishers, disparity_range, step
        self._message = DisparityImage()

    def publish(self, disparity: Disparity, keep: np.ndarray) -> None:
        """Publish one frame. keep: (H, W) bool, pixels that pass the filters."""
        if not self._publishers.has_subscribers("disparity"):
            return
        fill_header(self._message.header, disparity.stamp, disparity.frame_id)
        kept = replace(disparity, disparity=np.where(keep, disparity.disparity, np.float32(np.nan)))
        fill_disparity(self._message, kept, self._range or keep.shape[1], self._step)
        self._publishers.publish("disparity", self._message)
