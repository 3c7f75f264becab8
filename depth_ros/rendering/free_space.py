"""Occupancy of a scene, and the distance to it: where cameras and objects fit, and roughly what a camera sees."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

MAX_CELLS = 6_000_000
MIN_CELL = 0.05
"""m"""
MARGIN = 0.5
"""Free space around the scene, m."""
MIN_AREA = 1e-6
"""Twice the area in plan below which a triangle counts as vertical, m2."""


class FreeSpace:
    """Distance to the nearest surface on a grid. low, high: corners of the grid, m. cell: edge of its cells, m.

    floor: height of the floor, m: of the lowest layer that has at least half as many occupied cells as the fullest.
    """

    def __init__(self, triangles: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """triangles: (N, 3, 3) m. bounds: triangles that decide the extent; default: all."""
        extent = (triangles if bounds is None or not len(bounds) else bounds).reshape(-1, 3)
        self.low, self.high = extent.min(0) - MARGIN, extent.max(0) + MARGIN
        volume = float(np.prod(self.high - self.low))
        self.cell = max(MIN_CELL, (volume / MAX_CELLS) ** (1 / 3))
        self._triangles = triangles
        points = surface_points(triangles, self.low, self.high, self.cell)
        shape = np.ceil((self.high - self.low) / self.cell).astype(int)
        index = np.floor((points - self.low) / self.cell).astype(int)
        occupied = np.zeros(shape, bool)
        occupied[tuple(index[((index >= 0) & (index < shape)).all(1)].T)] = True
        self.distance = ndimage.distance_transform_edt(~occupied, sampling=self.cell).astype(np.float32)
        layers = occupied.sum((0, 1))
        level = int(np.argmax(layers >= layers.max() / 2))
        heights = points[(index[:, 2] == level), 2]
        self.floor = float(np.median(heights))

    def clearance(self, points: np.ndarray) -> np.ndarray:
        """(...,) m from points (..., 3) to the nearest surface, to the precision of a cell; infinite off the grid."""
        index = np.floor((points - self.low) / self.cell).astype(int)
        inside = ((index >= 0) & (index < self.distance.shape)).all(-1)
        x, y, z = np.moveaxis(np.where(inside[..., None], index, 0), -1, 0)
        return np.where(inside, self.distance[x, y, z], np.inf)

    def trace(self, origins: np.ndarray, directions: np.ndarray, reach: float) -> np.ndarray:
        """(N,) m along unit directions (N, 3) to the first surface, infinite beyond `reach`. Sphere tracing."""
        origins = np.broadcast_to(origins, directions.shape)
        lengths = np.full(len(directions), 1.5 * self.cell)
        hit = np.full(len(directions), np.inf)
        active = np.arange(len(directions))
        while len(active):
            clearance = self.clearance(origins[active] + lengths[active, None] * directions[active])
            arrived = clearance < 0.5 * self.cell
            hit[active[arrived]] = lengths[active[arrived]]
            step = np.maximum(clearance - 0.9 * self.cell, 0.5 * self.cell)
            lengths[active] += np.minimum(step, reach)  # infinite off the grid
            active = active[~arrived & (lengths[active] < reach)]
        return hit

    def surface_below(self, point: np.ndarray) -> tuple[float, bool]:
        """Exact height of the highest surface below a point (3,), and whether it is level; -inf if there is none."""
        a, b, c = (self._triangles[:, k] for k in range(3))
        u, v, w = _cross(b, c, point), _cross(c, a, point), _cross(a, b, point)
        area = u + v + w
        inside = (np.sign(u) * np.sign(area) >= 0) & (np.sign(v) * np.sign(area) >= 0)
        inside &= (np.sign(w) * np.sign(area) >= 0) & (np.abs(area) > MIN_AREA)
        if not inside.any():
            return -np.inf, False
        height = (u[inside] * a[inside, 2] + v[inside] * b[inside, 2] + w[inside] * c[inside, 2]) / area[
            inside
        ]
        below = height <= point[2]
        if not below.any():
            return -np.inf, False
        best = np.flatnonzero(inside)[below][np.argmax(height[below])]
        normal = np.cross(b[best] - a[best], c[best] - a[best])
        return float(height[below].max()), bool(abs(normal[2]) > 0.95 * np.linalg.norm(normal))


def _cross(p: np.ndarray, q: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Twice the signed areas, in plan, of the triangles of edges p q (N, 3) and a point."""
    return (p[:, 0] - point[0]) * (q[:, 1] - point[1]) - (q[:, 0] - point[0]) * (p[:, 1] - point[1])


def surface_points(triangles: np.ndarray, low: np.ndarray, high: np.ndarray, step: float) -> np.ndarray:
    """Points (N, 3) of the triangles (N, 3, 3) within a box, at most `step` apart on each.

    The longest edges are bisected again and again, so that long thin triangles need few points.
    """
    points = [np.zeros((0, 3))]
    pending = triangles
    while len(pending):
        pending = pending[((pending.max(1) >= low) & (pending.min(1) <= high)).all(1)]
        edges = np.linalg.norm(np.roll(pending, -1, axis=1) - pending, axis=-1)  # of each corner to the next
        longest = edges.argmax(1)
        is_small = edges.max(1) <= step
        small = pending[is_small]
        points += [small.reshape(-1, 3), small.mean(1)]
        order = (longest[~is_small, None] + np.arange(3)) % 3
        a, b, c = np.moveaxis(np.take_along_axis(pending[~is_small], order[..., None], axis=1), 1, 0)
        middle = (a + b) / 2
        pending = np.concatenate([np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])
    return np.concatenate(points)
