"""Images as recordings: one image, folders, pairs by name, and where the calibration comes from."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.recordings import DamagedFrame, RecordingOptions, open_recording, readable
from depth_ros.recordings.calibration import field_of_view


def write(file: Path, value: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.full((size[1], size[0], 3), value, np.uint8))
    return file


def calibration(path: Path, baseline: float = 0.0) -> Path:
    path.write_text(
        "image_width: 40\nimage_height: 30\ndistortion_model: plumb_bob\n"
        "camera_matrix: {rows: 3, cols: 3, data: [50, 0, 20, 0, 50, 15, 0, 0, 1]}\n"
        "distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}\n"
        "rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}\n"
        f"projection_matrix: {{rows: 3, cols: 4, data: [50, 0, 20, {-50 * baseline}, 0, 50, 15, 0, 0, 0, 1, 0]}}\n"
    )
    return path


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        write(tmp_path / f"frame_{number}.png", number)
    recording = open_recording(tmp_path)
    assert list(recording.names) == ["frame_1", "frame_2", "frame_10"]
    assert [sample.left.image[0, 0, 0] for _, sample in readable(recording)] == [1, 2, 10]
    assert np.diff(recording.stamps).tolist() == pytest.approx([1e9 / 30] * 2, abs=1)
    assert min(recording.stamps) > 0


def test_field_of_view_is_given_or_assumed_and_named(tmp_path, caplog):
    file = write(tmp_path / "photo.jpg")
    given = open_recording(file, RecordingOptions(fov=90.0))
    assert given[0].left.camera.fx == pytest.approx(20)
    assert given.camera_source == "field of view 90 degrees, as given"
    assert not caplog.text
    assumed = open_recording(file)
    assert "60 degrees is assumed" in caplog.text
    assert field_of_view(assumed[0].left.camera) == pytest.approx(60)
    assert "a field of view of 60 degrees is assumed; give --fov or --camera" in assumed.camera_source
    with pytest.raises(DepthRosError, match=r"field of view is 200\.0 degrees"):
        _ = open_recording(file, RecordingOptions(fov=200.0))[0]


def test_focal_length_stored_by_a_phone_is_used(tmp_path):
    """26 mm on 35 mm film is 26/36 of the long side; here of a portrait photograph."""
    image = pytest.importorskip("PIL.Image").new("RGB", (30, 40))
    exif = image.getexif()
    exif.get_ifd(0x8769)[0xA405] = 26
    image.save(tmp_path / "phone.jpg", exif=exif)
    recording = open_recording(tmp_path / "phone.jpg")
    assert recording[0].left.camera.fx == pytest.approx(26 / 36 * 40)
    assert "26 mm on 35 mm film" in recording.camera_source


@pytest.mark.parametrize("names", [
    ("left/{}.png", "right/{}.png"), ("infra1/{}.png", "infra2/{}.png"), ("image_2/{}.png", "image_3/{}.png"),
    ("{}_camera_color_left.png", "{}_camera_color_right.png"), ("infra1_{}.png", "infra2_{}.png"),
])  # fmt: skip
def test_pairs_are_found_by_folder_or_suffix(tmp_path, names):
    for number in range(3):
        for side, name in enumerate(names):
            write(tmp_path / "data" / name.format(f"{number:03d}"), 10 * number + side)
    files = (calibration(tmp_path / "left.yaml"), calibration(tmp_path / "right.yaml", 0.12))
    recording = open_recording(tmp_path / "data", RecordingOptions(cameras=files))
    assert recording.contents.pairs
    assert len(recording) == 3
    sample = recording[2]
    assert sample.right is not None
    assert (sample.left.image[0, 0, 0], sample.right.image[0, 0, 0]) == (20, 21)
    assert sample.right.camera.baseline == pytest.approx(0.12)
    alone = open_recording(tmp_path / "data")  # without the baseline there is no pair
    assert (len(alone), alone.contents.pairs, alone[2].right) == (3, False, None)


def test_damaged_image_is_skipped_and_named(tmp_path, caplog):
    for number in range(4):
        write(tmp_path / f"{number}.png", number)
    data = (tmp_path / "2.png").read_bytes()
    (tmp_path / "2.png").write_bytes(data[: len(data) // 2])
    recording, damaged = open_recording(tmp_path), list[str]()
    assert [index for index, _ in readable(recording, damaged=damaged)] == [0, 1, 3]
    assert len(damaged) == 1 and "2.png is damaged" in damaged[0]
    assert "skipped a damaged frame" in caplog.text
    with pytest.raises(DamagedFrame):
        _ = recording[2]


def test_calibration_of_another_size_is_refused(tmp_path):
    write(tmp_path / "images/a.png", size=(80, 60))
    options = RecordingOptions(cameras=(calibration(tmp_path / "camera.yaml"),))
    with pytest.raises(DepthRosError, match=r"is 80x60, but its calibration is for 40x30"):
        _ = open_recording(tmp_path / "images", options)[0]


def test_images_of_several_sizes_have_their_own_cameras(tmp_path):
    write(tmp_path / "a.png", size=(40, 30))
    write(tmp_path / "b.png", size=(80, 60))
    cameras = [sample.left.camera for _, sample in readable(open_recording(tmp_path))]
    assert [camera.width for camera in cameras] == [40, 80]
    assert all(
        camera.fx == pytest.approx(camera.width / 2 / math.tan(math.radians(30))) for camera in cameras
    )


def test_other_files_are_refused_with_what_can_be_read(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(
        DepthRosError, match=r"notes.txt' is no recording; files that can be read: bags .*\.mp4"
    ):
        open_recording(tmp_path / "notes.txt")
