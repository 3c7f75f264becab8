"""KITTI depth as published (Uhrig et al., 3DV 2017; readme of the depth devkit): selections with their own images.

    depth_selection/val_selection_cropped/              image/ groundtruth_depth/ velodyne_raw/ intrinsics/, 1216x352
    depth_selection/test_depth_completion_anonymous/    image/ velodyne_raw/ intrinsics/
    depth_selection/test_depth_prediction_anonymous/    image/ intrinsics/

Depth is uint16, 256 units per m, 0 = invalid: ground truth, or the raw lidar scan if a selection has no ground truth.
intrinsics/NAME.txt has the nine numbers of K. The images are independent; of several selections in the folder, the one
with ground truth is read.

The improved ground truth (train/ and val/ of data_depth_annotated) has no images: `improved_depth` finds it for raw
KITTI.
"""

from __future__ import annotations

from pathlib import Path

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import frame_stamps, images_in, read_depth, read_pixels, read_rows
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.search import folders_with, only_one

REQUIRED = "depth_selection/ or one of its folders, with image/ and intrinsics/"
UNITS_PER_METRE = 256.0
GROUND_TRUTH, LIDAR = "groundtruth_depth", "velodyne_raw"
SPLITS = ("train", "val", "data_depth_annotated/train", "data_depth_annotated/val")


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return any(folders_with(path, ("image", "intrinsics"), levels=2)) or _is_annotated_only(path)


def _is_annotated_only(path: Path) -> bool:
    """Whether a folder has the improved ground truth, but no raw KITTI."""
    annotated = any(next(path.glob(f"{split}/*_sync/proj_depth"), None) for split in SPLITS)
    return annotated and next(path.glob("*_*_*/*_sync/image_02"), None) is None


def read(path: Path, options: RecordingOptions) -> Recording:
    """The recording in a folder of this layout."""
    found = list(folders_with(path, ("image", "intrinsics"), levels=2))
    if not found:
        raise DepthRosError(
            f"{path} has the improved ground truth of KITTI, but no images: put the folders DATE/DRIVE_sync of raw "
            "KITTI beside its train/ and val/, and give their root, one date or one drive"
        )
    annotated = [folder for folder in found if (folder / GROUND_TRUTH).is_dir()]
    return Recording(only_one(path, annotated or found, "selections"))


class Recording:
    """The independent images of a selection."""

    layout, rate, camera_source = "kitti_depth", 10.0, "intrinsics/"
    damage = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._images = images_in(path / "image")
        self.names = list(self._images)
        if not self.names:
            raise DepthRosError(f"{path / 'image'} has no images")
        has_ground_truth = (path / GROUND_TRUTH).is_dir()
        self._depth_folder = GROUND_TRUTH if has_ground_truth else LIDAR
        self.note = "" if has_ground_truth else "g is the raw lidar scan"
        self._depth = images_in(path / self._depth_folder)
        self.stamps = frame_stamps(self.names, self.rate)
        self.contents = Contents(depth=bool(self._depth), consecutive=False)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image = read_pixels(self._images[name])
        K = read_rows(self._path / "intrinsics" / f"{name}.txt", (9,))[0].reshape(3, 3)
        height, width = image.shape[:2]
        camera = Camera.pinhole(width, height, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
        # DRIVE_sync_image_FRAME_image_02 -> DRIVE_sync_groundtruth_depth_FRAME_image_02
        file = self._depth.get(name.replace("_sync_image_", f"_sync_{self._depth_folder}_"))
        depth = None if file is None else read_depth(file, camera, UNITS_PER_METRE)
        return Sample(name, Frame(self.stamps[index], "image_02_optical_frame", image, camera), depth=depth)


def improved_depth(drive: Path, camera: str) -> dict[str, Path]:
    """Files of the improved ground truth of a drive of raw KITTI by frame; empty if there are none.

    It is looked for in the drive, and in train/, val/ and data_depth_annotated/ in or beside the root of raw KITTI.
    camera: 02 or 03. The first and the last five frames of a drive have none.
    """
    root = drive.parent.parent
    drives = [drive, *(base / split / drive.name for base in (root, root.parent) for split in SPLITS)]
    folders = (folder / f"proj_depth/groundtruth/image_{camera}" for folder in drives)
    return next((files for folder in folders if (files := images_in(folder))), {})
