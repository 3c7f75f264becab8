"""Training clips of raw KITTI and Cityscapes with instance masks from a folder."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_ros.networks import struct2depth
from depth_ros.recordings import RecordingOptions
from depth_ros.training.augmentation import centre_clip_crop, random_clip_crop
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.clip import ClipSettings
from depth_ros.training.data.clips import load_training_clips
from depth_ros.training.data.source import DataFolders, Source

CROP = CropSettings(64, 32, zoom=1.0)
ANY_MOTION = ClipSettings(min_image_motion=0.0)


def write(file: Path, image: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), image)


def objects(height: int, width: int, frame: int, ids: tuple[int, int]) -> np.ndarray:
    """(H, W) uint16: a car that moves by a 32nd of the width per frame, and a person at rest."""
    image = np.zeros((height, width), np.uint16)
    left = width // 4 + frame * width // 32
    image[height // 2 : 3 * height // 4, left : left + width // 4] = ids[0]
    image[height // 4 : 3 * height // 4, 3 * width // 4 : 7 * width // 8] = ids[1]
    return image


def kitti(root: Path) -> None:
    """A drive of raw KITTI, and masks with other numbers in every frame."""
    drive, date = "2011_09_26/2011_09_26_drive_0001_sync", root / "2011_09_26"
    rng = np.random.default_rng(0)
    for index in range(3):
        write(
            root / drive / f"image_02/data/{index:010d}.png",
            rng.integers(0, 256, (48, 96, 3), dtype=np.uint8),
        )
        ids = (26000 + 5 * index + 1, 24000 + 7 * index)
        write(root / "masks" / drive / f"{index:010d}.png", objects(48, 96, index, ids))
    P = "60 0 47 {} 0 60 23 0 0 0 1 0"
    rows = [f"S_rect_0{n}: 96 48\nP_rect_0{n}: {P.format(x)}" for n, x in ((2, 0), (3, -30))]
    rows.append("R_rect_00: 1 0 0 0 1 0 0 0 1")
    (date / "calib_cam_to_cam.txt").write_text("\n".join(rows) + "\n")
    (date / "calib_velo_to_cam.txt").write_text("R: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 0\n")


def cityscapes(root: Path) -> None:
    """A sequence of Cityscapes with its own instance masks, in which ids below 1000 are no instances."""
    for index in range(3):
        name = f"val/bonn/bonn_000003_{index:06d}"
        write(
            root / f"leftImg8bit_sequence/{name}_leftImg8bit.png",
            np.full((1024, 2048, 3), 50 * index, np.uint8),
        )
        ids = objects(1024, 2048, index, (26003 - index, 24000 + index))
        write(
            root / f"masks/gtFine/{name}_gtFine_instanceIds.png", np.where(ids > 0, ids, 7).astype(np.uint16)
        )
    camera = {
        "extrinsic": {"baseline": 0.22}, "intrinsic": {"fx": 2262.5, "fy": 2265.3, "u0": 1096.9, "v0": 513.1},
    }  # fmt: skip
    (root / "camera/val/bonn").mkdir(parents=True)
    (root / "camera/val/bonn/bonn_000003_000000_camera.json").write_text(json.dumps(camera))


@pytest.mark.parametrize("make", [kitti, cityscapes])
def test_clips_have_the_aligned_objects_of_their_masks_with_categories(make, tmp_path):
    make(tmp_path)
    source = Source(str(tmp_path), "all", options=RecordingOptions(masks=str(tmp_path / "masks")))
    (clip,) = load_training_clips((source,), CROP, ANY_MOTION, DataFolders(tmp_path))
    item = centre_clip_crop(clip, CROP)
    height, width = clip[0].labels.shape
    for index in range(3):
        expected = objects(height, width, index, (2, 1))  # by the order of the ids in the first frame
        assert (item["labels"][index] == expected).mean() > 0.97 and set(
            np.unique(item["labels"][index])
        ) == {0, 1, 2}
    assert item["categories"].tolist() == [0, 24, 26] + 253 * [0]
    rng = np.random.default_rng(0)
    batch = {key: torch.from_numpy(np.ascontiguousarray(value))[None] for key, value in
             random_clip_crop(clip, CROP, rng).items()}  # fmt: skip
    torch.manual_seed(0)
    models = struct2depth.build_training_model(struct2depth.Settings(width_divisor=16, categories=34))
    struct2depth.loss(models, batch, struct2depth.LossSettings(size_prior="paper"))["loss"].backward()
    assert models["object_motion"].height.grad.nonzero().flatten().tolist() == [24, 26]


def test_without_masks_there_are_no_objects(tmp_path):
    kitti(tmp_path)
    (clip,) = load_training_clips((Source(str(tmp_path), "all"),), CROP, ANY_MOTION, DataFolders(tmp_path))
    item = centre_clip_crop(clip, CROP)
    assert not item["labels"].any() and not item["categories"].any()
