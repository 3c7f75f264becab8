"""Obstacles in the cells of a costmap: recall and false obstacles of a point cloud against a ground-truth cloud."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

CELL = 0.1
"""m, edge of a cell."""
POSITION_TOLERANCE = 0.1
"""Error of the position of an obstacle, as a fraction of its distance, that still detects it; at least one cell."""
OBSTACLE_HEIGHT = 0.15
"""m above the ground; lower ground truth need not be detected."""
NOT_GROUND_HEIGHT = 0.05
"""m above the ground; higher ground truth may be detected without being a false obstacle."""


@dataclass(frozen=True)
class Marking:
    """Points that mark a cell of a costmap: heights above the ground and horizontal range from the camera, m."""

    min_height: float = 0.1
    max_height: float = 1.5
    max_range: float = 4.0


class ObstacleMetrics:
    """Counts over images.

    A cell with ground truth above OBSTACLE_HEIGHT is detected if a marked cell is within POSITION_TOLERANCE. A marked
    cell is a false obstacle if no ground truth above NOT_GROUND_HEIGHT is. The area is that of all cells with ground
    truth.
    """

    def __init__(self, marking: Marking) -> None:
        self.marking = marking
        self.detected = self.obstacles = self.false = self.known = 0

    def add(self, points: np.ndarray, ground_truth: np.ndarray) -> None:
        """Count one image. points, ground_truth: (N, 3) m, x forward, z up, the origin on the ground below the camera;
        of the same directions."""
        top, reach = self.marking.max_height, self.marking.max_range
        marked = cells_of(points, self.marking.min_height, top, reach)
        obstacles = cells_of(ground_truth, OBSTACLE_HEIGHT, top, reach)
        solid = cells_of(ground_truth, NOT_GROUND_HEIGHT, np.inf, 2 * reach)
        self.known += len(cells_of(ground_truth, -np.inf, top, reach))
        self.obstacles += len(obstacles)
        self.detected += int(is_near(obstacles, marked).sum())
        self.false += int((~is_near(marked, solid)).sum())

    def compute(self) -> dict[str, float | None]:
        """Recall of the obstacle cells; false obstacle cells per m^2. None without ground truth."""
        return {
            "recall": self.detected / self.obstacles if self.obstacles else None,
            "false_per_m2": self.false / (self.known * CELL**2) if self.known else None,
        }


def cells_of(points: np.ndarray, low: float, high: float, max_range: float) -> np.ndarray:
    """(M, 2) m, centres of the cells with points (N, 3) of these heights and horizontal range."""
    x, y, z = points.T
    inside = (z >= low) & (z <= high) & (np.hypot(x, y) <= max_range)
    cells = np.unique(np.floor(points[inside, :2] / CELL).astype(int), axis=0)
    return (cells + 0.5) * CELL


def is_near(cells: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(M,) bool: cells (M, 2) that have one of the others (K, 2) within the tolerance."""
    if not len(cells) or not len(others):
        return np.zeros(len(cells), bool)
    distance, _ = cKDTree(others).query(cells)
    tolerance = np.maximum(CELL * np.sqrt(2), POSITION_TOLERANCE * np.hypot(*cells.T))
    return distance <= tolerance + 1e-6
