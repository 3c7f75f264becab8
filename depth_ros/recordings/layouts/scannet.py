"""ScanNet as exported by its SensReader: color/N.jpg, depth/N.png, pose/N.txt, intrinsic/ (Dai et al., CVPR 2017).

Depth is in mm, 0 = invalid, and is registered to colour (both cameras have one pose), but has its own size and
intrinsics: it is resampled to the pixels of the colour image. Poses are camera-to-world; -inf where tracking was lost.
Intrinsics are intrinsic_color.txt and intrinsic_depth.txt, 4x4. The folder is a scene, or has it in frames/.

The planes of PlaneNet and PlaneRCNN (Liu et al., CVPR 2018 and 2019) are read where the scene has annotation/:
planes.npy (N, 3), unit normal times offset in world coordinates, n . X = d, zero = no plane; segmentation/N.png, of the
size of depth, whose 24-bit RGB value is 100 * (plane + 1), 0 and white = no plane.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from depth_ros.datatypes import Camera, Frame, Planes
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import (
    FIRST_STAMP,
    NS,
    images_in,
    read_image,
    read_pixels,
    read_pose,
    read_rows,
    read_values,
)
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.search import only_one

REQUIRED = "color/N.jpg, depth/N.png, pose/N.txt and intrinsic/"
RATE = 30.0  # Hz
UNITS_PER_METRE = 1000.0
LABEL_STEP = 100
"""Difference of the colours of consecutive planes, as 24-bit numbers."""


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(scenes_in(path))


def scenes_in(path: Path) -> list[Path]:
    """The folder itself if it is a scene, else those of its subfolders that are."""
    if _frames(path):
        return [path]
    return [folder for folder in sorted(path.iterdir()) if folder.is_dir() and _frames(folder)]


def _frames(scene: Path) -> Path | None:
    folders = (scene, scene / "frames")
    return next((each for each in folders if (each / "color").is_dir() and (each / "pose").is_dir()), None)


def read(path: Path, options: RecordingOptions) -> Recording:
    """The scene in a folder of this layout."""
    return Recording(only_one(path, scenes_in(path), "scenes"))


class Recording:
    """The exported frames of one scene; `names` are their numbers."""

    layout, rate = "scannet", RATE
    camera_source = "intrinsic/intrinsic_color.txt"
    damage = ()

    def __init__(self, scene: Path) -> None:
        frames = _frames(scene)
        assert frames is not None
        self._images, self._depth = images_in(frames / "color"), images_in(frames / "depth")
        self.names, self._poses = list(self._images), frames / "pose"
        if not self.names or not all(map(str.isdigit, self.names)):
            raise DepthRosError(
                f"{frames / 'color'} must hold images that are named by their number, as 0.jpg"
            )
        self.stamps = [FIRST_STAMP + round(int(name) * NS / RATE) for name in self.names]
        first = read_pixels(self._images[self.names[0]])
        self._camera = _camera(frames / "intrinsic/intrinsic_color.txt", first)
        self._intrinsics = frames / "intrinsic/intrinsic_depth.txt"
        self._planes, self._labels = _world_planes(scene), images_in(scene / "annotation/segmentation")
        self.contents = Contents(
            depth=bool(self._depth), poses=True, planes=self._planes is not None and bool(self._labels)
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name, camera = self.names[index], self._camera
        frame = Frame(
            self.stamps[index], "camera_optical_frame", read_image(self._images[name], camera), camera
        )
        T_world_camera = read_pose(self._poses / f"{name}.txt")
        planes = None
        if self._planes is not None and name in self._labels and T_world_camera is not None:
            planes = planes_of(self._planes, self._read_labels(name), T_world_camera)
        return Sample(name, frame, depth=self._read_depth(name), T_world_camera=T_world_camera, planes=planes)

    def _read_depth(self, name: str) -> np.ndarray | None:
        """(H, W) float32 m of the colour image, NaN = invalid."""
        if name not in self._depth:
            return None
        values = read_values(self._depth[name])
        depth = np.where(values > 0, values / np.float32(UNITS_PER_METRE), np.float32(np.nan))
        return to_camera(depth, _camera(self._intrinsics, depth), self._camera, np.nan)

    def _read_labels(self, name: str) -> np.ndarray:
        """(H, W) int32 index of the plane in planes.npy, -1 = none, of the colour image."""
        red, green, blue = (
            channel.astype(np.int32) for channel in cv2.split(read_pixels(self._labels[name]))
        )
        labels = (red * 65536 + green * 256 + blue) // LABEL_STEP - 1
        labels = to_camera(labels.astype(np.float32), _camera(self._intrinsics, labels), self._camera, -1)
        return labels.astype(np.int32)


def _camera(file: Path, image: np.ndarray) -> Camera:
    """The camera of an image (H, W, ...). Raises DepthRosError if the intrinsics are those of another image size."""
    K = read_rows(file, (4,))
    height, width = image.shape[:2]
    centre = K[0, 2] / width, K[1, 2] / height
    if not all(0.4 < each < 0.6 for each in centre):
        raise DepthRosError(
            f"{file} has the principal point {K[0, 2]:g}, {K[1, 2]:g}, far from the centre of an image of "
            f"{width}x{height}: the images were resized when they were exported; export them at their full size"
        )
    return Camera.pinhole(width, height, K[0, 0], K[1, 1], K[0, 2], K[1, 2])


def to_camera(values: np.ndarray, source: Camera, target: Camera, missing: float) -> np.ndarray:
    """Values (H, W) of one camera at the pixels of another camera of the same pose, from the nearest pixel."""
    return cv2.warpPerspective(
        values, target.K @ np.linalg.inv(source.K), (target.width, target.height), flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT, borderValue=missing,
    )  # fmt: skip


def _world_planes(scene: Path) -> np.ndarray | None:
    """(N, 3) unit normal times offset, m, in world coordinates; None without annotation."""
    file = scene / "annotation/planes.npy"
    if not file.is_file():
        return None
    try:
        return np.load(file, allow_pickle=False).reshape(-1, 3).astype(float)
    except (OSError, ValueError) as error:
        raise DepthRosError(f"{file} must hold an array (N, 3): {error}") from error


def planes_of(world: np.ndarray, labels: np.ndarray, T_world_camera: np.ndarray) -> Planes:
    """The planes that are visible in an image. labels: (H, W) index in `world` (N, 3), anything else = no plane."""
    offsets = np.linalg.norm(world, axis=1)
    visible = np.unique(labels[(labels >= 0) & (labels < len(world))])
    visible = visible[offsets[visible] > 1e-4]
    normals = world[visible] / offsets[visible, None]
    equations = np.column_stack(
        [-normals @ T_world_camera[:3, :3], offsets[visible] - normals @ T_world_camera[:3, 3]]
    )
    equations[equations[:, 3] < 0] *= -1  # normals point to the camera
    rows = np.full(len(world) + 1, -1, np.int32)
    rows[visible] = np.arange(len(visible))
    return Planes(rows[np.where((labels >= 0) & (labels < len(world)), labels, -1)], equations)
