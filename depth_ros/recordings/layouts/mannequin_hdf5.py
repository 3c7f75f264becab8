"""HDF5 files of the released code of MannequinChallenge, one a frame (pip install h5py): FILE.h5, or a folder of them.

Read are, as by the loaders of the code, in the group gt: the image `img` (uint8) or `im1` or `img_1` (0 to 1),
(H, W, 3) RGB; depth `mvs_depth`, of multi-view stereo and so of unknown scale, or `gt_depth`, measured by a Kinect (TUM
RGB-D), 0 = invalid; `intrinsic` (3, 3) px; `T_1_G` (4, 4), from the world to the camera (Li et al., CVPR 2019;
loaders/image_folder.py of google/mannequinchallenge). Files are independent of each other.

The extra inputs of networks: people from `human_mask`, which is 1 on people in files with `im1` or `img_1`, but 0 in
those for training, with `img`; key points from `keypoints_img`, numbers of joints; parallax and confidence from
`pp_depth`, `lr_error` (px), `angle_prior` (degrees), `flow` (px), `T_1_G` and `T_2_G`. In files for training, depth of
multi-view stereo that differs by more than 20 % from good parallax is discarded, and key points without any get that of
parallax, as in the code.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from depth_ros.datatypes import Camera, Frame
from depth_ros.geometry import inverse
from depth_ros.parallax import (
    Matches,
    Parallax,
    epipolar_distance,
    keypoints_input,
    parallax_confidence,
    parallax_inputs,
    people_input,
)
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import frame_stamps, open_hdf5
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.sample import DamagedFrame

REQUIRED = "FILE.h5 with gt/img, gt/mvs_depth, gt/intrinsic, gt/T_1_G"
SUFFIXES = (".h5", ".hdf5")
RATE = 1.0  # Hz, of generated stamps
IMAGES = ("img", "im1", "img_1")
DEPTHS = ("mvs_depth", "gt_depth")
TRAINING_IMAGE = "img"
TWO_VIEWS = ("pp_depth", "lr_error", "angle_prior", "flow", "T_1_G", "T_2_G")
PEOPLE = ("human_mask", "keypoints_img")
KEYS = tuple(dict.fromkeys((*IMAGES, *DEPTHS, "intrinsic", "T_1_G", *TWO_VIEWS, *PEOPLE)))
MAX_DIFFERENCE = 0.2
"""Relative difference |a - b| / (a + b) of depths above which that of multi-view stereo is discarded."""
MAX_ERROR, MIN_ANGLE = 2.0, 1 - 0.5**0.5
"""Flow error, px, and angle between the rays, degrees, of parallax depth that may discard others: where the confidence
by the angle exceeds a half."""


def matches(path: Path) -> bool:
    """Whether a file or folder has this layout."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    files = [path] if path.is_file() else sorted(path.iterdir())
    if any(file.is_dir() for file in files):
        return []  # a recording that has an HDF5 file among others
    return [file for file in files if file.suffix in SUFFIXES]


def read(path: Path, options: RecordingOptions) -> Recording:
    """The frames of a file or a folder."""
    return Recording(_files(path))


class Recording:
    """Independent frames, sorted by file name."""

    layout, rate = "mannequin_hdf5", RATE
    camera_source = "gt/intrinsic"
    damage = ()

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self.names = [file.stem for file in files]
        self.stamps = frame_stamps([""] * len(files), RATE)
        keys = _keys(files)
        self.contents = Contents(
            depth=bool(keys & set(DEPTHS)),
            poses="T_1_G" in keys,
            moving_objects="human_mask" in keys,
            consecutive=False,
            metric="gt_depth" in keys,
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        file = self._files[index]
        try:
            with open_hdf5(file) as content:
                gt = {key: content["gt"][key][()] for key in KEYS if key in content["gt"]}
            image, K = next(gt[key] for key in IMAGES if key in gt), gt["intrinsic"]
            height, width, _ = image.shape
        except (OSError, KeyError, StopIteration, ValueError) as error:
            raise DamagedFrame(
                f"{file} has no readable image and intrinsics in the group gt: {error!r}"
            ) from error
        if image.dtype != np.uint8:
            image = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
        camera = Camera.pinhole(width, height, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
        people, inputs = None, dict[str, np.ndarray]()
        if "human_mask" in gt:
            people = (gt["human_mask"] > 0.5) != (TRAINING_IMAGE in gt)
            inputs |= people_input(people)
        if "keypoints_img" in gt:
            inputs |= keypoints_input(gt["keypoints_img"])
        matches = _matches(gt, camera)
        if matches:
            moving = np.zeros((height, width), bool) if people is None else people
            confidence, valid = parallax_confidence(matches, moving)
            depth = np.where(valid & (gt["pp_depth"] > 1e-8), gt["pp_depth"], np.nan).astype(np.float32)
            inputs |= parallax_inputs(Parallax(depth, confidence.astype(np.float32), gt["flow"]))
        pose = inverse(gt["T_1_G"].astype(float)) if "T_1_G" in gt else None
        frame = Frame(self.stamps[index], "camera_optical_frame", image, camera, inputs)
        labels = None if people is None else people.astype(np.int32)
        return Sample(
            self.names[index], frame, depth=_depth(gt, matches), T_world_camera=pose, moving_objects=labels
        )


def _matches(gt: dict[str, np.ndarray], camera: Camera) -> Matches | None:
    """What is known of the matches in the second view; None if a part of it is missing."""
    if any(key not in gt for key in TWO_VIEWS):
        return None
    T_second_first = gt["T_2_G"].astype(float) @ inverse(gt["T_1_G"].astype(float))
    return Matches(gt["lr_error"], epipolar_distance(gt["flow"], T_second_first, camera), gt["angle_prior"])


def _depth(gt: dict[str, np.ndarray], matches: Matches | None) -> np.ndarray | None:
    """Depth (H, W) float32, NaN = invalid; of files for training, compared with and completed by parallax."""
    depth = next((gt[key].astype(np.float32) for key in DEPTHS if key in gt), None)
    if depth is None:
        return None
    depth = np.where(depth > 1e-8, depth, np.float32(np.nan))
    if TRAINING_IMAGE not in gt or matches is None:
        return depth
    parallax = gt["pp_depth"].astype(np.float32)
    differs = np.abs(depth - parallax) / (depth + parallax + 1e-8) > MAX_DIFFERENCE
    wrong = differs & (matches.flow_error < MAX_ERROR) & (matches.angle > MIN_ANGLE)
    if (
        "keypoints_img" in gt
    ):  # people of the training data stand still, so that parallax is right on them, too
        confident = parallax_confidence(matches, np.zeros(depth.shape, bool))[0] > 0
        usable = confident & (matches.angle > MIN_ANGLE) & (parallax > 1e-8) & (gt["keypoints_img"] > 0)
        depth = np.where(np.isnan(depth) & usable, parallax, depth)
    return np.where(wrong, np.float32(np.nan), depth)


def _keys(files: list[Path]) -> set[str]:
    """What the first readable file has."""
    for file in files:
        with contextlib.suppress(DamagedFrame), open_hdf5(file) as content:
            return set(content.get("gt", ()))
    return set()
