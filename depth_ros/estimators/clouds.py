"""Point clouds and laser scans for costmaps and octomaps, as functions of values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from depth_ros.config import setting
from depth_ros.datatypes import Camera, Depth, Points, Scan
from depth_ros.estimators.filters import FilterSettings, kept_pixels, points_in_region, visible_pixels
from depth_ros.geometry import rays

SAMPLED_WIDTH = 320
"""px; wider depth images are sampled at every second, third, ... row and column."""
RAYS_WIDTH = 80
"""Rays of the clearing cloud in a row: one ends in each block of so many a row."""
MIN_KNOWN_FRACTION = 0.5
"""Fraction of the pixels in a block, or a direction of the scan, that have to be valid for it to be known."""
FREE_STDS = 2.0
"""Standard deviations of inverse depth in front of the depth, at which free space ends."""
MAX_LEVEL = 6
"""Voxels are at most 2 ** 6 times as deep as wide."""
SLACK = 0.1
"""Fraction of the period of `cloud_rate` by which a frame may be early: stamps jitter."""
_MULTIPLIERS = tuple(
    np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
)
_TABLE_BITS = 18


@dataclass(frozen=True)
class CloudSettings:
    """Point clouds and scans for costmaps and octomaps."""

    cloud_rate: float = setting(
        10.0, "Maximum rate of points_filtered, points_clearing and scan. 0 for every frame.", "Hz", 0.0, 1000.0,
        dynamic=True,
    )  # fmt: skip
    voxel_size: float = setting(
        0.05,
        "Width and height of the voxels of points_filtered, which has one point in each; their depth along the optical "
        "axis doubles until it exceeds two standard deviations of the depth. 0 keeps all points.",
        "m", 0.0, 10.0, dynamic=True,
    )  # fmt: skip
    clearing_range: float = setting(
        10.0, "Maximum distance of the points of points_clearing, and range_max of scan.", "m", 0.1, 1000.0,
        dynamic=True,
    )  # fmt: skip
    scan_frame: str = setting(
        "", "Frame of scan, in whose x-y plane ranges and angles are measured. Empty for base_frame.",
        dynamic=True,
    )  # fmt: skip
    scan_angle_increment: float = setting(
        0.5,
        "Angle between two ranges of scan; at least that of two sampled pixels.",
        "deg",
        0.05,
        10.0,
        dynamic=True,
    )


def filtered_points(
    kept: Depth, voxel_size: float, T_base_camera: np.ndarray | None, filters: FilterSettings
) -> Points:
    """One point in every voxel, within the height band and the region.

    kept: after the filters of pixels. voxel_size: m, 0 = all points. T_base_camera: (4, 4), None without `base_frame`.
    """
    stride = _stride(kept.camera)
    z = kept.depth[::stride, ::stride]
    index = np.flatnonzero(z == z)
    points = np.take(_sampled_points(z, kept.camera, stride), index, axis=1).T
    if filters.needs_base_frame and T_base_camera is not None:
        inside = np.flatnonzero(points_in_region(points, T_base_camera, filters))
        index, points = index[inside], np.take(points.T, inside, axis=1).T
    std = None if kept.std is None else kept.std[::stride, ::stride].ravel()[index]
    if voxel_size:
        first = first_of_each(voxel_keys(points, std, voxel_size))
        index, points = index[first], points[first]
        std = None if std is None else std[first]
    rows, columns = np.divmod(index, z.shape[1])
    return Points(points, kept.image[rows * stride, columns * stride], std)


def _sampled_points(z: np.ndarray, camera: Camera, stride: int) -> np.ndarray:
    """(3, N) x, y, z in m in the optical frame, of every stride-th pixel (h, w)."""
    directions = rays(camera)
    points = np.empty((3, *z.shape), np.float32)
    np.multiply(z, directions[0, ::stride, 0], out=points[0])
    np.multiply(z, directions[::stride, :1, 1], out=points[1])
    points[2] = z
    return points.reshape(3, -1)


def voxel_keys(points: np.ndarray, std: np.ndarray | None, voxel_size: float) -> np.ndarray:
    """(N,) uint64 that are equal for points (N, 3) m of the same voxel.

    std: (N,) m; the depth of a voxel is voxel_size * 2^k, the smallest one above two standard deviations. Its width is
    voxel_size: a coarser grid would have gaps in walls and miss the legs of chairs.
    """
    inverse_size = np.float32(1 / voxel_size)
    key = np.zeros(len(points), np.uint64)
    scales: list[np.ndarray | np.float32] = [inverse_size] * 3
    if std is not None:
        level = np.clip(np.frexp(std * np.float32(2) * inverse_size)[1], 0, MAX_LEVEL)
        scales[2] = (inverse_size * np.exp2(-np.arange(MAX_LEVEL + 1, dtype=np.float32)))[level]
        key |= level.astype(np.uint64)
    for axis, scale in enumerate(scales):
        cells = np.floor(points[:, axis] * scale).astype(np.int32) + (1 << 19)
        key <<= np.uint64(20)
        key |= (cells & ((1 << 20) - 1)).astype(np.uint64)
    return key


def first_of_each(keys: np.ndarray) -> np.ndarray:
    """Indices of the first of all equal keys (N,) uint64, in no particular order; as np.unique, 10 times as fast.

    Keys claim the slots of a hash table; those that lose to another key try again with another hash function.
    """
    table = np.empty(1 << _TABLE_BITS, np.int32)
    left = np.arange(len(keys), dtype=np.int32)
    found = []
    for turn in range(len(keys)):
        if not left.size:
            break
        own = keys[left]
        multiplier = _MULTIPLIERS[turn % 3] + np.uint64(2 * turn)
        slots = (own * multiplier) >> np.uint64(64 - _TABLE_BITS)
        table[slots[::-1]] = left[::-1]  # numpy assigns the last one, which is the first here
        winners = table[slots]
        found.append(left[winners == left])
        left = left[keys[winners] != own]
    return np.concatenate(found) if found else left


def clearing_points(
    depth: Depth, kept: np.ndarray, filters: FilterSettings, clearing_range: float
) -> np.ndarray:
    """The farthest points (N, 3) m that are known to be free, on rays through blocks of pixels.

    A block is as free as its nearest pixel, see `free_depth`, and at most to `clearing_range`, m. Blocks with too few
    valid pixels have no point, and so have those of the border and the robot. depth: before the filters. kept: (H, W)
    bool, pixels that pass them.
    """
    block = max(1, depth.camera.width // RAYS_WIDTH)
    height, width = depth.camera.height // block, depth.camera.width // block
    free, known = (each[: height * block, : width * block] for each in free_depth(depth, kept, filters))
    nearest = cv2.erode(free, np.ones((block, block), np.uint8))
    percent = cv2.resize(
        known.astype(np.uint8) * np.uint8(100), (width, height), interpolation=cv2.INTER_AREA
    )
    centre = np.s_[block // 2 :: block, block // 2 :: block]
    directions = rays(depth.camera)[: height * block, : width * block][centre]
    reach = np.float32(clearing_range) / np.linalg.norm(directions, axis=-1)
    z = np.minimum(nearest[centre], reach)
    use = percent >= 100 * MIN_KNOWN_FRACTION
    return directions[use] * z[use][:, None]


def free_depth(depth: Depth, kept: np.ndarray, filters: FilterSettings) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) float32 m up to which the space along each pixel is free, inf where that is not known; (H, W) bool,
    where it is.

    The depth with an inverse that is `FREE_STDS` standard deviations larger, at most `max_depth`. Errors of depth are
    about symmetric in its inverse: far away, the depth less the same number of standard deviations is below 0. Pixels
    that are uncertain, or beyond `max_depth`, are free so far, too; those that are `far` up to `max_depth`.
    """
    z = depth.depth
    visible = visible_pixels(z.shape[0], z.shape[1], filters)
    measured = kept | (z > filters.max_depth) & visible
    if filters.min_confidence:
        measured |= kept_pixels(depth, replace(filters, min_confidence=0.0))
    free = np.full(z.shape, np.inf, np.float32)
    if depth.std is None:
        np.copyto(free, z, where=measured)
    else:
        with np.errstate(invalid="ignore"):
            np.copyto(free, z / (1 + np.float32(FREE_STDS) * depth.std / z), where=measured)
    np.minimum(free, np.float32(filters.max_depth), out=free, where=measured)
    if depth.far is not None:
        far = depth.far & visible
        free[far] = filters.max_depth
        measured |= far
    return free, measured


def scan_of(
    depth: Depth, kept: np.ndarray, T_scan_camera: np.ndarray, T_base_camera: np.ndarray,
    filters: FilterSettings, settings: CloudSettings,
) -> Scan:  # fmt: skip
    """Distances to the nearest points of the height band and the region, in the x-y plane of a frame.

    inf: nothing within `clearing_range`; NaN: too few valid pixels in that direction (REP-117). depth, kept: as in
    `clearing_points`. T_scan_camera, T_base_camera: (4, 4); the latter selects the points.
    """
    stride = _stride(depth.camera)
    sampled = np.s_[:: 2 * stride, ::stride]
    directions = rays(depth.camera)[sampled].reshape(-1, 3)
    pixel = 2 * stride / depth.camera.fx  # finer bins would have gaps that look free
    increment = max(np.deg2rad(settings.scan_angle_increment), pixel)
    axis, lowest, count = _angles(directions, T_scan_camera, increment)
    R, t = T_scan_camera[:2, :3].astype(np.float32), T_scan_camera[:2, 3].astype(np.float32)
    is_kept = kept[sampled].ravel()
    free, known = (each[sampled].ravel() for each in free_depth(depth, kept, filters))
    beyond = np.float32(min(settings.clearing_range, filters.max_depth))
    known &= is_kept | (free * np.linalg.norm(directions, axis=1) >= beyond)
    z = np.where(is_kept, depth.depth[sampled].ravel(), np.float32(np.inf))
    # Directions without depth are those of points at infinity.
    ends = directions @ R.T + t / z[:, None]
    bearing = np.arctan2(ends[:, 1], ends[:, 0]) - axis
    bearing = (bearing + np.pi) % (2 * np.pi) - np.pi
    column = np.floor(bearing / increment).astype(np.int64) - lowest
    within = (column >= 0) & (column < count)
    seen = np.bincount(column[within], minlength=count)
    valid = np.bincount(column[within & known], minlength=count)
    ranges = np.where(valid >= MIN_KNOWN_FRACTION * np.maximum(seen, 1), np.inf, np.nan).astype(np.float32)
    points = np.flatnonzero(within & is_kept)
    points = points[points_in_region(directions[points] * z[points, None], T_base_camera, filters)]
    distance = np.hypot(*(ends[points] * z[points, None]).T)
    points, distance = (
        points[distance <= settings.clearing_range],
        distance[distance <= settings.clearing_range],
    )
    nearest = np.full(count, np.inf, np.float32)
    np.minimum.at(nearest, column[points], distance)
    ranges = np.where(np.isfinite(nearest), nearest, ranges)
    first = (axis + (lowest + 0.5) * increment + np.pi) % (2 * np.pi) - np.pi
    return Scan(depth.stamp, float(first), float(increment), ranges, settings.clearing_range)


def _angles(directions: np.ndarray, T_scan_camera: np.ndarray, increment: float) -> tuple[float, int, int]:
    """Bearing of the optical axis, first bin relative to it and number of bins that the image covers."""
    R = T_scan_camera[:2, :3].astype(np.float32)
    axis = float(np.arctan2(R[1, 2], R[0, 2]))
    axis = round(axis / increment) * increment
    flat = directions @ R.T
    bearing = np.arctan2(flat[:, 1], flat[:, 0]) - axis
    bearing = (bearing + np.pi) % (2 * np.pi) - np.pi
    lowest, highest = (int(np.floor(edge / increment)) for edge in (bearing.min(), bearing.max()))
    return axis, lowest, highest - lowest + 1


def _stride(camera: Camera) -> int:
    return max(1, round(camera.width / SAMPLED_WIDTH))


class RateLimit:
    """Limit of the rate at which frames are published, by their stamps. Equal stamps pass: some drivers set none."""

    def __init__(self) -> None:
        self._last_stamp = 0

    def is_due(self, stamp: int, rate: float) -> bool:
        """Whether enough time has passed since the last frame that was due. stamp: ns. rate: Hz, 0 = no limit."""
        if rate and 0 < stamp - self._last_stamp < (1 - SLACK) * 1e9 / rate:
            return False
        self._last_stamp = stamp
        return True
