"""Results of a replay as a bag: what the nodes would publish, beside the images they came from."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from depth_ros.datatypes import Depth, Disparity, Pose
from depth_ros.errors import DepthRosError
from depth_ros.estimators.filters import confidence_image, filtered
from depth_ros.estimators.odometry.base_frame import BaseFramePose, BaseState
from depth_ros.estimators.odometry.estimator import OdometryEstimator
from depth_ros.estimators.odometry.settings import OdometrySettings
from depth_ros.estimators.stereo.semi_global import DISPARITY_STEP
from depth_ros.messages.fill import (
    fill_camera_info,
    fill_depth,
    fill_disparity,
    fill_odometry,
    fill_pose,
    fill_transform,
    fill_twist,
)
from depth_ros.playback.bag_clouds import BagClouds, point_message
from depth_ros.playback.robot import Robot
from depth_ros.recordings import Sample
from depth_ros.recordings.bags.writer import CAMERA_INFO, IMAGE, ODOMETRY, TF, MessageWriter, SampleWriter

if TYPE_CHECKING:
    from rosbags.rosbag2 import Writer

SUFFIXES = {".mcap": "mcap", ".db3": "sqlite3"}
PATH_PERIOD = 1.0
"""s between two messages of the path, which grows."""
MAX_DISPARITY = 512
"""px, of the messages of disparity."""


class ResultBag:
    """Writer of results to a new .mcap or .db3 file. Use it as a context manager; a failed file is deleted.

    Topics: the images and their camera_info as `write_bag` names them; depth/image_rect, depth/camera_info, points,
    points_filtered, points_clearing, depth/confidence if the model gives standard deviations, scan if the robot has a
    height band; of a stereo pair disparity; of consecutive frames also odom, path and the transform odom -> base_link.
    Depth of unknown scale has the names that the nodes give it, and neither odometry nor clouds in metres.
    Raises DepthRosError if the file exists or has another suffix.
    """

    def __init__(
        self, path: Path, is_consecutive: bool, is_metric: bool = True, robot: Robot | None = None
    ) -> None:
        from rosbags.rosbag2 import StoragePlugin, Writer

        if path.suffix not in SUFFIXES:
            raise DepthRosError(f"{path} must end with {' or '.join(SUFFIXES)}, or be a new folder")
        if path.exists():
            raise DepthRosError(f"{path} exists already: remove it or give another name")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._folder = path, Path(tempfile.mkdtemp(dir=path.parent))
        plugin = StoragePlugin.MCAP if path.suffix == ".mcap" else StoragePlugin.SQLITE3
        self._writer: Writer = Writer(self._folder / path.stem, version=9, storage_plugin=plugin)
        self._robot, self._is_metric = robot or Robot(), is_metric
        self._odometry = _Odometry(self._robot) if is_consecutive and is_metric else None
        self._suffix = "" if is_metric else "_up_to_scale"

    def __enter__(self) -> ResultBag:
        self._writer.open()
        self._messages = MessageWriter(self._writer)
        robot = self._robot
        self._samples = SampleWriter(self._messages, True, robot.base_frame, robot.T_frame_camera)
        self._clouds = BagClouds(self._messages, robot)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        if kind is None:
            shutil.move(next((self._folder / self._path.stem).glob(f"*{self._path.suffix}")), self._path)
        shutil.rmtree(self._folder, ignore_errors=True)

    def write(self, sample: Sample, result: Depth | Disparity) -> None:
        """The images of a sample and its result, after the filters of the node."""
        self._samples.write_frames(sample)
        depth = result.depth() if isinstance(result, Disparity) else result
        kept = filtered(depth, self._robot.filters)
        if isinstance(result, Disparity):
            keep = np.isfinite(kept.depth)
            self._write_disparity(
                replace(result, disparity=np.where(keep, result.disparity, np.float32(np.nan)))
            )
        self._write_depth(kept)
        if (confidence := confidence_image(depth)) is not None:
            image = self._messages.message(IMAGE, depth.stamp, depth.frame_id)
            fill_depth(image, confidence)
            self._messages.add(f"/depth{self._suffix}/confidence", depth.stamp, image)
        if self._is_metric:
            for topic, message in self._clouds.of(depth, kept):
                self._messages.add(topic, depth.stamp, message)
        if self._odometry:
            for topic, message in self._odometry.messages(depth, self._messages):
                self._messages.add(topic, depth.stamp, message)

    def _write_depth(self, depth: Depth) -> None:
        image = self._messages.message(IMAGE, depth.stamp, depth.frame_id)
        fill_depth(image, depth.depth)
        info = self._messages.message(CAMERA_INFO, depth.stamp, depth.frame_id)
        fill_camera_info(info, depth.camera)
        for topic, message in (
            (f"/depth{self._suffix}/image_rect", image),
            (f"/depth{self._suffix}/camera_info", info),
            (f"/points{self._suffix}", point_message(self._messages, depth)),
        ):
            self._messages.add(topic, depth.stamp, message)

    def _write_disparity(self, disparity: Disparity) -> None:
        message = self._messages.message(
            "stereo_msgs/msg/DisparityImage", disparity.stamp, disparity.frame_id
        )
        fill_disparity(message, disparity, MAX_DISPARITY, DISPARITY_STEP)
        self._messages.add("/disparity", disparity.stamp, message)


class _Odometry:
    """Odometry from the depth of each frame, with the base frame as in the static transforms of the bag."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._estimator = OdometryEstimator(OdometrySettings())
        self._base = BaseFramePose()
        self._path: list[BaseState] = []
        self._path_stamp = 0

    def messages(self, depth: Depth, make: MessageWriter) -> list[tuple[str, Any]]:
        """Topics and messages of one frame; none while odometry is lost."""
        state = self._base.update(self._estimator.estimate(depth), self._robot.T_frame_camera)
        if state.state == "lost":
            return []
        self._path.append(state)
        odometry = make.message(ODOMETRY)
        base_frame = self._robot.base_frame
        fill_odometry(odometry, Pose(state.stamp, state.T, state.covariance), "odom", base_frame)
        fill_twist(odometry.twist, state.twist, state.twist_covariance)
        transforms = make.message(TF)
        transform = make.message("geometry_msgs/msg/TransformStamped", state.stamp, "odom")
        transform.child_frame_id = base_frame
        fill_transform(transform.transform, state.T)
        transforms.transforms.append(transform)
        found = [("/odom", odometry), ("/tf", transforms)]
        if state.stamp - self._path_stamp >= PATH_PERIOD * 1e9:
            self._path_stamp = state.stamp
            found.append(("/path", self._path_message(make)))
        return found

    def _path_message(self, make: MessageWriter) -> Any:
        path = make.message("nav_msgs/msg/Path", self._path[-1].stamp, "odom")
        for state in self._path:
            pose = make.message("geometry_msgs/msg/PoseStamped", state.stamp, "odom")
            fill_pose(pose.pose, state.T)
            path.poses.append(pose)
        return path
