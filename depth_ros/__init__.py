"""Metric depth, point clouds and odometry from a robot's cameras.

In Python, without ROS:

    from depth_ros import load_model
    model = load_model("mono")
    depth = model(image, fov=70).depth  # image (H, W, 3) uint8 RGB; depth (h, w) float32 m, NaN = invalid
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depth_ros.estimators.depth_model import DepthModel

__version__ = "0.1.0"


def load_model(name: str, backend: str = "auto", precision: str = "auto", device: str = "auto") -> DepthModel:
    """A model of depth as a function of images, see `estimators.depth_model.DepthModel`.

    name: a shipped model, or the folder of a trained or imported one. backend, precision, device: see `EngineSettings`.
    Raises DepthRosError if the model is unknown, damaged or of another task.
    """
    from depth_ros.engine import EngineSettings
    from depth_ros.estimators.depth_model import DepthModel

    return DepthModel(name, EngineSettings(backend, precision, device))
