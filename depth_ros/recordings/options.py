"""Options that apply to every kind of recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RecordingOptions:
    """How a recording is read.

    cameras: calibration files (see `recordings.calibration`), of the only camera, or of the left and the right one.
    They replace the recording's own. fov: horizontal field of view, degrees, of a camera without calibration; 0: none
    given. image_topic, right_topic, camera_info_topic, depth_topic: topics of a bag; empty: found by their names.
    masks: a folder of instance masks (see `recordings.instances`) or, of a bag, the topic of label images; empty: none.
    imu_topic: of a bag with several IMUs; empty: the only one.
    sync_tolerance: largest difference of the stamps of images that belong together, s. image_list: a split file that
    lists the images of raw KITTI to use, such as the Eigen split. lidar_x: depth of raw KITTI is the distance along
    the x axis of the lidar, and that of Make3D the one along the ray, as in published results, instead of that along
    the optical axis.

    poses: trajectory of the camera in the TUM format, from any odometry; it replaces recorded poses. keypoints: folder
    of images with the numbers of the joints of people, 1 to 17; see `recordings.supplemented`.
    """

    cameras: tuple[Path, ...] = ()
    fov: float = 0.0
    image_topic: str = ""
    right_topic: str = ""
    camera_info_topic: str = ""
    depth_topic: str = ""
    sync_tolerance: float = 0.01
    image_list: Path | None = None
    lidar_x: bool = False
    masks: str = ""
    poses: Path | None = None
    keypoints: Path | None = None
    imu_topic: str = ""


DEFAULTS = RecordingOptions()
