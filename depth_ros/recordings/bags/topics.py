"""Which topics of a bag are the camera, its right partner, measured depth and ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from depth_ros.errors import DepthRosError
from depth_ros.messages.calibration import names_rectified_images
from depth_ros.recordings.bags.video_packets import VIDEO_KINDS
from depth_ros.recordings.bags.writer import (
    CAMERA_INFO,
    COMPRESSED,
    GROUND_TRUTH_DEPTH,
    GROUND_TRUTH_ODOMETRY,
    IMAGE,
    ODOMETRY,
)
from depth_ros.recordings.files import PAIR_WORDS
from depth_ros.recordings.options import RecordingOptions

TRANSPORTS = ("compressed", *VIDEO_KINDS.values())
"""Last parts of the names of topics that image_transport publishes beside a raw image."""
_NON_CAMERA_WORDS = ("depth", "disparity", "ground_truth", "mask", "label", "confidence")
"""Image topics whose name contains one of these words are not colour images of a camera."""


@dataclass(frozen=True)
class BagTopics:
    """The chosen topics; empty: none. image and right are images, raw, compressed or as
    video packets; depth is raw or compressed."""

    image: str
    camera_info: str
    right: str = ""
    right_info: str = ""
    depth: str = ""
    depth_info: str = ""
    odometry: str = ""
    masks: str = ""

    @property
    def is_rectified(self) -> bool:
        """Whether the images are rectified; image_rect and image_raw share one camera_info."""
        return names_rectified_images(self.image)


def choose_topics(path: Path, topics: Mapping[str, str], options: RecordingOptions) -> BagTopics:
    """The topics of a bag for the options; those that are not given are found by their names.

    topics: types by name. Raises DepthRosError if one is not there, or several are possible.
    """
    images = [topic for topic, kind in topics.items() if kind in (IMAGE, COMPRESSED, *VIDEO_KINDS)]
    infos = [topic for topic, kind in topics.items() if kind == CAMERA_INFO]
    if not images:
        raise DepthRosError(f"{path} has no image topic; its topics: {', '.join(sorted(topics)) or 'none'}")
    image = _select(path, "image", options.image_topic, images, _camera_topics(images))
    info = "" if options.cameras or options.fov else _info_topic(path, image, infos, options)
    right, right_info = _right(path, image, images, infos, options)
    depth, depth_info = _depth(path, images, infos, topics, options)
    odometry = GROUND_TRUTH_ODOMETRY if topics.get(GROUND_TRUTH_ODOMETRY) == ODOMETRY else ""
    masks = "" if Path(options.masks).is_dir() else options.masks
    if masks and topics.get(masks) != IMAGE:
        found = ", ".join(sorted(images))
        raise DepthRosError(f"{path} has no label images on '{masks}'; its topics of images: {found}")
    return BagTopics(image, info, right, right_info, depth, depth_info, odometry, masks)


def _select(path: Path, what: str, requested: str, topics: list[str], candidates: list[str]) -> str:
    """The requested topic, raw or compressed, or the only candidate."""
    found = ", ".join(sorted(topics)) or "none"
    if requested:
        for topic in (requested, *(f"{requested}/{transport}" for transport in TRANSPORTS)):
            if topic in topics:
                return topic
        raise DepthRosError(f"{path} has no {what} topic '{requested}'; it has: {found}")
    if len(candidates) == 1:
        return candidates[0]
    option = f"--{what.replace('_', '-')}-topic"
    problem = (
        f"several {what} topics" if candidates else f"no {what} topic named like that of a colour camera"
    )
    raise DepthRosError(f"{path} has {problem}: choose one with {option}: {found}")


def _info_topic(path: Path, image: str, infos: list[str], options: RecordingOptions) -> str:
    """The camera_info beside the image, below it, or the only one."""
    if not infos and not options.camera_info_topic:
        raise DepthRosError(
            f"{path} has no camera_info topic, so its images have no calibration: give a calibration file with "
            "--camera FILE, or the horizontal field of view with --fov DEGREES"
        )
    near = [topic for topic in _info_names(image) if topic in infos]
    return _select(path, "camera_info", options.camera_info_topic, infos, near[:1] or infos)


def _info_names(image: str) -> list[str]:
    """Where the camera_info of an image topic may be, in order."""
    base = _base(image)
    return [f"{base.rsplit('/', 1)[0]}/camera_info", f"{base}/camera_info"]


def _right(
    path: Path, image: str, images: list[str], infos: list[str], options: RecordingOptions
) -> tuple[str, str]:
    """The right image and its camera_info: as requested, or the counterpart of the left one by name."""
    if options.right_topic:
        right = _select(path, "right", options.right_topic, images, [])
    else:
        names = (image.replace(left, right) for left, right in PAIR_WORDS if left in image)
        right = next((name for name in names if name in images), "")
    info = next((topic for topic in _info_names(right) if topic in infos), "") if right else ""
    has_baseline = len(options.cameras) == 2 or (info and not options.cameras and not options.fov)
    if right and not has_baseline:
        if options.right_topic:
            raise DepthRosError(f"the baseline of '{right}' in {path} is unknown: give --camera LEFT RIGHT")
        return "", ""
    return right, info


def _depth(
    path: Path, images: list[str], infos: list[str], topics: Mapping[str, str], options: RecordingOptions
) -> tuple[str, str]:
    """Measured depth and its camera_info: as requested, or the ground truth that `write_bag` writes."""
    if not options.depth_topic:
        return (GROUND_TRUTH_DEPTH, "") if topics.get(GROUND_TRUTH_DEPTH) == IMAGE else ("", "")
    candidates = [*images, *(f"{topic}/compressedDepth" for topic in images)]
    depth = _select(path, "depth", options.depth_topic, candidates, [])
    return depth, next((topic for topic in _info_names(depth) if topic in infos), "")


def _base(topic: str) -> str:
    """An image topic without its image_transport."""
    base, _, last = topic.rpartition("/")
    return base if last in TRANSPORTS else topic


def _camera_topics(topics: list[str]) -> list[str]:
    """One image topic per camera: rectified before raw, uncompressed before compressed, the left one of a pair."""
    colour = [topic for topic in topics if not any(word in topic.lower() for word in _NON_CAMERA_WORDS)]
    best: dict[str, str] = {}  # by namespace
    for topic in sorted(
        colour, key=lambda name: ("/image_rect" not in name, name.split("/")[-1] in TRANSPORTS)
    ):
        best.setdefault(_base(topic).rsplit("/", 1)[0], topic)
    rights = {
        name
        for name in best
        for left, right in PAIR_WORDS
        if name.replace(right, left) in best.keys() - {name}
    }
    return [topic for name, topic in best.items() if name not in rights]
