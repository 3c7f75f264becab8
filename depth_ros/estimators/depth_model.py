"""A model of depth as a function of images, for scripts and notebooks."""

from __future__ import annotations

import numpy as np

from depth_ros.card import Card
from depth_ros.datatypes import Camera, Depth, Frame
from depth_ros.engine import EngineSettings
from depth_ros.errors import DepthRosError
from depth_ros.estimators.depth import DepthEstimator
from depth_ros.recordings.calibration import camera_from_fov


class DepthModel:
    """Image -> Depth. The first image of a size opens the engine for it, which may take some seconds once."""

    def __init__(self, model: str, settings: EngineSettings) -> None:
        self._estimator = DepthEstimator(model, settings)

    @property
    def card(self) -> Card:
        """Task, scale, training data, licence and metrics of the model."""
        return self._estimator.card

    def __call__(self, image: np.ndarray, fov: float = 0.0, camera: Camera | None = None) -> Depth:
        """Depth of an image (H, W, 3) uint8 RGB at the size of the engine.

        fov: horizontal field of view, degrees, of an image without distortion; or camera: its calibration. Distances
        are proportional to the focal length, so one of them is required.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise DepthRosError(
                f"the image is {image.dtype} {image.shape}; it must be uint8 (height, width, 3), RGB"
            )
        height, width = image.shape[:2]
        if camera is None:
            if not fov:
                raise DepthRosError(
                    "fov (degrees, horizontal) or camera is required: distances depend on the focal length"
                )
            camera = camera_from_fov(width, height, fov)
        if (camera.width, camera.height) != (width, height):
            raise DepthRosError(
                f"the image is {width}x{height}, but the camera is calibrated for {camera.width}x{camera.height}"
            )
        return self._estimator.estimate(Frame(0, "camera_optical_frame", image, camera))
