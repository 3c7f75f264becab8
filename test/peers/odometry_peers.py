"""Our odometry and its peers on the same recorded folders, in one run: a table and JSON.

    python3 -m venv peers && peers/bin/pip install pyorbslam3 open3d opencv-python-headless
    .venv/bin/python test/peers/odometry_peers.py --python peers/bin/python --json table.json FOLDER...

The peers' packages are never installed beside ours: a folder is written to a scratch directory as plain images and
arrays, and `peer.py` reads it with the other interpreter. ORB-SLAM3 needs the vocabulary of its authors
(PYORBSLAM3_VOCAB=.../ORBvoc.txt); without it, one is made from the images of the clip.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.estimators.stereo.estimator import SEMI_GLOBAL, StereoEstimator
from depth_ros.estimators.stereo.pair import rectified_pair
from depth_ros.evaluation.metrics.trajectory import trajectory_metrics
from depth_ros.evaluation.odometry import evaluate_odometry
from depth_ros.evaluation.options import EvaluationOptions
from depth_ros.geometry import rectify
from depth_ros.recordings import Recording, open_recording

PEERS = ("orb_slam3", "open3d", "klt_pnp")
COLUMNS = (
    "ate_rmse_m",
    "ate_sim_rmse_m",
    "scale",
    "rpe_trans_percent",
    "rpe_rot_deg",
    "tracked",
    "ms_per_frame",
)


def exchange(folder: Recording, out: Path, limit: int) -> np.ndarray:
    """Write a clip for `peer.py`; returns the ground-truth poses (N, 4, 4)."""
    for name in ("left", "right", "depth"):
        (out / name).mkdir(parents=True)
    count = min(len(folder), limit or len(folder))
    stamps, ground_truth, K, baseline = [], [], np.eye(3), 0.0
    matcher = StereoEstimator(SEMI_GLOBAL)
    for index in range(count):
        sample = folder[index]
        image, camera = rectify(sample.left.image, sample.left.camera)
        depth, K = sample.depth, camera.K
        if sample.right is not None:
            pair = rectified_pair(sample.left, sample.right)
            baseline, image = pair.baseline, pair.left.image
            write(out / "right" / f"{index:06d}.png", pair.right.image)
            depth = matcher.estimate(pair).depth().depth
        if depth is None or sample.T_world_camera is None:
            raise DepthRosError(f"'{folder}' needs stereo pairs or recorded depth, and poses")
        write(out / "left" / f"{index:06d}.png", image)
        np.save(out / "depth" / f"{index:06d}.npy", np.nan_to_num(depth).astype(np.float32))
        stamps.append(sample.left.stamp)
        ground_truth.append(sample.T_world_camera)
    about = {"K": K.tolist(), "baseline": baseline, "stamps": stamps}
    (out / "clip.json").write_text(json.dumps(about))
    return np.array(ground_truth)


def write(file: Path, image: np.ndarray) -> None:
    """Write an RGB image without loss."""
    cv2.imwrite(str(file), image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])


def run_peer(python: str, name: str, clip: Path, ground_truth: np.ndarray) -> dict[str, Any]:
    """The metrics of a peer, or why there are none."""
    out = clip / f"{name}.json"
    command = [python, str(Path(__file__).with_name("peer.py")), name, str(clip), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    if not out.is_file():
        return {"failed": (done.stderr or done.stdout).strip().splitlines()[-1:]}
    found = json.loads(out.read_text())
    poses = [np.full((4, 4), np.nan) if T is None else np.reshape(T, (4, 4)) for T in found["poses"]]
    measured = trajectory_metrics(np.array(poses), ground_truth)
    return {**measured, "ms_per_frame": float(np.median(found["ms"][1:]))}


def main() -> None:
    """Measure every folder and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--python", required=True, help="interpreter of the peers' environment")
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--models", nargs="*", default=[""], help="ours, with the depth of these models")
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    table: dict[str, dict[str, Any]] = {}
    for folder in arguments.folders:
        rows = table[str(folder)] = {}
        for model in arguments.models:
            ours = evaluate_odometry(model, folder, EvaluationOptions(limit=arguments.limit))
            rows[f"ours, {ours['model']}"] = ours
        with tempfile.TemporaryDirectory() as scratch:
            ground_truth = exchange(open_recording(folder), Path(scratch) / "clip", arguments.limit)
            for name in arguments.peers:
                rows[name] = run_peer(arguments.python, name, Path(scratch) / "clip", ground_truth)
        sys.stdout.write(f"\n{folder}\n{'':28}" + "".join(f"{column:>18}" for column in COLUMNS) + "\n")
        for name, row in rows.items():
            cells = [row.get(column) for column in COLUMNS]
            line = "".join(f"{'-' if c is None else format(c, '.4f'):>18}" for c in cells)
            sys.stdout.write(f"{name:28}{line} {row.get('failed', '')}\n")
        sys.stdout.flush()
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
