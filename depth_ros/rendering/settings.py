"""What is rendered, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from depth_ros.config import setting

if TYPE_CHECKING:
    from depth_ros.datatypes import Camera


@dataclass(frozen=True)
class SceneSettings:
    """Settings of `depth_ros render scene`."""

    frames: int = setting(40, "Number of frames", minimum=1)
    width: int = setting(320, "Image width", "px", minimum=32)
    height: int = setting(240, "Image height", "px", minimum=32)
    fov: float = setting(70.0, "Horizontal field of view", "deg", minimum=10.0, maximum=150.0)
    baseline: float = setting(
        0.0, "Baseline of rectified stereo pairs; 0 = a single camera", "m", minimum=0.0
    )
    views: str = setting(
        "random",
        "Camera poses: random independent views; drive, along a smooth path through free space; arm, close views of "
        "tables and shelves from above",
        choices=("random", "drive", "arm"),
    )
    lowest: float = setting(0.2, "Lowest height of cameras above the floor", "m", minimum=0.0)
    highest: float = setting(1.8, "Highest height of cameras above the floor", "m", minimum=0.0)
    clearance: float = setting(0.25, "Minimum distance from the camera to any surface", "m", minimum=0.02)
    speed: float = setting(
        0.5,
        "Speed of drive; maximum speed of the camera during the exposure of other views",
        "m/s",
        minimum=0.01,
    )
    rate: float = setting(10.0, "Frame rate of drive", "Hz", minimum=0.1)
    max_depth: float = setting(
        30.0, "Maximum depth; farther pixels are stored as 0 = invalid", "m", minimum=0.1
    )
    min_valid: float = setting(
        0.85, "Minimum fraction of a random view with a surface within max_depth", minimum=0.0, maximum=1.0
    )
    clutter: int = setting(0, "Maximum number of objects that are put into random and arm views", minimum=0)
    moving: int = setting(0, "Number of objects that move in front of a drive", minimum=0, maximum=100)
    appearance: str = setting(
        "vary",
        "Colours, textures and light: vary, drawn anew every few frames; scene, colours as in the scene, fixed light",
        choices=("vary", "scene"),
    )
    same_appearance: int = setting(4, "Successive random views that share colours and textures", minimum=1)
    sensor: str = setting(
        "vary",
        "Exposure, white balance, vignetting, blur and noise: vary, drawn for each frame (for drive: once); ideal, "
        "automatic exposure only",
        choices=("vary", "ideal"),
    )
    noise: float = setting(
        0.0,
        "Least standard deviation of the noise of a white pixel, where black is 0 and white 1",
        minimum=0.0,
        maximum=1.0,
    )
    exposure_time: float = setting(
        0.0,
        "Exposure time, by which the camera's motion blurs images; 0 = none",
        "s",
        minimum=0.0,
        maximum=1.0,
    )
    readout_time: float = setting(
        0.0,
        "Time from the first row to the last of a rolling shutter; 0 = global shutter",
        "s",
        minimum=0.0,
        maximum=1.0,
    )
    samples: int = setting(8, "Rays per pixel, before denoising", minimum=1)
    threads: int = setting(0, "Threads of Blender; 0 = all processors", minimum=0)
    seed: int = setting(0, "Random seed", minimum=0)

    @property
    def exposure_times(self) -> tuple[float, ...]:
        """Start, middle and end of the exposure of all rows relative to the stamp, s; the stamp alone if it is 0."""
        half = (self.exposure_time + self.readout_time) / 2
        return (-half, 0.0, half) if half else (0.0,)

    @property
    def camera(self) -> Camera:
        """The left or only camera; its principal point is the centre of the image."""
        from depth_ros.datatypes import Camera  # imports numpy, which `depth_ros --help` does without

        f = self.width / 2 / math.tan(math.radians(self.fov) / 2)
        return Camera.pinhole(self.width, self.height, f, f, (self.width - 1) / 2, (self.height - 1) / 2)
