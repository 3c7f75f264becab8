"""Run one peer on one exchanged clip: `python peer.py NAME FOLDER OUT`, in an environment that has the peer's package.

FOLDER is what `odometry_peers.py` writes: clip.json, left/ and right/ or depth/. OUT gets poses and times as JSON.
Names: orb_slam3 (pyorbslam3 on PyPI, ORB-SLAM3 of Campos et al., 2021), open3d (open3d, RGB-D odometry with hybrid
loss, frame to frame), klt_pnp (opencv-python: corners, Lucas and Kanade, PnP with RANSAC, frame to frame).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

SETTINGS = """%YAML:1.0
Camera.type: "PinHole"
Camera.fx: {fx}
Camera.fy: {fy}
Camera.cx: {cx}
Camera.cy: {cy}
Camera.k1: 0.0
Camera.k2: 0.0
Camera.p1: 0.0
Camera.p2: 0.0
Camera.bFishEye: 0
Camera.width: {width}
Camera.height: {height}
Camera.fps: 10.0
Camera.bf: {bf}
Camera.RGB: 1
ThDepth: {far}
DepthMapFactor: 1.0
ORBextractor.nFeatures: {features}
ORBextractor.scaleFactor: 1.2
ORBextractor.nLevels: 8
ORBextractor.iniThFAST: {fast}
ORBextractor.minThFAST: 7
Viewer.KeyFrameSize: 0.6
Viewer.KeyFrameLineWidth: 2.0
Viewer.GraphLineWidth: 1.0
Viewer.PointSize: 2.0
Viewer.CameraSize: 0.7
Viewer.CameraLineWidth: 3.0
Viewer.ViewpointX: 0.0
Viewer.ViewpointY: -100.0
Viewer.ViewpointZ: -0.1
Viewer.ViewpointF: 2000.0
"""
"""The older of the two formats: in the newer one ORB-SLAM3 1.0 fails on rectified pairs."""


class Clip:
    """A clip on disk. Images are read before the clock starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        about = json.loads((folder / "clip.json").read_text())
        self.K, self.baseline, self.stamps = np.array(about["K"]), about["baseline"], about["stamps"]

    def __len__(self) -> int:
        return len(self.stamps)

    def image(self, index: int, camera: str = "left") -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        return cv2.imread(str(self.folder / camera / f"{index:06d}.png"))[..., ::-1].copy()

    def depth(self, index: int) -> np.ndarray:
        """(H, W) float32 m, 0 = invalid."""
        return np.load(self.folder / "depth" / f"{index:06d}.npy")


def orb_slam3(clip: Clip) -> Iterator[tuple[np.ndarray | None, float]]:
    """Stereo or RGB-D with its authors' settings for KITTI and TUM; without loop closing, for the clips are short."""
    import pyorbslam3

    first = clip.image(0)
    height, width = first.shape[:2]
    stereo = clip.baseline > 0
    wide = width > 800
    text = SETTINGS.format(
        fx=clip.K[0, 0], fy=clip.K[1, 1], cx=clip.K[0, 2], cy=clip.K[1, 2], width=width, height=height,
        bf=clip.K[0, 0] * (clip.baseline or 0.08), far=40.0, features=2000 if wide else 1000, fast=12 if wide else 20,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        settings = Path(scratch) / "settings.yaml"
        settings.write_text(text)
        vocabulary = os.environ.get("PYORBSLAM3_VOCAB") or write_vocabulary(clip, Path(scratch) / "words.txt")
        sensor = pyorbslam3.Sensor.STEREO if stereo else pyorbslam3.Sensor.RGBD
        with pyorbslam3.Slam(vocabulary, settings, sensor) as slam:
            for index, stamp in enumerate(clip.stamps):
                left = cv2.cvtColor(clip.image(index), cv2.COLOR_RGB2GRAY)
                if stereo:
                    other = cv2.cvtColor(clip.image(index, "right"), cv2.COLOR_RGB2GRAY)
                    begun = time.perf_counter()
                    result = slam.track_stereo(left, other, stamp / 1e9)
                else:
                    depth = clip.depth(index)
                    begun = time.perf_counter()
                    result = slam.track_rgbd(left, depth, stamp / 1e9)
                taken = time.perf_counter() - begun
                yield (np.array(result.pose_wc) if result.pose_valid else None), taken
                time.sleep(max(0.0, 0.1 - taken))  # time for its mapping thread


def write_vocabulary(clip: Clip, file: Path, branches: int = 10, levels: int = 6) -> str:
    """A vocabulary made from the clip, in the text format of DBoW2, if the published one is not available."""
    orb, random = cv2.ORB.create(1500, fastThreshold=7), np.random.default_rng(0)
    words = [
        orb.detectAndCompute(clip.image(i), None)[1] for i in range(0, len(clip), max(1, len(clip) // 30))
    ]
    lines = [f"{branches} {levels} 0 0"]

    def grow(members: np.ndarray, parent: int, level: int) -> None:
        centres = members[random.choice(len(members), branches, replace=False)]
        for _ in range(3):
            nearest = np.unpackbits(members[:, None] ^ centres[None], axis=2).sum(2).argmin(1)
            for i in range(branches):
                if (nearest == i).any():
                    bits = np.unpackbits(members[nearest == i], axis=1).mean(0) > 0.5
                    centres[i] = np.packbits(bits)
        for i in range(branches):
            inside = members[nearest == i]
            leaf = level == levels or len(inside) < 4 * branches
            lines.append(f"{parent} {int(leaf)} {' '.join(map(str, centres[i]))} {1.0 if leaf else 0.0}")
            if not leaf:
                grow(inside, len(lines) - 1, level + 1)

    grow(np.concatenate([each for each in words if each is not None]), 0, 1)
    file.write_text("\n".join(lines) + "\n")
    return str(file)


def open3d(clip: Clip) -> Iterator[tuple[np.ndarray | None, float]]:
    """Tensor pipeline, hybrid loss, three scales, each frame against the previous one."""
    import open3d as o3d

    odometry = o3d.t.pipelines.odometry
    K = o3d.core.Tensor(clip.K)
    criteria = [odometry.OdometryConvergenceCriteria(n) for n in (10, 5, 3)]
    T, before = np.eye(4), None
    for index in range(len(clip)):
        image, depth = clip.image(index), clip.depth(index)
        begun = time.perf_counter()
        now = o3d.t.geometry.RGBDImage(
            o3d.t.geometry.Image(o3d.core.Tensor(image)), o3d.t.geometry.Image(o3d.core.Tensor(depth))
        )
        valid = True
        if before is not None:
            try:
                found = odometry.rgbd_odometry_multi_scale(
                    now, before, K, o3d.core.Tensor(np.eye(4)), 1.0, 100.0 if clip.baseline else 8.0, criteria,
                    odometry.Method.Hybrid,
                )  # fmt: skip
                T = T @ found.transformation.numpy()
            except RuntimeError:
                valid = False
        before = now
        yield (T.copy() if valid else None), time.perf_counter() - begun


def klt_pnp(clip: Clip) -> Iterator[tuple[np.ndarray | None, float]]:
    """Semi-global or recorded depth; corners tracked from the last frame with a backward check; PnP."""
    T, before = np.eye(4), None
    block = 5
    matcher = cv2.StereoSGBM.create(0, 128, block, 8 * block**2, 32 * block**2, 1, 63, 10, 100, 2, mode=2)
    for index in range(len(clip)):
        left = cv2.cvtColor(clip.image(index), cv2.COLOR_RGB2GRAY)
        right = cv2.cvtColor(clip.image(index, "right"), cv2.COLOR_RGB2GRAY) if clip.baseline else None
        depth = None if clip.baseline else clip.depth(index)
        begun = time.perf_counter()
        if right is not None:
            disparity = matcher.compute(left, right).astype(np.float32) / 16
            depth = np.where(disparity > 1, clip.K[0, 0] * clip.baseline / np.maximum(disparity, 1), 0)
        valid = True
        if before is not None:
            moved = _pnp(*before, left, clip.K)
            valid = moved is not None
            T = T @ np.linalg.inv(moved) if valid else T
        before = (left, depth)
        yield (T.copy() if valid else None), time.perf_counter() - begun


def _pnp(old: np.ndarray, depth: np.ndarray, new: np.ndarray, K: np.ndarray) -> np.ndarray | None:
    corners = cv2.goodFeaturesToTrack(old, 1500, 0.005, 8, mask=(depth > 0).astype(np.uint8))
    if corners is None:
        return None
    found, status, _ = cv2.calcOpticalFlowPyrLK(old, new, corners, None, winSize=(21, 21), maxLevel=4)
    back, again, _ = cv2.calcOpticalFlowPyrLK(new, old, found, None, winSize=(21, 21), maxLevel=4)
    kept = (status & again).ravel().astype(bool) & (np.abs(back - corners).max((1, 2)) < 0.5)
    a, b = corners[kept, 0], found[kept, 0]
    if len(a) < 8:
        return None
    columns, rows = np.round(a).astype(int).T
    rays = np.column_stack([a, np.ones(len(a))]) @ np.linalg.inv(K).T
    points = rays * depth[rows, columns][:, None]
    done, r, t, inliers = cv2.solvePnPRansac(points, b, K, None, iterationsCount=200, reprojectionError=1.0)
    if not done or inliers is None or len(inliers) < 8:
        return None
    r, t = cv2.solvePnPRefineLM(points[inliers[:, 0]], b[inliers[:, 0]], K, None, r, t)
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(r)[0], t[:, 0]
    return T


PEERS = {"orb_slam3": orb_slam3, "open3d": open3d, "klt_pnp": klt_pnp}


def main(name: str, folder: str, out: str) -> None:
    """Run a peer and write {"poses": [[16 numbers] or null], "ms": [...]}."""
    poses, times = [], []
    for T, seconds in PEERS[name](Clip(Path(folder))):
        poses.append(None if T is None else np.asarray(T, float).ravel().tolist())
        times.append(1000 * seconds)
    Path(out).write_text(json.dumps({"poses": poses, "ms": times}))


if __name__ == "__main__":
    main(*sys.argv[1:])
