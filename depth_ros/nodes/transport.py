"""Transports of Fast DDS: whether they carry large images, and the profile with those that do."""

from __future__ import annotations

import os
from pathlib import Path

from rclpy.utilities import get_rmw_implementation_identifier

from depth_ros.card import share_folders
from depth_ros.engine.nvidia import installed_version

PROFILE = "fastdds_large_images.xml"
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Environment variables that select a profile, of Fast DDS 3 and 2 (ROS 2 Humble and Jazzy)."""
BUILTIN_VARIABLE = "FASTDDS_BUILTIN_TRANSPORTS"
SHARED_MEMORY_LIMIT = 500_000
"""Bytes; larger messages do not fit into Fast DDS's default shared-memory segment of 512 KiB and are mostly lost."""
SHARED_MEMORY_FOLDER = "/dev/shm"
NEEDED_SHARED_MEMORY = 2 * 50_331_648
"""Bytes of /dev/shm for a camera driver and one node with the profile."""


def profile_file() -> Path | None:
    """The profile of this package; None if it is not installed."""
    files = (folder / PROFILE for folder in share_folders("config"))
    return next((file for file in files if file.is_file()), None)


def transport_problem() -> str:
    """Why large images will be lost, and what to do; empty if they are not, as far as this process can see."""
    if "fastrtps" not in get_rmw_implementation_identifier():
        return ""
    profiles = [value for name in PROFILE_VARIABLES if (value := os.environ.get(name))]
    if missing := [value for value in profiles if not os.path.isfile(value)]:
        return f"Fast DDS cannot read its profile '{missing[0]}' and loses most images over 0.5 MB: {profile_advice()}"
    if not (profiles or os.environ.get(BUILTIN_VARIABLE)):
        return f"Fast DDS loses most images over 0.5 MB with its default transports: {profile_advice()}"
    size = shared_memory_size()
    if any(Path(value).name == PROFILE for value in profiles) and size < NEEDED_SHARED_MEMORY:
        return (
            f"Fast DDS needs 50 MB of shared memory for each process and {SHARED_MEMORY_FOLDER} has {size / 1e6:.0f} "
            "MB, so that most images over 0.5 MB are lost: start the container with --ipc=host or --shm-size=1g"
        )
    return ""


def profile_advice() -> str:
    """How to select the profile."""
    file = profile_file() or f"a file like {PROFILE} of depth_ros"
    names = f"{PROFILE_VARIABLES[0]}={file} (in Humble and Jazzy {PROFILE_VARIABLES[1]})"
    return f"set {names} for the camera driver and for this node"


def shared_memory_size() -> float:
    """Bytes of the file system for shared memory; infinite where there is none, as on Windows."""
    try:
        status = os.statvfs(SHARED_MEMORY_FOLDER)
    except (OSError, AttributeError):
        return float("inf")
    return float(status.f_blocks * status.f_frsize)


def select_transports() -> None:
    """Select transports that carry large images for participants of this process and its children created from now on,
    unless the user has selected some."""
    if any(os.environ.get(name) for name in (*PROFILE_VARIABLES, BUILTIN_VARIABLE)):
        return
    if file := profile_file():
        major = installed_version("rclpy", "ros-rclpy", "ros-jazzy-rclpy").partition(".")[0]
        is_fast_dds_3 = (
            major.isdigit() and int(major) > 7
        )  # with both variables it reports the profile as doubled
        names = PROFILE_VARIABLES[:1] if is_fast_dds_3 else PROFILE_VARIABLES
        os.environ.update(dict.fromkeys(names, str(file)))
    else:
        os.environ[BUILTIN_VARIABLE] = "LARGE_DATA"
