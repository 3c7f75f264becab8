"""The environment of a node's process: log files of ROS, memory of the C library."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from contextlib import suppress

import rclpy

from depth_ros.engine.compiler_folders import select_folder
from depth_ros.nodes.transport import PROFILE_VARIABLES

KEPT_IMAGE, KEPT_MEMORY = 32 << 20, 128 << 20
"""Bytes: arrays up to this size are kept when they are freed, and so much of them together."""


def initialise_ros(args: list[str] | None) -> str:
    """Initialise rclpy. Returns what is wrong with the environment; empty if nothing is."""
    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        # Fast DDS then sends in a thread of its own: a subscriber that has stopped reading does not hold up the others.
        # Not with LARGE_DATA, whose TCP connections block that thread.
        os.environ.setdefault("RMW_FASTRTPS_PUBLICATION_MODE", "ASYNCHRONOUS")
    try:
        os.getcwd()
    except (
        FileNotFoundError
    ):  # the folder in which the process was started has been deleted: MKL would end it
        os.chdir("/")
    no_log_files = log_file_problem()
    args = sys.argv if args is None else args
    rclpy.init(args=[*args, "--ros-args", "--disable-external-lib-logs"] if no_log_files else args)
    return "; ".join(filter(None, [no_log_files, select_folder()]))


def log_file_problem() -> str:
    """Why ROS cannot write log files into $ROS_LOG_DIR, $ROS_HOME/log or ~/.ros/log; empty if it can."""
    folder = os.environ.get("ROS_LOG_DIR") or os.path.join(os.environ.get("ROS_HOME") or "~/.ros", "log")
    try:
        if folder.startswith("~"):
            if not (home := os.environ.get("HOME")):  # rcl does not look into the user database
                raise OSError("HOME is not set")
            folder = home + folder[1:]
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"no log files are written ({error}): set ROS_LOG_DIR to a writable folder"


def configure_allocator() -> None:
    """Let all threads share one memory arena, and keep the memory of freed images, if the C library is glibc.

    Otherwise each thread gets its own arena and keeps what it frees: images are allocated in one thread and freed in
    another. Images that are returned to the system come back page by page, which takes longer than to filter them.
    """
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, KEPT_IMAGE)
        mallopt(M_TRIM_THRESHOLD, KEPT_MEMORY)
