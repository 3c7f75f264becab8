"""Bags as recordings: frames at random, stamps, partners, calibration from elsewhere, lost parts."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml
from rosbags import rosbag2
from rosbags.typesys import Stores, get_typestore

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.messages.fill import fill_camera_info, fill_depth, fill_header, fill_image
from depth_ros.recordings import RecordingOptions, open_recording, readable
from depth_ros.recordings.bags.writer import default_message

JAZZY = get_typestore(Stores.ROS2_JAZZY)
WIDTH, HEIGHT = 40, 30
CAMERA = Camera.pinhole(WIDTH, HEIGHT, 50.0, 50.0, 19.5, 14.5)
START = 1_700_000_000 * 10**9


def message(kind: str, stamp: int, frame_id: str = "cam"):
    made = default_message(JAZZY, f"sensor_msgs/msg/{kind}")
    fill_header(made.header, stamp, frame_id)
    return made


def image(index: int, stamp: int | None = None, frame_id: str = "cam"):
    made = message("Image", START + index * 10**8 if stamp is None else stamp, frame_id)
    fill_image(made, np.full((HEIGHT, WIDTH, 3), index, np.uint8), "rgb8")
    return made


def info(stamp: int = START, frame_id: str = "cam", camera: Camera = CAMERA):
    made = message("CameraInfo", stamp, frame_id)
    fill_camera_info(made, camera)
    return made


def depth(value: float, stamp: int, frame_id: str = "cam", size: tuple[int, int] = (WIDTH, HEIGHT)):
    made = message("Image", stamp, frame_id)
    fill_depth(made, np.full(size[::-1], value, np.float32), "32FC1")
    return made


def write(path, content, **options):
    """Write a bag. content: (topic, message); the times of recording are 0.1 s apart for images of one number."""
    plugin = options.pop("storage", rosbag2.StoragePlugin.MCAP)
    writer = rosbag2.Writer(path, version=9, storage_plugin=plugin)
    if options:
        writer.set_compression(**options)
    with writer:
        connections = {}
        for number, (topic, made) in enumerate(content):
            kind = made.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=JAZZY)
            writer.write(connections[topic], START + number * 10**7, JAZZY.serialize_cdr(made, kind))
    return path


def values(recording) -> list[int]:
    return [int(sample.left.image[0, 0, 0]) for _, sample in readable(recording)]


@pytest.mark.parametrize("storage", [rosbag2.StoragePlugin.MCAP, rosbag2.StoragePlugin.SQLITE3])
def test_frames_are_read_at_random(tmp_path, storage):
    content = [("/cam/camera_info", info()), *(("/cam/image_raw", image(i)) for i in range(30))]
    recording = open_recording(write(tmp_path / "bag", content, storage=storage))
    for index in (0, 29, 3, 4, 5, 20, 7, 0, 1, 28, -1):
        assert recording[index].left.image[0, 0, 0] == index % 30
    assert recording.rate == pytest.approx(10)
    assert recording.camera_source == "/cam/camera_info"


def test_frames_with_the_same_time_of_recording_are_told_apart(tmp_path):
    with rosbag2.Writer(tmp_path / "bag", version=9, storage_plugin=rosbag2.StoragePlugin.MCAP) as writer:
        for topic, made in [("/cam/camera_info", info()), *(("/cam/image_raw", image(i)) for i in range(4))]:
            known = {c.topic: c for c in writer.connections}
            connection = known.get(topic) or writer.add_connection(topic, made.__msgtype__, typestore=JAZZY)
            writer.write(connection, START, JAZZY.serialize_cdr(made, made.__msgtype__))
    recording = open_recording(tmp_path / "bag")
    assert [int(recording[i].left.image[0, 0, 0]) for i in (3, 1, 2, 0)] == [3, 1, 2, 0]


def test_time_of_recording_replaces_stamps_of_zero_and_is_reported_once(tmp_path, caplog):
    content = [("/cam/camera_info", info()), *(("/cam/image_raw", image(i, stamp=0)) for i in range(5))]
    recording = open_recording(write(tmp_path / "bag", content))
    assert np.diff(recording.stamps).tolist() == [10**7] * 4
    assert values(recording) == [0, 1, 2, 3, 4]
    assert caplog.text.count("5 of 5 images of /cam/image_raw have no stamp (0)") == 1


def test_partners_are_matched_within_the_tolerance(tmp_path):
    content = []
    for i in range(6):
        late = 3_000_000 if i != 2 else 40_000_000
        content += [
            ("/s/left/image_raw", image(i)), ("/s/left/camera_info", info(START + i * 10**8)),
            ("/s/right/image_raw", image(100 + i, START + i * 10**8 + late)),
            ("/s/right/camera_info", info(START + i * 10**8 + late)),
        ]  # fmt: skip
    write(tmp_path / "bag", content)
    right = [
        sample.right and int(sample.right.image[0, 0, 0])
        for _, sample in readable(open_recording(tmp_path / "bag"))
    ]
    assert right == [100, 101, None, 103, 104, 105]
    strict = open_recording(tmp_path / "bag", RecordingOptions(sync_tolerance=0.001))
    assert all(sample.right is None for _, sample in readable(strict))
    assert not strict.contents.pairs


def test_pair_without_a_known_baseline_is_no_pair(tmp_path):
    """One calibration file or a field of view replaces both camera_info, and says nothing of the baseline."""
    right = Camera.pinhole(WIDTH, HEIGHT, 50.0, 50.0, 19.5, 14.5, 0.12)
    content = [
        ("/s/left/image_raw", image(0)), ("/s/left/camera_info", info()),
        ("/s/right/image_raw", image(1, START)), ("/s/right/camera_info", info(camera=right)),
    ]  # fmt: skip
    write(tmp_path / "bag", content)
    (tmp_path / "c.yaml").write_text("width: 40\nheight: 30\nfx: 44\nfy: 44\ncx: 19.5\ncy: 14.5\n")
    assert open_recording(tmp_path / "bag")[0].right is not None
    for options in (RecordingOptions(fov=70.0), RecordingOptions(cameras=(tmp_path / "c.yaml",))):
        recording = open_recording(tmp_path / "bag", options)
        assert recording[0].right is None and not recording.contents.pairs
    with pytest.raises(
        DepthRosError, match=r"baseline of '/s/right/image_raw' .* is unknown: give --camera LEFT RIGHT"
    ):
        open_recording(tmp_path / "bag", RecordingOptions(fov=70.0, right_topic="/s/right/image_raw"))


def test_bag_without_camera_info_takes_a_calibration_file_or_a_field_of_view(tmp_path):
    write(tmp_path / "bag", [("/cam/image_raw", image(i)) for i in range(3)])
    with pytest.raises(DepthRosError, match=r"no camera_info topic.*--camera FILE.*--fov DEGREES"):
        open_recording(tmp_path / "bag")
    (tmp_path / "c.yaml").write_text("width: 40\nheight: 30\nfx: 44\nfy: 44\ncx: 19.5\ncy: 14.5\n")
    given = open_recording(tmp_path / "bag", RecordingOptions(cameras=(tmp_path / "c.yaml",)))
    assert given[2].left.camera.fx == 44.0
    assert open_recording(tmp_path / "bag", RecordingOptions(fov=90.0))[0].left.camera.fx == pytest.approx(20)


def test_camera_info_of_another_camera_is_refused_unless_named(tmp_path):
    write(tmp_path / "bag", [("/cam/camera_info", info(frame_id="other")), ("/cam/image_raw", image(0))])
    with pytest.raises(
        DepthRosError, match=r"are of 'cam', but /cam/camera_info is of 'other'.*--camera-info-topic"
    ):
        open_recording(tmp_path / "bag")
    named = RecordingOptions(camera_info_topic="/cam/camera_info")
    assert values(open_recording(tmp_path / "bag", named)) == [0]


@pytest.mark.parametrize("topics", [("/air/front/Scene", "/air/front/Scene/camera_info"),
                                    ("/cam/image_raw", "/cam/camera_info")])  # fmt: skip
def test_camera_info_is_found_beside_or_below_the_image(tmp_path, topics):
    other = ("/air/bottom/Scene", image(9)), ("/air/bottom/Scene/camera_info", info())
    write(tmp_path / "bag", [(topics[0], image(0)), (topics[1], info()), *other])
    recording = open_recording(tmp_path / "bag", RecordingOptions(image_topic=topics[0]))
    assert recording.camera_source == topics[1]


def test_measured_depth_is_resampled_to_the_colour_camera(tmp_path):
    """A depth camera at the same place, half as wide a view: the centre has depth, the border none."""
    narrow = Camera.pinhole(20, 15, 50.0, 50.0, 9.5, 7.0)
    content = [
        ("/c/image_raw", image(0)), ("/c/camera_info", info()),
        ("/d/image", depth(2.5, START + 5_000_000, size=(20, 15))), ("/d/camera_info", info(camera=narrow)),
    ]  # fmt: skip
    write(tmp_path / "bag", content)
    options = RecordingOptions(image_topic="/c/image_raw", depth_topic="/d/image")
    recording = open_recording(tmp_path / "bag", options)
    found = recording[0].depth
    assert recording.contents.depth
    assert found.shape == (HEIGHT, WIDTH)
    assert found[15, 20] == 2.5 and np.isnan(found[:, :9]).all() and np.isfinite(found).sum() == 300
    assert open_recording(tmp_path / "bag", RecordingOptions(image_topic="/c/image_raw"))[0].depth is None


def static_transform(parent: str, child: str, x: float):
    """/tf_static: the child is x m to the right of the parent."""
    made, transform = (
        default_message(JAZZY, kind)
        for kind in ("tf2_msgs/msg/TFMessage", "geometry_msgs/msg/TransformStamped")
    )
    fill_header(transform.header, START, parent)
    transform.child_frame_id = child
    transform.transform.translation.x, transform.transform.rotation.w = x, 1.0
    made.transforms = [transform]
    return made


def test_depth_of_another_frame_is_projected_by_the_static_transforms(tmp_path):
    """A depth camera 0.12 m to the right: points at 1 m appear 6 px, those at 2 m 3 px farther right."""
    seen = depth(2.0, START, "depth_frame")
    half = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    half[:, :20], half[0] = 1.0, np.nan
    fill_depth(seen, half, "32FC1")
    content = [
        ("/tf_static", static_transform("base", "cam", 0.5)),
        ("/tf_static", static_transform("base", "depth_frame", 0.62)),
        ("/c/image_raw", image(0)), ("/c/camera_info", info()),
        ("/d/image", seen), ("/d/camera_info", info(frame_id="depth_frame")),
    ]  # fmt: skip
    write(tmp_path / "bag", content)
    options = RecordingOptions(image_topic="/c/image_raw", depth_topic="/d/image")
    found = open_recording(tmp_path / "bag", options)[0].depth
    assert np.isnan(found[:, :6]).all() and np.isnan(found[0]).all()
    assert (found[1:, 6:26] == 1).all(), "nearer points cover farther ones"
    assert (found[1:, 26:] == 2).all()


def test_frames_that_differ_by_a_leading_slash_are_the_same(tmp_path):
    content = [
        ("/c/image_raw", image(0, frame_id="/cam")), ("/c/camera_info", info(frame_id="/cam")),
        ("/d/image", depth(1.0, START, "/cam")), ("/d/camera_info", info(frame_id="cam")),
    ]  # fmt: skip
    write(tmp_path / "bag", content)
    options = RecordingOptions(image_topic="/c/image_raw", depth_topic="/d/image")
    assert (open_recording(tmp_path / "bag", options)[0].depth == 1).all()


def test_enlarged_depth_of_another_frame_has_no_holes(tmp_path):
    small = Camera.pinhole(16, 12, 20.0, 20.0, 7.5, 5.5)
    content = [
        ("/tf_static", static_transform("cam", "depth_frame", 0.0)),
        ("/c/image_raw", image(0)), ("/c/camera_info", info()),
        ("/d/image", depth(3.0, START, "depth_frame", (16, 12))),
        ("/d/camera_info", info(frame_id="depth_frame", camera=small)),
    ]  # fmt: skip
    write(tmp_path / "bag", content)
    options = RecordingOptions(image_topic="/c/image_raw", depth_topic="/d/image")
    assert (open_recording(tmp_path / "bag", options)[0].depth == 3).all()


def test_depth_is_not_projected_by_a_transform_that_was_not_filled_in(tmp_path):
    broken = static_transform("cam", "depth_frame", 0.1)
    broken.transforms[0].transform.rotation.w = 0.0
    content = [
        ("/tf_static", broken), ("/c/image_raw", image(0)), ("/c/camera_info", info()),
        ("/d/image", depth(1.0, START, "depth_frame")), ("/d/camera_info", info(frame_id="depth_frame")),
    ]  # fmt: skip
    write(tmp_path / "bag", content)
    options = RecordingOptions(image_topic="/c/image_raw", depth_topic="/d/image")
    with pytest.raises(DepthRosError, match="has no transform between them"):
        _ = open_recording(tmp_path / "bag", options)[0]


def test_depth_of_another_frame_without_a_transform_is_refused(tmp_path):
    content = [
        ("/c/image_raw", image(0)), ("/c/camera_info", info()),
        ("/d/image", depth(1.0, START, "depth_frame")), ("/d/camera_info", info(frame_id="depth_frame")),
    ]  # fmt: skip
    write(tmp_path / "bag", content)
    options = RecordingOptions(image_topic="/c/image_raw", depth_topic="/d/image")
    with pytest.raises(DepthRosError, match=r"of 'depth_frame', the colour images of 'cam'.*align_depth"):
        _ = open_recording(tmp_path / "bag", options)[0]


@pytest.mark.parametrize(
    "kind", ["file", "file, no metadata", "message", "message, no metadata", "no identifier"]
)
def test_compressed_bags_with_and_without_metadata(tmp_path, kind):
    content = [("/cam/camera_info", info()), *(("/cam/image_raw", image(i)) for i in range(5))]
    mode = {"file": rosbag2.CompressionMode.FILE, "message": rosbag2.CompressionMode.MESSAGE}.get(
        kind.split(",")[0]
    )
    options = {"mode": mode, "fmt": rosbag2.CompressionFormat.ZSTD} if mode else {}
    path = write(tmp_path / "bag", content, storage=rosbag2.StoragePlugin.SQLITE3, **options)
    metadata = path / "metadata.yaml"
    if "no metadata" in kind:
        metadata.unlink()
    if kind == "no identifier":
        metadata.write_text(
            metadata.read_text().replace("storage_identifier: sqlite3", "storage_identifier: ''")
        )
    recording = open_recording(path)
    assert values(recording) == [0, 1, 2, 3, 4]
    assert not recording.damage


def test_lost_part_of_a_split_bag_is_named_and_the_others_are_read(tmp_path):
    folder = tmp_path / "bag"
    folder.mkdir()
    for part in range(3):
        content = [("/cam/camera_info", info()), *(("/cam/image_raw", image(4 * part + i)) for i in range(4))]
        shutil.move(write(tmp_path / f"p{part}", content) / f"p{part}.mcap", folder / f"bag_{part}.mcap")
    metadata = yaml.safe_load((tmp_path / "p0/metadata.yaml").read_text())
    metadata["rosbag2_bagfile_information"]["relative_file_paths"] = [f"bag_{part}.mcap" for part in range(3)]
    (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    (folder / "bag_1.mcap").unlink()
    recording = open_recording(folder)
    assert values(recording) == [0, 1, 2, 3, 8, 9, 10, 11]
    assert recording.damage == [f"{folder}/bag_1.mcap is missing: its frames are lost"]


def test_changing_camera_info_applies_from_its_stamp_on(tmp_path):
    zoomed = Camera.pinhole(WIDTH, HEIGHT, 80.0, 80.0, 19.5, 14.5)
    content = []
    for i in range(6):
        stamp = START + i * 10**8
        content += [
            ("/cam/camera_info", info(stamp, camera=zoomed if i >= 3 else CAMERA)),
            ("/cam/image_raw", image(i)),
        ]
    recording = open_recording(write(tmp_path / "bag", content))
    assert [recording[i].left.camera.fx for i in (5, 0, 3, 2)] == [80, 50, 80, 50]


def test_frames_keep_their_frame_id_and_stamp(tmp_path):
    write(tmp_path / "bag", [("/cam/camera_info", info()), ("/cam/image_raw", image(7))])
    frame: Frame = open_recording(tmp_path / "bag")[0].left
    assert (frame.frame_id, frame.stamp) == ("cam", START + 7 * 10**8)
