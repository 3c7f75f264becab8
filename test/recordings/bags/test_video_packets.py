"""Bags of video packets: every kind of message, frames at random, stamps, lost and damaged packets."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from rosbags import rosbag2
from rosbags.typesys import Stores, get_typestore

from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.messages.fill import fill_camera_info, fill_header
from depth_ros.recordings import DamagedFrame, open_recording, readable
from depth_ros.recordings.bags.video_packets import FFMPEG, FOXGLOVE, THEORA, decoder_of, register
from depth_ros.recordings.bags.writer import COMPRESSED, default_message

TYPES = get_typestore(Stores.ROS2_JAZZY)
register(TYPES)
WIDTH, HEIGHT = 64, 64
START, INTERVAL = 1_700_000_000 * 10**9, 10**8
GOP = 10
TOPIC = "/cam/image_raw/video"
QUIET = {"x265-params": "log-level=none:bframes=0"}
ENCODERS = {
    "libx264": {"tune": "zerolatency"}, "libx265": QUIET, "libsvtav1": {"preset": "10"},
    "libvpx-vp9": {"deadline": "realtime", "lag-in-frames": "0"}, "mpeg4": {},
}  # fmt: skip


def picture(index: int) -> np.ndarray:
    """A pattern that moves 2 px a frame."""
    x, y = np.meshgrid(np.arange(WIDTH) + 2 * index, np.arange(HEIGHT))
    values = 127 + 60 * np.sin(x / 9.0) + 50 * np.cos(y / 7.0)
    return np.repeat(values[..., None], 3, 2).astype(np.uint8)


def encoded(encoder: str, count: int = 3 * GOP, **options: str) -> list[tuple[bytes, int]]:
    """Packets in the order in which they are decoded, with the number of their picture."""
    context = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base, context.framerate, context.gop_size = Fraction(1, 10), Fraction(10), GOP
    context.bit_rate = 2_000_000
    context.options = options or ENCODERS[encoder]
    packets = []
    for index in range(count):
        frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
        frame.pts, frame.time_base = index, Fraction(1, 10)
        packets += context.encode(frame)
    packets += context.encode(None)
    return [(bytes(packet), packet.pts) for packet in packets]


def message(kind: str, data: bytes, index: int, encoding: str, has_counter: bool = True):
    made, stamp = default_message(TYPES, kind), START + index * INTERVAL
    made.data = np.frombuffer(data, np.uint8)
    if kind == FOXGLOVE:
        made.timestamp.sec, made.timestamp.nanosec = divmod(stamp, 10**9)
        made.frame_id, made.format = "cam", encoding
        return made
    fill_header(made.header, stamp, "cam")
    if kind == COMPRESSED:
        made.format = encoding
    elif kind == FFMPEG:
        made.encoding, made.width, made.height = encoding, WIDTH, HEIGHT
        made.pts, made.flags = (index if has_counter else 0), int(index % GOP == 0)
    return made


def write(path: Path, messages: list) -> Path:
    info = default_message(TYPES, "sensor_msgs/msg/CameraInfo")
    fill_header(info.header, START, "cam")
    fill_camera_info(info, Camera.pinhole(WIDTH, HEIGHT, 50.0, 50.0, 31.5, 31.5))
    with rosbag2.Writer(path, version=9, storage_plugin=rosbag2.StoragePlugin.MCAP) as writer:
        connections = {}
        for number, made in enumerate([info, *messages]):
            kind = made.__msgtype__
            topic = "/cam/camera_info" if made is info else TOPIC
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=TYPES)
            writer.write(connections[topic], START + number * 10**6, TYPES.serialize_cdr(made, kind))
    return path


def bag(path: Path, packets: list[tuple[bytes, int]], kind: str = FFMPEG, encoding: str = "libx264", **more):
    return write(path, [message(kind, data, index, encoding, **more) for data, index in packets])


def psnr(image: np.ndarray, index: int) -> float:
    return float(10 * np.log10(255**2 / ((image.astype(float) - picture(index)) ** 2).mean()))


def index_of(stamp: int) -> int:
    return (stamp - START) // INTERVAL


KINDS = [
    ("libx264", FFMPEG, "libx264"), ("libx264", FFMPEG, "h264;yuv420p;bgr8;bgr8"), ("libx264", FFMPEG, "h.264"),
    ("libx265", FFMPEG, "hevc_nvenc"), ("mpeg4", FFMPEG, "mpeg4"), ("libvpx-vp9", FFMPEG, "libvpx-vp9"),
    ("libx264", COMPRESSED, "h264"), ("libx265", COMPRESSED, "h265"), ("libsvtav1", COMPRESSED, "av1"),
    ("libx264", FOXGLOVE, "h264"), ("libx265", FOXGLOVE, "h265"), ("libsvtav1", FOXGLOVE, "av1"),
    ("libvpx-vp9", FOXGLOVE, "vp9"),
]  # fmt: skip


@pytest.mark.parametrize(("encoder", "kind", "encoding"), KINDS)
def test_frames_of_every_kind_are_those_that_were_encoded_in_any_order(tmp_path, encoder, kind, encoding):
    recording = open_recording(bag(tmp_path / "bag", encoded(encoder), kind, encoding))
    samples = [recording[index] for index in range(len(recording))]
    assert [index_of(sample.left.stamp) for sample in samples] == list(range(3 * GOP))
    assert min(psnr(sample.left.image, index) for index, sample in enumerate(samples)) > 33
    assert samples[0].left.frame_id == "cam" and samples[0].left.camera.fx == 50
    for index in (29, 3, 3, 2, 12, 11, 10, 28, 0, 9, -1):
        assert np.array_equal(recording[index].left.image, samples[index].left.image), index


def test_b_frames_get_their_own_stamps_and_are_in_order_of_time(tmp_path):
    packets = encoded("libx264", bf="2", b_adapt="0")
    assert [index for _, index in packets] != sorted(index for _, index in packets)
    recording = open_recording(bag(tmp_path / "bag", packets))
    assert np.all(np.diff(recording.stamps) == INTERVAL)
    for index in (*range(len(recording)), 17, 5, 29):
        assert index_of(recording[index].left.stamp) == index
        assert psnr(recording[index].left.image, index) > 33


def test_reading_on_decodes_each_packet_once(tmp_path, monkeypatch):
    recording = open_recording(bag(tmp_path / "bag", encoded("libx264")))
    stream = recording._streams["image"]
    fed = []
    feed = type(stream)._feed
    monkeypatch.setattr(type(stream), "_feed", lambda self, number: (fed.append(number), feed(self, number)))
    for index in range(len(recording)):
        _ = recording[index], recording[index]
    assert fed == list(range(3 * GOP))
    _ = recording[14]
    assert fed[3 * GOP :] == [10, 11, 12, 13, 14]


def test_theora_needs_its_header_packets(tmp_path, caplog):
    with av.open(str(Path(__file__).with_name("moving_waves.ogv"))) as container:
        stream = container.streams.video[0]
        extradata = bytes(stream.codec_context.extradata)
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
    headers = []
    while extradata:
        size = int.from_bytes(extradata[:2], "big")
        headers.append(extradata[2 : 2 + size])
        extradata = extradata[2 + size :]
    made = [message(THEORA, data, 0, "") for data in headers]
    made += [message(THEORA, data, index, "") for index, data in enumerate(packets)]
    made[7:7] = made[:3]  # for a subscriber that came later
    recording = open_recording(write(tmp_path / "bag", made))
    assert [index_of(stamp) for stamp in recording.stamps] == list(range(8))
    for index in (*range(8), 5, 1):
        assert psnr(recording[index].left.image, index) > 33
    late = open_recording(write(tmp_path / "late", made[3:]))
    assert [index for index, _ in readable(late)] == [4, 5, 6, 7]
    assert "the three header packets of Theora are missing" in caplog.text


@pytest.mark.parametrize(("kind", "has_counter"), [(FFMPEG, True), (FFMPEG, False), (COMPRESSED, False)])
@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_frames_after_a_lost_packet_are_left_out_up_to_the_next_key_frame(
    tmp_path, caplog, encoder, kind, has_counter
):
    packets = encoded(encoder)
    del packets[13]
    encoding = "h264" if encoder == "libx264" else "h265"
    recording = open_recording(bag(tmp_path / "bag", packets, kind, encoding, has_counter=has_counter))
    found = {index_of(sample.left.stamp): sample.left.image for _, sample in readable(recording)}
    assert sorted(found) == [*range(13), *range(20, 30)]
    assert min(psnr(image, index) for index, image in found.items()) > 33
    with pytest.raises(DamagedFrame, match="packets are lost"):
        _ = recording[16]
    if encoder == "libx264" or has_counter:
        assert "at least 1 video packets are lost; 6 frames" in caplog.text


def test_lost_packet_among_b_frames_spoils_its_group_of_pictures(tmp_path):
    packets = encoded("libx264", bf="2", b_adapt="0")
    del packets[15]
    recording = open_recording(bag(tmp_path / "bag", packets))
    found = {index_of(sample.left.stamp): sample.left.image for _, sample in readable(recording)}
    assert sorted(found) == [*range(11), *range(20, 30)]
    assert min(psnr(image, index) for index, image in found.items()) > 33


@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_frames_before_the_first_key_frame_are_named(tmp_path, caplog, encoder):
    packets = encoded(encoder)[1:]
    encoding = "h264" if encoder == "libx264" else "hevc"
    recording = open_recording(bag(tmp_path / "bag", packets, encoding=encoding))
    assert "9 of 29 video packets precede the first key frame and cannot be decoded" in caplog.text
    assert [index_of(sample.left.stamp) for _, sample in readable(recording)] == list(range(10, 30))
    with pytest.raises(DamagedFrame, match="precedes the first key frame"):
        _ = recording[0]


def test_lost_key_frame_spoils_no_other_group_of_pictures(tmp_path):
    packets = encoded("libx264")
    del packets[10]
    recording = open_recording(bag(tmp_path / "bag", packets, COMPRESSED, "h264"))
    found = {index_of(sample.left.stamp): sample.left.image for _, sample in readable(recording)}
    assert sorted(found) == [*range(10), *range(20, 30)]
    assert min(psnr(image, index) for index, image in found.items()) > 33


def test_damaged_packet_spoils_the_frames_predicted_from_it(tmp_path):
    packets = encoded("libx264")
    data, index = packets[14]
    packets[14] = data[: len(data) // 2], index
    recording = open_recording(bag(tmp_path / "bag", packets))
    found = {index_of(sample.left.stamp): sample.left.image for _, sample in readable(recording)}
    assert sorted(found) == [*range(14), *range(20, 30)]
    with pytest.raises(DamagedFrame, match="predicted, is damaged"):
        _ = recording[17]


def test_gaps_of_a_codec_that_does_not_show_losses_are_named(tmp_path, caplog):
    packets = encoded("libsvtav1")
    del packets[15]
    open_recording(bag(tmp_path / "bag", packets, FOXGLOVE, "av1"))
    assert "1 gaps between the stamps of its video packets" in caplog.text


def test_video_without_a_key_frame_is_refused(tmp_path):
    packets = encoded("libx264")[1:GOP]
    with pytest.raises(DepthRosError, match="none of its 9 video packets is a key frame"):
        open_recording(bag(tmp_path / "bag", packets))


@pytest.mark.parametrize("encoding", ["daala", "h264;yuv420p;bgr8;bayer_rggb8"])
def test_other_encodings_are_named_with_the_command_that_decodes_them(tmp_path, encoding):
    path = bag(tmp_path / "bag", encoded("libx264"), encoding=encoding)
    with pytest.raises(
        DepthRosError, match=rf"'{encoding}' is not supported; .*republish.*in_transport:=ffmpeg"
    ):
        open_recording(path)


def test_without_pyav_both_ways_to_decode_are_named(tmp_path, monkeypatch):
    path = bag(tmp_path / "bag", encoded("libx264"))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DepthRosError, match=r"pip install av; or .*republish"):
        open_recording(path)


def test_names_of_encoders_give_the_decoder():
    names = {
        "h264": "h264", "h264_v4l2m2m": "h264", "libx264rgb": "h264", "libopenh264": "h264", "hevc_vaapi": "hevc",
        "h265": "hevc", "av1_qsv": "libdav1d", "libaom-av1": "libdav1d", "libvpx": "vp8",
        "rgb8; jpeg compressed bgr8": "",
    }  # fmt: skip
    assert {name: decoder_of(name) for name in names} == names
