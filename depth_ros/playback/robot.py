"""The robot of a recording, for replay: parameters of its nodes, and the pose of the camera on it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.config import settings_from
from depth_ros.errors import DepthRosError
from depth_ros.estimators.clouds import CloudSettings
from depth_ros.estimators.filters import FilterSettings
from depth_ros.geometry import T_BODY_OPTICAL
from depth_ros.recordings import Recording
from depth_ros.recordings.bags.recording import BagRecording
from depth_ros.recordings.files import read_yaml

log = logging.getLogger("depth_ros.playback")

BASE_FRAME = "base_link"
"""Frame of the robot, if no parameter names it."""


@dataclass(frozen=True)
class Robot:
    """filters, clouds: parameters of the node. T_base_camera: (4, 4) pose of the left or only camera in `base_frame`;
    None if its height is unknown: then base_link is at the camera, and there is no scan."""

    filters: FilterSettings = field(default_factory=FilterSettings)
    clouds: CloudSettings = field(default_factory=CloudSettings)
    T_base_camera: np.ndarray | None = None

    @property
    def base_frame(self) -> str:
        return self.filters.base_frame or BASE_FRAME

    @property
    def T_frame_camera(self) -> np.ndarray:
        """(4, 4) pose of the camera in `base_frame`, as the transforms of a bag have it."""
        return T_BODY_OPTICAL if self.T_base_camera is None else self.T_base_camera


@dataclass(frozen=True)
class RobotOptions:
    """config: YAML file of node parameters. camera_height: m above the ground of a level camera; 0 = unknown."""

    config: Path | None = None
    camera_height: float = 0.0

    def robot(self, recording: Recording) -> Robot:
        """The robot that made a recording. Raises DepthRosError for an invalid value, or if no transform leads from
        `base_frame` to the camera."""
        parameters = node_parameters(self.config) if self.config else {}
        source = str(self.config)
        filters = settings_from(FilterSettings, _taken(parameters, FilterSettings), source)
        clouds = settings_from(CloudSettings, _taken(parameters, CloudSettings), source)
        if parameters:
            log.warning("%s: not used by a replay: %s", source, ", ".join(parameters))
        if self.camera_height:
            T = T_BODY_OPTICAL.copy()
            T[2, 3] = self.camera_height
            return Robot(dataclasses.replace(filters, base_frame=filters.base_frame or BASE_FRAME), clouds, T)
        if not filters.base_frame:
            return Robot(filters, clouds)
        camera = recording[0].left.frame_id
        T_base = (
            recording.transform(filters.base_frame, camera) if isinstance(recording, BagRecording) else None
        )
        if T_base is None:
            raise DepthRosError(
                f"the recording has no transform from '{filters.base_frame}' to '{camera}': record /tf_static, or give "
                "the height of a level camera with --camera-height"
            )
        return Robot(filters, clouds, T_base)


def _taken(parameters: dict[str, Any], kind: type[FilterSettings | CloudSettings]) -> dict[str, Any]:
    """The parameters that are fields of a settings dataclass, which are removed."""
    names = [each.name for each in dataclasses.fields(kind)]
    return {name: parameters.pop(name) for name in names if name in parameters}


def node_parameters(path: Path) -> dict[str, Any]:
    """The values of all nodes in a file as `--params-file` takes it. Raises DepthRosError if it has none."""
    found = {name: value for values in _parameters(read_yaml(path)) for name, value in values.items()}
    if not found:
        raise DepthRosError(f"{path} has no parameters: write them below '/**:' and 'ros__parameters:'")
    return found


def _parameters(content: object) -> Iterator[dict[str, Any]]:
    """The mappings below `ros__parameters`, at any depth."""
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        if key == "ros__parameters" and isinstance(value, dict):
            yield value
        else:
            yield from _parameters(value)
