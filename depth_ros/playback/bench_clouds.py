"""`depth_ros bench --clouds`: time of filters, clouds, scan and temporal fusion of one image of 640x480."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from depth_ros.datatypes import Depth
from depth_ros.engine.store import device_name
from depth_ros.estimators.clouds import CloudSettings, clearing_points, filtered_points, scan_of
from depth_ros.estimators.filters import FilterSettings, filtered
from depth_ros.estimators.temporal_fusion import TemporalFusion
from depth_ros.geometry import T_BODY_OPTICAL
from depth_ros.world import World, WorldSettings

WIDTH, HEIGHT = 640, 480
RELATIVE_STD = 0.02
CAMERA_HEIGHT = 1.0


def bench_clouds(rounds: int) -> dict[str, Any]:
    """{"model", "device", "size", "steps": [{step, points, ms_cpu_median, ms_cpu_min}]}.

    CPU time of all threads, OpenCV on one. The image is a rendered room with a standard deviation of 2 %. As in the
    nodes, freed images stay in the process if ROS is installed.
    """
    if importlib.util.find_spec("rclpy") is not None:
        from depth_ros.nodes.environment import configure_allocator

        configure_allocator()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        steps = [_timed(name, step, rounds) for name, step in _steps().items()]
    finally:
        cv2.setNumThreads(threads)
    return {
        "model": "clouds", "device": device_name("cpu"), "size": f"{WIDTH}x{HEIGHT}", "steps": steps,
    }  # fmt: skip


def _steps() -> dict[str, Callable[[], Any]]:
    sample = World(WorldSettings(kind="room", frames=1, width=WIDTH, height=HEIGHT))[0]
    z = sample.depth
    assert z is not None
    depth = Depth(0, "", z, sample.left.camera, sample.left.image, np.float32(RELATIVE_STD) * z)
    T_base_camera = T_BODY_OPTICAL.copy()
    T_base_camera[2, 3] = CAMERA_HEIGHT
    filters = FilterSettings(base_frame="base_link", min_height=0.1, max_height=1.5, min_confidence=0.5)
    settings = CloudSettings()
    kept = filtered(depth, filters)
    keep = np.isfinite(kept.depth)
    fusion = TemporalFusion()
    return {
        "filters": lambda: filtered(depth, filters),
        "points_filtered, all heights": lambda: filtered_points(
            kept, settings.voxel_size, None, FilterSettings()
        ),
        "points_filtered, height band": lambda: filtered_points(
            kept, settings.voxel_size, T_base_camera, filters
        ),
        "points_clearing": lambda: clearing_points(depth, keep, filters, settings.clearing_range),
        "scan": lambda: scan_of(depth, keep, T_base_camera, T_base_camera, filters, settings),
        "temporal fusion": lambda: fusion.fuse(depth, np.eye(4)),
    }


def _timed(name: str, step: Callable[[], Any], rounds: int) -> dict[str, Any]:
    times = []
    for _ in range(rounds):
        start = time.process_time()
        result = step()
        times.append(1000 * (time.process_time() - start))
    points = getattr(result, "xyz", result)
    count = len(points) if isinstance(points, np.ndarray) else None
    return {
        "step": name,
        "points": count,
        "ms_cpu_median": float(np.median(times)),
        "ms_cpu_min": min(times),
    }
