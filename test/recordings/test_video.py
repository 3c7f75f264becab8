"""Videos as recordings, made by the real encoder."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.recordings import RecordingOptions, open_recording, readable

av = pytest.importorskip("av")


def write_video(file: Path, values: list[int], rate: int = 10, codec: str = "libx264") -> Path:
    """A video of uniform grey frames, with key frames every fifth frame."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.gop_size = 64, 48, 5
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index, value in enumerate(values):
            noise = np.random.default_rng(index).integers(-15, 16, (48, 64, 1))
            pixels = (value + noise).repeat(3, 2).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


VALUES = [20 + 8 * index for index in range(24)]


@pytest.mark.parametrize(("name", "codec"), [
    ("clip.mp4", "libx264"), ("clip.mkv", "libx264"), ("clip.avi", "mjpeg"), ("clip.avi", "mpeg4")
])  # fmt: skip
def test_frames_are_read_in_order_and_at_random(tmp_path, name, codec):
    recording = open_recording(write_video(tmp_path / name, VALUES, codec=codec))
    assert len(recording) == 24
    assert np.diff(recording.stamps).tolist() == pytest.approx([1e8] * 23, abs=2e6)
    for index in [*range(24), 3, 17, 2, 23, 0, 22, 21]:
        assert abs(float(recording[index].left.image.mean()) - VALUES[index]) < 4, index


def test_truncated_video_gives_its_intact_frames(tmp_path):
    file = write_video(tmp_path / "clip.mkv", VALUES)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 2 // 3])
    recording, damaged = open_recording(file), list[str]()
    read = [index for index, _ in readable(recording, damaged=damaged)]
    assert 5 < len(read) <= 24
    assert len(read) + len(damaged) == len(recording)


def test_video_whose_frames_have_no_times_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(DepthRosError, match=r"does not state the time of each of its 24 frames: convert it"):
        open_recording(write_video(tmp_path / "clip.avi", VALUES))  # H.264 reorders, AVI cannot say how


def test_calibration_of_a_video_is_given_or_assumed(tmp_path):
    file = write_video(tmp_path / "clip.mp4", VALUES[:3])
    assert open_recording(file, RecordingOptions(fov=90.0))[0].left.camera.fx == pytest.approx(32)
    assert "60 degrees is assumed" in open_recording(file).camera_source


def test_file_that_is_no_video_is_named(tmp_path):
    (tmp_path / "fake.mp4").write_bytes(b"hello" * 100)
    with pytest.raises(DepthRosError, match=r"fake\.mp4 is no readable video"):
        open_recording(tmp_path / "fake.mp4")
