"""Exact round trips of bags, bags written by other software, and truncated bags."""

from __future__ import annotations

import random
import shutil
import sqlite3

import cv2
import numpy as np
import pytest
import yaml
from rosbags import rosbag1, rosbag2
from rosbags.typesys import Stores, get_typestore

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.geometry import T_BODY_OPTICAL, inverse, pose_from
from depth_ros.messages.fill import fill_camera_info, fill_depth, fill_header, fill_image
from depth_ros.recordings import Contents, RecordingOptions, Sample, open_recording, readable
from depth_ros.recordings.bags import BagRecording, write_bag
from depth_ros.recordings.bags.recovery import recover
from depth_ros.recordings.bags.writer import default_message

WIDTH, HEIGHT = 160, 90
JAZZY, NOETIC = get_typestore(Stores.ROS2_JAZZY), get_typestore(Stores.ROS1_NOETIC)


class RandomFolder:
    """A recording of random pixels. Every second frame has depth; the camera rotates and translates."""

    layout, rate, camera_source, damage = "random", 10.0, "made for tests", ()
    contents = Contents(pairs=True, depth=True, poses=True)

    def __init__(self, count: int = 30, stereo: bool = False) -> None:
        self.count, self.stereo = count, stereo
        self.names = [str(index) for index in range(count)]
        self.stamps = [1403715273262142976 + index * 50_000_001 for index in range(count)]
        self.camera = Camera.pinhole(WIDTH, HEIGHT, 130.0, 131.0, 80.5, 44.25)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        stamp = 1403715273262142976 + index * 50_000_001
        left, right = (rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(2))
        depth = rng.uniform(0.3, 80, (HEIGHT, WIDTH)).astype(np.float32)
        depth[rng.random(depth.shape) < 0.2] = np.nan
        K = np.array([[128.0, 0, 79], [0, 129, 45], [0, 0, 1]])
        R = cv2.Rodrigues(np.array([0.01, 0.02, -0.03]))[0]
        P = np.hstack([self.camera.K, [[-130 * 0.25], [0], [0]]])
        raw = Camera(WIDTH, HEIGHT, K, P, R, (-0.28, 0.07, 2e-4, 1e-5))
        right_frame = Frame(stamp, "right_optical_frame", right, raw) if self.stereo else None
        frame_id = "left_optical_frame" if self.stereo else "camera_optical_frame"
        T = pose_from(np.array([1.0, 2.0, 3.0 + index]), np.array([0.1 * index, 0.2, 0.3, 0.9]))
        left_frame = Frame(stamp, frame_id, left, self.camera)
        return Sample(str(stamp), left_frame, right_frame, depth if index % 2 else None, T)


def assert_same(read: Sample, written: Sample) -> None:
    assert (read.right is None) == (written.right is None)
    assert (read.depth is None) == (written.depth is None)
    for a, b in ((read.left, written.left), (read.right, written.right)):
        if b is not None:
            assert (a.stamp, a.frame_id) == (b.stamp, b.frame_id)
            assert np.array_equal(a.image, b.image)
            assert all(np.array_equal(getattr(a.camera, m), getattr(b.camera, m)) for m in "KRP")
            assert not np.any(b.camera.distortion) or tuple(a.camera.distortion) == b.camera.distortion
    if written.depth is not None:
        assert np.array_equal(read.depth, written.depth, equal_nan=True)


def read_intact(path, **topics) -> list[Sample]:
    with BagRecording(path, RecordingOptions(**topics)) as bag:
        samples = list(bag)
        assert len(samples) == len(bag)
        assert not bag.damage
    return samples


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("stereo", [False, True])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_round_trip_is_exact(tmp_path, storage, stereo, compressed):
    folder = RandomFolder(stereo=stereo)
    write_bag(folder, tmp_path / "bag", storage, compressed)
    samples = read_intact(tmp_path / "bag")
    assert len(samples) == len(folder)
    for index, sample in enumerate(samples):
        written = folder[index]
        assert_same(sample, written)
        # base_link of the first frame is the origin of odom
        T = inverse(folder[0].T_world_camera @ inverse(T_BODY_OPTICAL)) @ written.T_world_camera
        assert np.allclose(sample.T_world_camera, T, atol=1e-12)
    file = next((tmp_path / "bag").glob("bag.*"))
    assert [s.left.stamp for s in read_intact(file)] == [s.left.stamp for s in samples]


@pytest.mark.parametrize(("stereo", "expected"), [
    (False, {"/camera/image_raw", "/camera/camera_info"}),
    (True, {f"/stereo/{side}/{name}" for side in ("left", "right") for name in ("image_raw", "camera_info")}),
])  # fmt: skip
def test_topics_types_and_frames(tmp_path, stereo, expected):
    write_bag(RandomFolder(4, stereo), tmp_path / "bag")
    with rosbag2.Reader(tmp_path / "bag") as reader:
        topics = {connection.topic: connection for connection in reader.connections}
        raw = {c.topic: bytes(data) for c, _, data in reader.messages()}
        times = {time for _, time, _ in reader.messages()}
    ground_truth = {"depth/image_rect", "depth/camera_info", "odometry"}
    assert set(topics) == expected | {"/tf_static"} | {f"/ground_truth/{name}" for name in ground_truth}
    assert times == {RandomFolder()[i].left.stamp for i in range(4)}
    static = topics["/tf_static"]
    assert static.ext.offered_qos_profiles[0].durability.name == "TRANSIENT_LOCAL"
    transforms = JAZZY.deserialize_cdr(raw["/tf_static"], static.msgtype).transforms
    assert [t.header.frame_id for t in transforms] == ["base_link"] * len(transforms)
    for transform, baseline in zip(transforms, (0.0, 0.25), strict=False):
        p, q = transform.transform.translation, transform.transform.rotation
        T = pose_from(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))
        assert np.allclose(T[:3, :3] @ [0, 0, 1], [1, 0, 0])  # the camera looks along +x
        assert np.allclose(T[:3, 3], [0, -baseline, 0])  # and the right camera is to the right, -y
    assert len(transforms) == 1 + stereo
    odometry = JAZZY.deserialize_cdr(raw["/ground_truth/odometry"], "nav_msgs/msg/Odometry")
    assert (odometry.header.frame_id, odometry.child_frame_id) == ("odom", "base_link")
    image = JAZZY.deserialize_cdr(raw["/ground_truth/depth/image_rect"], "sensor_msgs/msg/Image")
    assert image.encoding == "32FC1"


def test_forward_motion_is_along_x(tmp_path):
    class Forward(RandomFolder):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            world = pose_from(np.array([5.0, 6.0, 7.0]), np.array([0.3, 0.1, -0.2, 0.7]))
            ahead = pose_from(np.array([0.0, 0.0, 2.0 * index]), np.array([0.0, 0.0, 0.0, 1.0]))
            return Sample(sample.name, sample.left, T_world_camera=world @ ahead)

    write_bag(Forward(3), tmp_path / "bag")
    positions = [sample.T_world_camera[:3, 3] for sample in read_intact(tmp_path / "bag")]
    assert np.allclose(positions, [[0, 0, 0], [2, 0, 0], [4, 0, 0]], atol=1e-12)


@pytest.mark.parametrize("name", ["kitti2015_stereo", "tum_fr1_rpy", "euroc_v1_01", "hololens_office"])
def test_recorded_data_round_trip(data_root, tmp_path, name):
    if not (data_root / name).is_dir():
        pytest.skip(f"{data_root} has no {name}")
    folder = open_recording(data_root / name)

    class FirstFrames:
        layout, rate = folder.layout, folder.rate
        __len__ = staticmethod(lambda: 3)
        __getitem__ = staticmethod(lambda index: folder[index])

    write_bag(FirstFrames(), tmp_path / "bag")
    samples = read_intact(tmp_path / "bag")
    for index in range(3):
        assert_same(samples[index], folder[index])


def test_failed_write_leaves_no_bag(tmp_path):
    with pytest.raises(DepthRosError, match="storage is 'zip'; allowed: mcap, sqlite3"):
        write_bag(RandomFolder(), tmp_path / "bag", "zip")

    class DamagedFolder(RandomFolder):
        def __getitem__(self, index):
            if index == 3:
                raise DepthRosError("image 3 is damaged")
            return super().__getitem__(index)

    for storage in ("mcap", "sqlite3"):
        with pytest.raises(DepthRosError, match="image 3 is damaged"):
            write_bag(DamagedFolder(), tmp_path / "bag", storage)
        assert not (tmp_path / "bag").exists()
    write_bag(RandomFolder(1), tmp_path / "bag")
    with pytest.raises(DepthRosError, match="already exists"):
        write_bag(RandomFolder(1), tmp_path / "bag")
    assert len(read_intact(tmp_path / "bag")) == 1


# Bags of other software: topics are detected, messages are in any order


def message_of(types, kind, stamp, frame_id="cam"):
    message = default_message(types, kind)
    fill_header(message.header, stamp, frame_id)
    return message


def image_of(types, frame, stamp=None):
    message = message_of(types, "sensor_msgs/msg/Image", frame.stamp if stamp is None else stamp)
    fill_image(message, frame.image[..., ::-1], "bgr8")
    return message


def info_of(frame, stamp=None):
    message = message_of(JAZZY, "sensor_msgs/msg/CameraInfo", frame.stamp if stamp is None else stamp)
    fill_camera_info(message, frame.camera)
    return message


def write_messages(path, content) -> None:
    """Write a bag. content: (topic, log time, message) in order."""
    with rosbag2.Writer(path, version=9, storage_plugin=rosbag2.StoragePlugin.MCAP) as writer:
        connections = {}
        for topic, time, message in content:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=JAZZY)
            writer.write(connections[topic], time, JAZZY.serialize_cdr(message, kind))


def write_topics(path, *topics) -> None:
    """Write a bag with one image or camera_info on each topic."""
    frame = RandomFolder()[0].left
    write_messages(path, [
        (topic, 1, info_of(frame) if topic.endswith("camera_info") else image_of(JAZZY, frame))
        for topic in topics
    ])  # fmt: skip


@pytest.mark.parametrize(("topics", "image", "info"), [
    (["/a/image_raw", "/a/camera_info", "/b/camera_info"], "/a/image_raw", "/a/camera_info"),
    (["/a/image_raw", "/a/image_rect", "/a/camera_info"], "/a/image_rect", "/a/camera_info"),
    (["/a/left/image_raw", "/a/right/image_raw", "/a/left/camera_info", "/a/right/camera_info"],
     "/a/left/image_raw", "/a/left/camera_info"),
    (["/cam/color/image_raw", "/cam/depth/image_rect_raw", "/cam/color/camera_info",
      "/cam/depth/camera_info"],
     "/cam/color/image_raw", "/cam/color/camera_info"),
    (["/photo", "/elsewhere/camera_info"], "/photo", "/elsewhere/camera_info"),
])  # fmt: skip
def test_camera_topics_are_detected(tmp_path, topics, image, info):
    write_topics(tmp_path / "bag", *topics)
    with BagRecording(tmp_path / "bag") as bag:
        assert (bag.topics.image, bag.topics.camera_info) == (image, info)
        assert (next(iter(bag)).right is None) == ("/a/right/image_raw" not in topics)


def test_missing_and_ambiguous_topics_are_reported(tmp_path):
    write_topics(tmp_path / "two", "/a/image_raw", "/b/image_raw", "/a/camera_info", "/b/camera_info")
    with (
        pytest.raises(DepthRosError, match=r"several image topics.*/a/image_raw, /b/image_raw"),
        BagRecording(tmp_path / "two"),
    ):
        pass
    with BagRecording(tmp_path / "two", RecordingOptions(image_topic="/b/image_raw")) as bag:
        assert bag.topics.camera_info == "/b/camera_info"
        assert len(list(bag)) == 1
    with (
        pytest.raises(DepthRosError, match=r"no image topic '/c'; it has: /a/image_raw"),
        BagRecording(tmp_path / "two", RecordingOptions(image_topic="/c")),
    ):
        pass
    write_topics(tmp_path / "none", "/a/camera_info")
    with (
        pytest.raises(DepthRosError, match="no image topic; its topics: /a/camera_info"),
        BagRecording(tmp_path / "none"),
    ):
        pass
    write_topics(tmp_path / "no_info", "/a/image_raw")
    with pytest.raises(DepthRosError, match="no camera_info topic"), BagRecording(tmp_path / "no_info"):
        pass


def test_late_ground_truth_and_a_single_camera_info_are_used(tmp_path):
    """Depth is logged three frames after its image, and camera_info once, in the middle."""
    folder, content = RandomFolder(12), []
    for i in range(12):
        sample, depth = folder[i], message_of(JAZZY, "sensor_msgs/msg/Image", folder[i].left.stamp)
        content.append(("/cam/image_raw", 10 * i, image_of(JAZZY, sample.left)))
        if sample.depth is not None:
            fill_depth(depth, sample.depth, "32FC1")
            content.append(("/ground_truth/depth/image_rect", 10 * i + 35, depth))
    content.append(("/cam/camera_info", 65, info_of(folder[0].left)))
    write_messages(tmp_path / "bag", sorted(content, key=lambda entry: entry[1]))
    samples = read_intact(tmp_path / "bag")
    assert len(samples) == 12
    for i, sample in enumerate(samples):
        assert np.array_equal(sample.left.image, folder[i].left.image)
        assert (sample.depth is None) == (i % 2 == 0)
        assert i % 2 == 0 or np.array_equal(sample.depth, folder[i].depth, equal_nan=True)


def test_image_rect_has_the_rectified_camera(tmp_path):
    frame = RandomFolder(stereo=True)[0].right
    write_messages(tmp_path / "bag", [
        ("/cam/image_rect", 1, image_of(JAZZY, frame)), ("/cam/camera_info", 1, info_of(frame))
    ])  # fmt: skip
    camera = read_intact(tmp_path / "bag")[0].left.camera
    assert camera.is_rectified
    assert camera.fx == 130.0


def write_ros1(path, compression=None, jpeg=False) -> RandomFolder:
    folder = RandomFolder(12)
    writer = rosbag1.Writer(path)
    writer.chunk_threshold = 100_000
    if compression:
        writer.set_compression(compression)
    with writer:
        kind = "sensor_msgs/msg/CompressedImage" if jpeg else "sensor_msgs/msg/Image"
        topic = "/cam/image_raw/compressed" if jpeg else "/cam/image_raw"
        images = writer.add_connection(topic, kind, typestore=NOETIC)
        infos = writer.add_connection("/cam/camera_info", "sensor_msgs/msg/CameraInfo", typestore=NOETIC)
        for frame in (folder[i].left for i in range(len(folder))):
            info = message_of(NOETIC, "sensor_msgs/msg/CameraInfo", frame.stamp)
            info.width, info.height, info.distortion_model = WIDTH, HEIGHT, "plumb_bob"
            info.K, info.R, info.P = frame.camera.K.ravel(), np.eye(3).ravel(), frame.camera.P.ravel()
            writer.write(infos, frame.stamp, NOETIC.serialize_ros1(info, info.__msgtype__))
            image = message_of(NOETIC, kind, frame.stamp) if jpeg else image_of(NOETIC, frame)
            if jpeg:
                image.format, image.data = "jpeg", cv2.imencode(".jpg", frame.image[..., ::-1])[1].ravel()
            writer.write(images, frame.stamp, NOETIC.serialize_ros1(image, kind))
    return folder


COMPRESSIONS = (None, rosbag1.Writer.CompressionFormat.BZ2, rosbag1.Writer.CompressionFormat.LZ4)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_ros1_bag(tmp_path, compression):
    folder = write_ros1(tmp_path / "old.bag", compression)
    samples = read_intact(tmp_path / "old.bag")
    assert len(samples) == len(folder)
    for i, sample in enumerate(samples):
        assert np.array_equal(sample.left.image, folder[i].left.image)
        assert sample.left.stamp == folder[i].left.stamp
        assert np.array_equal(sample.left.camera.K, folder.camera.K)


def test_ros1_bag_with_jpeg_images(tmp_path):
    folder = write_ros1(tmp_path / "old.bag", jpeg=True)
    first = read_intact(tmp_path / "old.bag")[0].left.image.astype(int)
    stored = cv2.imdecode(cv2.imencode(".jpg", folder[0].left.image[..., ::-1])[1], cv2.IMREAD_COLOR)
    assert np.array_equal(first, stored[..., ::-1])


# Damaged bags: every intact frame, and what is damaged


def read_damaged(path) -> tuple[list[Sample], str]:
    """The readable samples and the damage; no sample and the error if nothing can be read."""
    try:
        with BagRecording(path) as bag:
            samples = [sample for _, sample in readable(bag)]
            return samples, "\n".join(bag.damage)
    except DepthRosError as error:
        return [], str(error)


@pytest.mark.parametrize("fraction", [0.08, 0.25, 0.5, 0.75, 0.999])
@pytest.mark.parametrize(("storage", "suffix"), [("mcap", "mcap"), ("sqlite3", "db3")])
@pytest.mark.parametrize("compressed", [False, True])
def test_truncated_rosbag2_yields_every_intact_frame(tmp_path, storage, suffix, compressed, fraction):
    folder = RandomFolder(60)
    write_bag(folder, tmp_path / "bag", storage, compressed)
    file = tmp_path / f"bag/bag.{suffix}"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * fraction)])
    for no_metadata in (False, True):
        if no_metadata:
            (tmp_path / "bag/metadata.yaml").unlink()
        samples, error = read_damaged(tmp_path / "bag")
        assert int(60 * fraction) - 3 <= len(samples) <= int(60 * fraction) + 2
        for i, sample in enumerate(samples):
            assert np.array_equal(sample.left.image, folder[i].left.image)
            assert sample.depth is None or np.array_equal(sample.depth, folder[i].depth, equal_nan=True)
        assert str(tmp_path / "bag") in error
        assert ("ros2 bag reindex" if suffix == "db3" else "mcap recover") in error


def test_last_complete_message_of_a_truncated_chunk_is_read(tmp_path):
    """Truncated right after the pixels of the sixth image, the bag has six images; one byte earlier, five."""
    folder = RandomFolder(8)
    write_bag(folder, tmp_path / "bag", "mcap")
    file = tmp_path / "bag/bag.mcap"
    data = file.read_bytes()
    pixels = folder[5].left.image.tobytes()
    end = data.index(pixels) + len(pixels)
    for length, expected in ((end, 6), (end - 1, 5)):
        file.write_bytes(data[:length])
        assert len(read_damaged(file)[0]) == expected


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.99])
def test_truncated_ros1_bag_yields_intact_frames(tmp_path, compression, fraction):
    folder = write_ros1(tmp_path / "old.bag", compression)
    data = (tmp_path / "old.bag").read_bytes()
    (tmp_path / "old.bag").write_bytes(data[: int(len(data) * fraction)])
    samples, error = read_damaged(tmp_path / "old.bag")
    assert int(12 * fraction) - 6 < len(samples) <= 12
    assert samples
    assert all(np.array_equal(s.left.image, folder[i].left.image) for i, s in enumerate(samples))
    assert "rosbag reindex" in error


def test_split_bag_of_a_killed_recorder(tmp_path):
    """No metadata.yaml and three consecutive files, the last of which is truncated."""
    bag = tmp_path / "bag"
    bag.mkdir()
    for part, name in enumerate(("bag_2", "bag_9", "bag_10")):

        class Part(RandomFolder):
            def __getitem__(self, index, part=part):
                return super().__getitem__(index + 5 * part)

        write_bag(Part(5), tmp_path / name)
        shutil.move(tmp_path / name / f"{name}.mcap", bag)
    file = bag / "bag_10.mcap"
    file.write_bytes(file.read_bytes()[:-400_00])
    samples, error = read_damaged(bag)
    stamps = [sample.left.stamp for sample in samples]
    assert stamps == [RandomFolder()[i].left.stamp for i in range(len(samples))]
    assert 10 < len(samples) <= 15
    assert "bag_10.mcap is truncated or damaged" in error
    assert "bag_9" not in error


def test_damaged_chunk_with_an_intact_index(tmp_path):
    """A damaged byte in a compressed chunk: the frames before it are read."""
    path = tmp_path / "old.bag"
    write_ros1(path, rosbag1.Writer.CompressionFormat.BZ2)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    samples, error = read_damaged(path)
    assert 2 <= len(samples) < 12
    assert "truncated or damaged" in error


@pytest.mark.parametrize("suffix", ["mcap", "db3", "bag"])
def test_random_damage_raises_nothing_but_depth_ros_error(tmp_path, suffix):
    """Files truncated at random and with random bytes: samples, or a DepthRosError; the file is named."""
    rng = random.Random(1)
    if suffix == "bag":
        write_ros1(tmp_path / "x.bag")
        file = tmp_path / "x.bag"
    else:
        write_bag(RandomFolder(6), tmp_path / "x", {"db3": "sqlite3"}.get(suffix, suffix))
        file = tmp_path / f"x/x.{suffix}"
    data = file.read_bytes()
    for _ in range(25):
        damaged = bytearray(data[: rng.randrange(len(data))])
        for _ in range(rng.choice((0, 3))):
            if damaged:
                damaged[rng.randrange(min(len(damaged), 2000))] = rng.randrange(256)
        file.write_bytes(damaged)
        _, error = read_damaged(file)
        assert str(file) in error


def test_files_that_are_not_bags_are_rejected(tmp_path):
    with pytest.raises(DepthRosError, match="no recording"):
        open_recording(tmp_path / "nothing")
    for name in ("notes.txt", "empty.mcap", "empty.db3", "empty.bag"):
        (tmp_path / name).write_bytes(b"hello" if name == "notes.txt" else b"")
        with pytest.raises(DepthRosError, match="is not a readable bag"), BagRecording(tmp_path / name):
            pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(DepthRosError, match="is no recording"):
        open_recording(tmp_path / "folder")


def test_recovery_from_sqlite_pages(tmp_path):
    """5000 rows with sizes around the overflow limits: page by page, all rows but those in missing pages are found."""
    write_bag(RandomFolder(1), tmp_path / "bag", "sqlite3")
    file = tmp_path / "bag/bag.db3"
    database = sqlite3.connect(file)
    rng = random.Random(2)
    rows = [
        (rng.choice((1, 2)), 10**18 + i, rng.randbytes(rng.choice((0, 1, rng.randrange(4030, 4070), 9000))))
        for i in range(5000)
    ]
    with database:
        database.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", rows)
    expected = [bytes(data) for (data,) in database.execute("SELECT data FROM messages ORDER BY id")]
    database.close()
    data = file.read_bytes()
    assert [content for *_, content in recover(file)] == expected  # read by SQLite
    file.write_bytes(data[: len(data) - 4096])
    found = [content for *_, content in recover(file)]  # SQLite fails; page by page
    assert len(found) >= len(expected) - 10
    assert set(found) <= set(expected)
    file.write_bytes(data[: int(0.6 * len(data))])
    assert len(list(recover(file))) > 0.55 * len(expected)
    # a damaged page in the middle: SQLite reads up to it, then page by page, and no row is found twice
    leaf = next(at for at in range(len(data) // 8192 * 4096, len(data), 4096) if data[at] == 13)
    file.write_bytes(data[:leaf] + b"\xff" + data[leaf + 1 :])
    assert len(expected) - 12 < len(list(recover(file))) < len(expected)


def test_metadata_is_valid_yaml(tmp_path):
    write_bag(RandomFolder(3), tmp_path / "bag")
    info = yaml.safe_load((tmp_path / "bag/metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert info["storage_identifier"] == "mcap"
    assert info["duration"]["nanoseconds"] == 2 * 50_000_001
