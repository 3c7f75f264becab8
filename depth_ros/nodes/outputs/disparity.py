"""Disparity output: disparity image and confidence image."""

from __future__ import annotations

from sensor_msgs.msg import Image
from stereo_msgs.msg import DisparityImage

from depth_ros.datatypes import Disparity
from depth_ros.estimators.filters import confidence_image
from depth_ros.messages.fill import fill_depth, fill_disparity, fill_header
from depth_ros.nodes.outputs.publishers import Publishers
from depth_ros.nodes.topics import Topic

DISPARITY_TOPICS = (
    Topic("disparity", DisparityImage, "out", "Disparity of the left image; invalid pixels are -1."),
    Topic(
        "depth/confidence", Image, "out",
        "Probability of a disparity error below 1 px (32FC1); invalid pixels are 0.",
    ),
)  # fmt: skip


class DisparityOutput:
    """Fills and publishes those messages that have subscribers. They are reused: publishing copies them.

    disparity_range, step: px, of the matcher; see `StereoEstimator`.
    """

    def __init__(self, publishers: Publishers, disparity_range: int, step: float) -> None:
        self._publishers, self._range, self._step = publishers, disparity_range, step
        self._disparity, self._confidence = DisparityImage(), Image()

    def publish(self, disparity: Disparity, kept: Disparity) -> None:
        """Publish one frame. kept: the disparity after the filters."""
        for message in (self._disparity, self._confidence):
            fill_header(message.header, disparity.stamp, disparity.frame_id)
        if self._publishers.has_subscribers("disparity"):
            fill_disparity(self._disparity, kept, self._range or kept.disparity.shape[1], self._step)
            self._publishers.publish("disparity", self._disparity)
        if self._publishers.has_subscribers("depth/confidence"):
            fill_depth(self._confidence, confidence_image(disparity))
            self._publishers.publish("depth/confidence", self._confidence)
