"""Trajectory figures: absolute and relative error, KITTI segments, snippets and consistency; TUM files.

A trajectory is poses (N, 4, 4) float64, the camera expressed in a world of its own, m; NaN = no pose. Truth and
estimate belong frame by frame to each other; `associate` finds the frames where stamps differ.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from depth_ros.datasets.files import NS, read_rows, stamp_from_seconds
from depth_ros.geometry import inverse, pose_from, quaternion_from_matrix

LENGTHS = range(100, 900, 100)
"""m, of the segments that KITTI's odometry benchmark measures (Geiger et al., CVPR 2012)."""

SEGMENT_STEP = 10
"""A segment begins at one frame in so many, likewise."""

SNIPPET = 5
"""Frames of a snippet (Zhou et al., CVPR 2017, section 4.3)."""

FIGURES = (
    "ate_rmse_m", "ate_sim_rmse_m", "scale", "rpe_trans_m", "rpe_trans_percent", "rpe_rot_deg", "kitti_t_percent",
    "kitti_r_deg_per_100m", "snippet_ate_m", "snippet_ate_std_m", "tracked", "nees",
)  # fmt: skip
"""What `figures` returns, in the order of tables."""


def figures(
    estimate: np.ndarray, truth: np.ndarray, covariances: np.ndarray | None = None
) -> dict[str, float | None]:
    """Every figure of FIGURES, None where there is nothing to measure it on.

    rpe_*: from frame to frame; percent: of the true way per frame. scale: true metres per metre of the
    estimate, by which the similarity alignment stretches it. tracked: share of the frames with an estimate.
    covariances: (N - 1, 6, 6) of the motion into every frame but the first, as `datatypes.Motion` says.
    """
    found: dict[str, float | None] = dict.fromkeys(FIGURES)
    known = _known(estimate) & _known(truth)
    found["tracked"] = float(_known(estimate).mean()) if len(estimate) else None
    p, g = estimate[known][:, :3, 3], truth[known][:, :3, 3]
    if len(p) > 2:
        found["ate_rmse_m"] = ate(p, g)
        found["ate_sim_rmse_m"] = ate(p, g, similarity=True)
        found["scale"] = align(p, g, similarity=True)[0]
    both = known[1:] & known[:-1]
    if both.any():
        moved, really = steps(estimate)[both], steps(truth)[both]
        translation, angle = relative_errors(moved, really)
        way = np.linalg.norm(really[:, :3, 3], axis=1).mean()
        found["rpe_trans_m"], found["rpe_rot_deg"] = rms(translation), rms(np.degrees(angle))
        found["rpe_trans_percent"] = 100 * rms(translation) / float(way) if way > 0 else None
        if covariances is not None:
            found["nees"] = float(np.mean(nees(moved, really, covariances[both])))
    if known.all():
        found["kitti_t_percent"], found["kitti_r_deg_per_100m"] = segment_errors(estimate, truth)
    snippets = snippet_errors(estimate, truth)
    if len(snippets):
        found["snippet_ate_m"], found["snippet_ate_std_m"] = float(snippets.mean()), float(snippets.std())
    return found


def align(p: np.ndarray, g: np.ndarray, similarity: bool = False) -> tuple[float, np.ndarray, np.ndarray]:
    """(s, R, t) that minimise the sum of |g - (s R p + t)|^2 over points (N, 3); s = 1 unless `similarity`.

    Source: Umeyama, PAMI 1991, equations 40 to 42.
    """
    p0, g0 = p - p.mean(0), g - g.mean(0)
    U, D, Vt = np.linalg.svd(g0.T @ p0)
    S = np.array([1.0, 1.0, np.sign(np.linalg.det(U) * np.linalg.det(Vt))])  # no mirror image
    R = (U * S) @ Vt
    spread = (p0**2).sum()
    s = float((D * S).sum() / spread) if similarity and spread > 0 else 1.0
    return s, R, g.mean(0) - s * R @ p.mean(0)


def ate(p: np.ndarray, g: np.ndarray, similarity: bool = False) -> float:
    """Root of the mean squared distance, m, of positions (N, 3) after alignment (Sturm et al., IROS 2012)."""
    s, R, t = align(p, g, similarity)
    return rms(np.linalg.norm(g - (s * p @ R.T + t), axis=1))


def steps(poses: np.ndarray) -> np.ndarray:
    """(N - 1, 4, 4): every newer camera expressed in the one before it."""
    return inverse(poses[:-1]) @ poses[1:]


def relative_errors(moved: np.ndarray, really: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Length, m, and angle, rad, of the errors inv(really) moved of motions (N, 4, 4)."""
    E = inverse(really) @ moved
    return np.linalg.norm(E[:, :3, 3], axis=1), angles(E)


def angles(T: np.ndarray) -> np.ndarray:
    """Rotation angles, rad, of (..., 4, 4)."""
    return np.arccos(np.clip((np.trace(T[..., :3, :3], axis1=-2, axis2=-1) - 1) / 2, -1, 1))


def segment_errors(estimate: np.ndarray, truth: np.ndarray) -> tuple[float | None, float | None]:
    """Mean error over all segments of KITTI's lengths: % of the way, and degrees per 100 m.

    (None, None) where the truth is shorter than the shortest. Nothing is aligned or scaled.
    """
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(truth[:, :3, 3], axis=0), axis=1))])
    found = []
    for first in range(0, len(truth), SEGMENT_STEP):
        for length in LENGTHS:
            last = int(np.searchsorted(way, way[first] + length, side="right"))
            if last >= len(truth):
                break
            really, moved = (inverse(T[first]) @ T[last] for T in (truth, estimate))
            E = inverse(moved) @ really
            found.append((np.linalg.norm(E[:3, 3]) / length, angles(E) / length))
    if not found:
        return None, None
    t, r = np.mean(found, axis=0)
    return float(100 * t), float(100 * np.degrees(r))


def snippet_errors(estimate: np.ndarray, truth: np.ndarray, frames: int = SNIPPET) -> np.ndarray:
    """Error, m, of every run of `frames` poses seen from its first, scaled for itself.

    The root of the summed squares is divided by `frames`, as in the evaluation of Zhou et al. (CVPR 2017) and
    all tables that compare with it: the root mean square over sqrt(frames).
    """
    errors = []
    known = _known(estimate) & _known(truth)
    for first in range(len(truth) - frames + 1):
        window = slice(first, first + frames)
        if known[window].all():
            p, g = ((inverse(T[first]) @ T[window])[:, :3, 3] for T in (estimate, truth))
            length = (p**2).sum()
            s = (g * p).sum() / length if length > 0 else 0.0
            errors.append(np.sqrt(((s * p - g) ** 2).sum()) / frames)
    return np.array(errors)


def nees(moved: np.ndarray, really: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Normalised squared errors (N,) of motions (N, 4, 4): 6 on average where covariances are honest.

    The error is (translation, rotation vector) in the frame of the older camera, m and rad.
    """
    turn = moved[:, :3, :3] @ np.swapaxes(really[:, :3, :3], 1, 2)
    turned = np.array([cv2.Rodrigues(R)[0][:, 0] for R in turn])
    e = np.hstack([moved[:, :3, 3] - really[:, :3, 3], turned])
    return np.einsum("ni,ni->n", e, np.linalg.solve(covariances, e[:, :, None])[:, :, 0])


def nees_bounds(estimate: np.ndarray, truth: np.ndarray) -> tuple[float, float] | None:
    """Between what the mean NEES of the motions of two trajectories lies in 95 of 100 cases, if covariances are honest.

    Of N motions N times the mean is chi squared with 6 N degrees of freedom (Bar-Shalom et al., 2001, 5.4.2), which
    the cube root makes normal (Wilson and Hilferty, 1931).
    """
    known = _known(estimate) & _known(truth)
    dof = 6 * int((known[1:] & known[:-1]).sum())
    if not dof:
        return None
    spread = 2 / (9 * dof)
    low, high = (6 * (1 - spread + z * np.sqrt(spread)) ** 3 for z in (-1.96, 1.96))
    return float(low), float(high)


def associate(stamps: np.ndarray, others: np.ndarray, within: int = NS // 50) -> list[tuple[int, int]]:
    """Pairs of indices whose stamps (ns) lie nearest, each used once, at most `within` apart; in time order."""
    gaps = np.abs(np.asarray(stamps)[:, None] - np.asarray(others)[None])
    rows, columns = np.nonzero(gaps <= within)
    taken: tuple[set[int], set[int]] = (set(), set())
    pairs = []
    for place in np.argsort(gaps[rows, columns], kind="stable"):
        i, j = int(rows[place]), int(columns[place])
        if i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
            pairs.append((i, j))
    return sorted(pairs)


def write_tum(file: Path, stamps: list[int], poses: np.ndarray) -> None:
    """Write `seconds tx ty tz qx qy qz qw` a line, to the ns; frames without a pose are left out."""
    lines = ["# seconds tx ty tz qx qy qz qw"]
    for stamp, T in zip(stamps, poses):
        if np.isfinite(T).all():
            numbers = (*T[:3, 3], *quaternion_from_matrix(T[:3, :3]))
            lines.append(
                " ".join([f"{stamp // NS}.{stamp % NS:09d}", *(f"{number:.9f}" for number in numbers)])
            )
    file.write_text("\n".join(lines) + "\n")


def read_tum(file: Path) -> tuple[list[int], np.ndarray]:
    """Stamps, ns, and poses (N, 4, 4) of a file in the TUM format. Raises DepthRosError if it is none."""
    rows = read_rows(file, (8,))
    lines = [line.split() for line in file.read_text().splitlines() if line.strip() and line[0] != "#"]
    return [stamp_from_seconds(line[0]) for line in lines], np.array([pose_from(r[1:4], r[4:]) for r in rows])


def rms(values: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def _known(poses: np.ndarray) -> np.ndarray:
    return np.isfinite(poses).all(axis=(1, 2))
