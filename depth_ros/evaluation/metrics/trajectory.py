"""Trajectory metrics: absolute and relative pose error, KITTI segments, snippets, NEES; and TUM trajectory files.

A trajectory is an array of poses (N, 4, 4) float64, the camera expressed in an arbitrary world frame, m; NaN = no pose.
Estimate and ground truth correspond frame by frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from depth_ros.geometry import inverse, pose_from, quaternion_from_matrix
from depth_ros.recordings.files import NS, read_rows, stamp_from_seconds

SEGMENT_LENGTHS = range(100, 900, 100)
"""Lengths of the segments of KITTI's odometry benchmark, m (Geiger et al., CVPR 2012)."""

SEGMENT_STEP = 10
"""Frames between the starts of consecutive segments, as in KITTI's benchmark."""

SNIPPET_FRAMES = 5
"""Frames of a snippet (Zhou et al., CVPR 2017, section 4.3)."""

METRICS = {
    "ate_rmse_m": "root mean square position error after rigid alignment, m",
    "ate_sim_rmse_m": "the same after similarity alignment, m",
    "scale": "scale factor of the similarity alignment: true metres per metre of the estimate",
    "rpe_trans_m": "root mean square translation error from frame to frame, m",
    "rpe_trans_percent": "the same, % of the mean distance travelled per frame",
    "rpe_rot_deg": "root mean square rotation error from frame to frame, degrees",
    "kitti_t_percent": "mean translation error over segments of 100 to 800 m, % of their length",
    "kitti_r_deg_per_100m": "mean rotation error over the same segments, degrees per 100 m",
    "snippet_ate_m": "mean position error of snippets of five frames, each scaled separately, m",
    "snippet_ate_std_m": "its standard deviation over the snippets, m",
    "tracked": "fraction of the frames with a pose",
    "nees": "mean normalised estimation error squared of the motions; 6 for consistent covariances",
}
"""All trajectory metrics and their meaning, in the order of tables."""


def trajectory_metrics(
    estimate: np.ndarray, ground_truth: np.ndarray, covariances: np.ndarray | None = None
) -> dict[str, float | None]:
    """Every metric of METRICS, None where it cannot be measured.

    covariances: (N - 1, 6, 6) of the motion to every frame but the first, as in `datatypes.Motion`; NaN = unknown.
    """
    metrics: dict[str, float | None] = dict.fromkeys(METRICS)
    valid = _is_valid(estimate) & _is_valid(ground_truth)
    metrics["tracked"] = float(_is_valid(estimate).mean()) if len(estimate) else None
    p, g = estimate[valid][:, :3, 3], ground_truth[valid][:, :3, 3]
    if len(p) > 2:
        metrics["ate_rmse_m"] = ate_rmse(p, g)
        metrics["ate_sim_rmse_m"] = ate_rmse(p, g, similarity=True)
        metrics["scale"] = umeyama_alignment(p, g, similarity=True)[0]
    pairs = valid[1:] & valid[:-1]
    if pairs.any():
        estimated, true = relative_poses(estimate)[pairs], relative_poses(ground_truth)[pairs]
        translation, angle = relative_pose_errors(estimated, true)
        distance = np.linalg.norm(true[:, :3, 3], axis=1).mean()
        metrics["rpe_trans_m"], metrics["rpe_rot_deg"] = rms(translation), rms(np.degrees(angle))
        metrics["rpe_trans_percent"] = 100 * rms(translation) / float(distance) if distance > 0 else None
        if covariances is not None:
            known = np.isfinite(covariances[pairs]).all(axis=(1, 2))
            if known.any():
                metrics["nees"] = float(nees(estimated[known], true[known], covariances[pairs][known]).mean())
    if valid.all():
        metrics["kitti_t_percent"], metrics["kitti_r_deg_per_100m"] = segment_errors(estimate, ground_truth)
    errors = snippet_errors(snippets(estimate), snippets(ground_truth))
    if len(errors):
        metrics["snippet_ate_m"] = float(errors.mean())
        metrics["snippet_ate_std_m"] = float(errors.std())
    return metrics


def umeyama_alignment(
    p: np.ndarray, g: np.ndarray, similarity: bool = False
) -> tuple[float, np.ndarray, np.ndarray]:
    """(s, R, t) that minimise the sum of |g - (s R p + t)|^2 over points (N, 3); s = 1 unless `similarity`.

    Source: Umeyama, PAMI 1991, equations 40 to 42.
    """
    p0, g0 = p - p.mean(0), g - g.mean(0)
    U, D, Vt = np.linalg.svd(g0.T @ p0)
    S = np.array([1.0, 1.0, np.sign(np.linalg.det(U) * np.linalg.det(Vt))])  # a rotation, no reflection
    R = (U * S) @ Vt
    variance = (p0**2).sum()
    s = float((D * S).sum() / variance) if similarity and variance > 0 else 1.0
    return s, R, g.mean(0) - s * R @ p.mean(0)


def ate_rmse(p: np.ndarray, g: np.ndarray, similarity: bool = False) -> float:
    """Root mean square distance, m, of positions (N, 3) after alignment (Sturm et al., IROS 2012)."""
    s, R, t = umeyama_alignment(p, g, similarity)
    return rms(np.linalg.norm(g - (s * p @ R.T + t), axis=1))


def relative_poses(poses: np.ndarray) -> np.ndarray:
    """(N - 1, 4, 4): each camera pose expressed in the previous one."""
    return inverse(poses[:-1]) @ poses[1:]


def relative_pose_errors(estimated: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Translation, m, and rotation angle, rad, of the errors inv(true) estimated of motions (N, 4, 4)."""
    E = inverse(true) @ estimated
    return np.linalg.norm(E[:, :3, 3], axis=1), rotation_angles(E)


def rotation_angles(T: np.ndarray) -> np.ndarray:
    """Rotation angles, rad, of (..., 4, 4)."""
    return np.arccos(np.clip((np.trace(T[..., :3, :3], axis1=-2, axis2=-1) - 1) / 2, -1, 1))


def segment_errors(estimate: np.ndarray, ground_truth: np.ndarray) -> tuple[float | None, float | None]:
    """Mean error over all segments of KITTI's lengths: % of the length, and degrees per 100 m.

    (None, None) for a trajectory shorter than the shortest segment. Nothing is aligned or scaled.
    """
    steps = np.linalg.norm(np.diff(ground_truth[:, :3, 3], axis=0), axis=1)
    distance = np.concatenate([[0.0], np.cumsum(steps)])
    errors = []
    for first in range(0, len(ground_truth), SEGMENT_STEP):
        for length in SEGMENT_LENGTHS:
            last = int(np.searchsorted(distance, distance[first] + length, side="right"))
            if last >= len(ground_truth):
                break
            true, estimated = (inverse(T[first]) @ T[last] for T in (ground_truth, estimate))
            E = inverse(estimated) @ true
            errors.append((np.linalg.norm(E[:3, 3]) / length, rotation_angles(E) / length))
    if not errors:
        return None, None
    t, r = np.mean(errors, axis=0)
    return float(100 * t), float(100 * np.degrees(r))


def snippets(poses: np.ndarray, frames: int = SNIPPET_FRAMES) -> np.ndarray:
    """(S, frames, 4, 4): all runs of `frames` consecutive poses of a trajectory (N, 4, 4)."""
    starts = range(max(len(poses) - frames + 1, 0))
    return np.array([poses[first : first + frames] for first in starts]).reshape(-1, frames, 4, 4)


def snippets_of_windows(
    windows: Sequence[np.ndarray | None], frames: int = SNIPPET_FRAMES
) -> np.ndarray | None:
    """(N - frames + 1, frames, 4, 4): snippets from the inputs of a pose network alone, as published.

    windows: by frame, (n - 1, 4, 4) T_older_newer of the n frames up to it. One input of `frames` frames is a snippet;
    shorter ones are chained where they join without overlap. NaN where an input is missing. None if there are no
    inputs, or they are longer or do not divide a snippet.
    """
    steps = next((len(window) for window in windows if window is not None), 0)
    if not steps or (frames - 1) % steps:
        return None
    unknown = np.full((steps, 4, 4), np.nan)
    found = np.tile(np.eye(4), (max(len(windows) - frames + 1, 0), frames, 1, 1))
    for first, poses in enumerate(found):
        ends = range(first + steps, first + frames, steps)
        parts = [unknown if (window := windows[end]) is None else window for end in ends]
        for k, T_older_newer in enumerate(np.concatenate(parts), 1):
            poses[k] = poses[k - 1] @ T_older_newer
    return found


def snippet_errors(estimated: np.ndarray, ground_truth: np.ndarray) -> np.ndarray:
    """Position errors (V,), m, of the V valid of S snippets (S, n, 4, 4) relative to their first poses, each scaled.

    The root of the summed squares is divided by n, as in the evaluation of Zhou et al. (CVPR 2017) and all tables that
    compare with it: the root mean square over sqrt(n).
    """
    errors = []
    for estimate, true in zip(estimated, ground_truth, strict=True):
        if _is_valid(estimate).all() and _is_valid(true).all():
            p, g = ((inverse(T[0]) @ T)[:, :3, 3] for T in (estimate, true))
            norm = (p**2).sum()
            s = (g * p).sum() / norm if norm > 0 else 0.0
            errors.append(np.sqrt(((s * p - g) ** 2).sum()) / len(p))
    return np.array(errors)


def nees(estimated: np.ndarray, true: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Normalised estimation errors squared (N,) of motions (N, 4, 4): 6 on average for consistent covariances.

    The error is (translation, rotation vector) in the frame of the older camera, m and rad.
    """
    rotations = estimated[:, :3, :3] @ np.swapaxes(true[:, :3, :3], 1, 2)
    vectors = np.array([cv2.Rodrigues(R)[0][:, 0] for R in rotations])
    e = np.hstack([estimated[:, :3, 3] - true[:, :3, 3], vectors])
    return np.einsum("ni,ni->n", e, np.linalg.solve(covariances, e[:, :, None])[:, :, 0])


def nees_bounds(estimate: np.ndarray, ground_truth: np.ndarray) -> tuple[float, float] | None:
    """95 % interval of the mean NEES of the motions of two trajectories, for consistent covariances.

    N times the mean over N motions is chi squared with 6 N degrees of freedom (Bar-Shalom et al., 2001, 5.4.2); its
    cube root is nearly normal (Wilson and Hilferty, 1931).
    """
    valid = _is_valid(estimate) & _is_valid(ground_truth)
    dof = 6 * int((valid[1:] & valid[:-1]).sum())
    if not dof:
        return None
    variance = 2 / (9 * dof)
    low, high = (6 * (1 - variance + z * np.sqrt(variance)) ** 3 for z in (-1.96, 1.96))
    return float(low), float(high)


def write_tum(file: Path, stamps: list[int], poses: np.ndarray) -> None:
    """Write `seconds tx ty tz qx qy qz qw` lines with nanosecond stamps; frames without a pose are skipped."""
    lines = ["# seconds tx ty tz qx qy qz qw"]
    for stamp, T in zip(stamps, poses):
        if np.isfinite(T).all():
            numbers = (*T[:3, 3], *quaternion_from_matrix(T[:3, :3]))
            lines.append(
                " ".join([f"{stamp // NS}.{stamp % NS:09d}", *(f"{number:.9f}" for number in numbers)])
            )
    file.write_text("\n".join(lines) + "\n")


def read_tum(file: Path) -> tuple[list[int], np.ndarray]:
    """Stamps, ns, and poses (N, 4, 4) of a TUM trajectory file. Raises DepthRosError for any other content."""
    rows = read_rows(file, (8,))
    lines = [line.split() for line in file.read_text().splitlines() if line.strip() and line[0] != "#"]
    return [stamp_from_seconds(line[0]) for line in lines], np.array([pose_from(r[1:4], r[4:]) for r in rows])


def rms(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def _is_valid(poses: np.ndarray) -> np.ndarray:
    return np.isfinite(poses).all(axis=(1, 2))
