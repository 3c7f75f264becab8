"""Opening a recording of any kind."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from pathlib import Path
from types import ModuleType

from depth_ros.errors import DepthRosError
from depth_ros.recordings.calibration import ASSUMED
from depth_ros.recordings.files import IMAGE_SUFFIXES
from depth_ros.recordings.instances import Masked
from depth_ros.recordings.options import DEFAULTS, RecordingOptions
from depth_ros.recordings.recalibrated import Recalibrated
from depth_ros.recordings.sample import Recording
from depth_ros.recordings.supplemented import Supplemented

log = logging.getLogger("depth_ros.recordings")
BAG_SUFFIXES = (".mcap", ".db3", ".bag", ".active", ".zstd")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts")
MOST_GENERAL = "folder"
"""The layout that is tried last."""


def open_recording(path: str | Path, options: RecordingOptions = DEFAULTS) -> Recording:
    """Open a bag, a folder, a video or an image; an assumed calibration is logged.

    Raises DepthRosError if the path is none of these.
    """
    recording = _open(Path(path), options)
    if options.masks and not (is_bag(Path(path)) and not Path(options.masks).is_dir()):
        recording = _with_masks(recording, Path(options.masks))
    if options.poses or options.keypoints:
        recording = Supplemented(recording, options)
    if recording.camera_source == ASSUMED:
        log.warning("%s: calibration: %s", path, ASSUMED)
    return recording


def _with_masks(recording: Recording, folder: Path) -> Recording:
    if not folder.is_dir():
        raise DepthRosError(f"no folder '{folder}' of instance masks; a topic can be given for bags only")
    return Masked(recording, folder)


def _open(path: Path, options: RecordingOptions) -> Recording:
    if not path.exists():
        raise DepthRosError(f"no recording '{path}': give a bag, a folder, a video or an image")
    if is_bag(path):
        from depth_ros.recordings.bags.recording import BagRecording

        return BagRecording(path, options)
    if path.is_file():
        return _open_file(path, options)
    layouts = known_layouts()
    for layout in layouts:
        if layout.matches(path):
            return _open_layout(layout, path, options)
    from depth_ros.recordings import images

    if images.matches(path):
        return images.read(path, options)
    entries = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir())
    found = ", ".join(entries[:12]) + (", ..." if len(entries) > 12 else "") if entries else "nothing"
    known = "; ".join(f"{_name(layout)} ({layout.REQUIRED})" for layout in layouts)
    raise DepthRosError(
        f"'{path}' is no recording: found {found}; known layouts: {known}; a folder of images"
    )


def is_bag(path: Path) -> bool:
    """Whether a path is a ROS 1 bag, a rosbag2 folder, or a file of one."""
    if path.is_dir():
        files = [file for file in path.iterdir() if file.is_file()]
        return any(
            file.name == "metadata.yaml" or file.name.removesuffix(".zstd").endswith((".mcap", ".db3"))
            for file in files
        )
    return path.suffix in BAG_SUFFIXES


def known_layouts() -> list[ModuleType]:
    """The modules of all layouts, the most general one last."""
    from depth_ros.recordings import layouts

    names = sorted(module.name for module in pkgutil.iter_modules(layouts.__path__))
    modules = [importlib.import_module(f"{layouts.__name__}.{name}") for name in names]
    return sorted(modules, key=lambda module: _name(module) == MOST_GENERAL)


def _open_layout(layout: ModuleType, path: Path, options: RecordingOptions) -> Recording:
    if options.image_list and _name(layout) != "kitti_raw":
        raise DepthRosError(f"'{path}' has the layout {_name(layout)}; split files work with raw KITTI only")
    if options.lidar_x and not getattr(layout, "PUBLISHED_DEPTH", False):
        raise DepthRosError(
            f"'{path}' has the layout {_name(layout)}; lidar_x works with raw KITTI and Make3D only"
        )
    recording: Recording = layout.read(path, options)
    return Recalibrated(recording, options) if options.cameras or options.fov else recording


def _name(layout: ModuleType) -> str:
    return layout.__name__.rsplit(".", 1)[-1]


def _open_file(path: Path, options: RecordingOptions) -> Recording:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        from depth_ros.recordings import images

        return images.read(path, options)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        from depth_ros.recordings import video

        return video.read(path, options)
    files = {suffix: layout for layout in known_layouts() for suffix in getattr(layout, "SUFFIXES", ())}
    if path.suffix.lower() in files:
        return _open_layout(files[path.suffix.lower()], path, options)
    raise DepthRosError(
        f"'{path}' is no recording; files that can be read: bags ({' '.join(BAG_SUFFIXES)}), videos "
        f"({' '.join(VIDEO_SUFFIXES)}), images ({' '.join(IMAGE_SUFFIXES)}), data sets ({' '.join(files)})"
    )
