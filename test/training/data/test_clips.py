"""Clips: which frames are used for training and validation."""

import shutil

import pytest

from depth_ros.errors import DepthRosError
from depth_ros.recordings import RecordingOptions
from depth_ros.training.crop import CropSettings
from depth_ros.training.data import clips
from depth_ros.training.data.clip import ClipSettings, median_image_motion, recorded_frame
from depth_ros.training.data.clips import clip_starts, load_held_out_clips, load_training_clips
from depth_ros.training.data.items import UnusableItem
from depth_ros.training.data.source import DataFolders, Source, held_out
from depth_ros.world import World, WorldSettings

CROP = CropSettings(64, 32, zoom=1.3)
ANY_MOTION = ClipSettings(min_image_motion=0.0)


def copied(data, folder, numbers, names=("left", "depth")) -> None:
    """The recording "clip" with its images under other numbers: `numbers[i]` is the image of frame i."""
    for name in names:
        (folder / name).mkdir(parents=True)
        for number, frame in numbers.items():
            (file,) = (data / "clip" / name).glob(f"{frame:06d}.*")
            shutil.copy(file, folder / name / f"{number:06d}{file.suffix}")
    shutil.copy(data / "clip/camera.yaml", folder)


def test_a_clip_of_a_stationary_camera_is_unusable(data, tmp_path):
    copied(data, tmp_path / "halting", {0: 0, 1: 3, 2: 6, 3: 6, 4: 9})
    found = load_training_clips((Source("halting", "all"),), CROP, ClipSettings(), DataFolders(tmp_path))
    assert len(found) == 3
    frames = found[0]
    assert median_image_motion(frames[0].image, frames[1].image) > 0.5
    for index in (1, 2):
        with pytest.raises(
            UnusableItem, match=r"the camera does not move in a clip of 3 frames.* now 0\.5 px"
        ):
            found[index]


def test_clips_do_not_cross_a_gap(data, tmp_path):
    copied(data, tmp_path / "gap", {number: number % 10 for number in (0, 1, 2, 3, 20, 21, 22)})
    starts = clip_starts(Source("gap", "all"), 3, DataFolders(tmp_path))
    assert starts == [0, 1, 4]


def test_clips_do_not_cross_drives(tmp_path):
    for number, drive in enumerate(("0001", "0002")):
        made_drive(tmp_path, f"2011_09_26_drive_{drive}_sync", frames=4 + number)
    source, folders = Source("kitti", "all"), DataFolders(tmp_path)
    assert clip_starts(source, 3, folders) == [0, 1, 4, 5, 6]
    names = [source.open(folders).names[start].partition("/")[0][-9:-5] for start in (1, 4)]
    assert names == ["0001", "0002"]


def test_clips_are_around_the_frames_that_a_split_file_lists(tmp_path):
    made_drive(tmp_path, "2011_09_26_drive_0001_sync", frames=6)
    split = tmp_path / "train_files.txt"
    drive = "2011_09_26/2011_09_26_drive_0001_sync"
    split.write_text(f"{drive} 4 l\n{drive} 5 l\n{drive} 1 l\n{drive} 0 l\n")
    source = Source("kitti", "all", options=RecordingOptions(image_list=split))
    assert clip_starts(source, 3, DataFolders(tmp_path)) == [3, 0]  # 0 and 5 lack a neighbour


def made_drive(root, name, frames) -> None:
    """A drive of raw KITTI with times as recorded, one after the other without a gap."""
    date = root / "kitti/2011_09_26"
    images = date / name / "image_02"
    (images / "data").mkdir(parents=True)
    for number in range(frames):
        (images / f"data/{number:010d}.png").write_bytes(b"")
    first = 0 if "0001" in name else 4
    times = [f"2011-09-26 13:02:25.{first + number}00000000" for number in range(frames)]
    (images / "timestamps.txt").write_text("\n".join(times) + "\n")
    (date / "calib_cam_to_cam.txt").write_text("calib_time: now\n")


def test_a_recording_without_consecutive_frames_is_an_error(data, tmp_path):
    copied(data, tmp_path / "single", {0: 0, 1: 3, 2: 6, 90: 7}, ("left", "right"))
    with pytest.raises(DepthRosError, match="single has no 3 consecutive frames to learn from video"):
        load_training_clips((Source("single", "all"),), CROP, ANY_MOTION, DataFolders(tmp_path))


def test_recorded_frames_are_reduced_to_what_the_narrowest_crop_needs():
    sample = World(WorldSettings(kind="room", frames=1, width=128, height=96))[0]
    frame = recorded_frame(sample, CROP)
    assert frame.image.shape == (62, 83, 3) and frame.labels.shape == (62, 83)  # 64 * 1.3 = 83.2 wide
    assert frame.camera.width == 83 and frame.camera.fx == pytest.approx(sample.left.camera.fx * 83 / 128)
    assert frame.depth.shape == (96, 128)
    assert recorded_frame(sample, CropSettings(640, 320)).image.shape == (96, 128, 3)


def frame_bytes(found) -> set[bytes]:
    return {frame.image.tobytes() for clip in found for frame in clip}


def test_the_last_fifth_of_a_training_recording_is_held_out(data):
    settings, folders = ClipSettings(frames=2, min_image_motion=0.0), DataFolders(data)
    used = load_training_clips((Source("clip"),), CROP, settings, folders)
    others = load_held_out_clips((held_out("clip"),), CROP, settings, folders)["clip"]
    assert (len(used), len(list(others))) == (8 - 1, 2 - 1)
    assert not frame_bytes(used[i] for i in range(7)) & frame_bytes(others)


def test_validation_clips_are_limited_in_number(monkeypatch):
    sources = (Source("world:street", "held_out", count=2, frames=5),)
    all_clips = list(load_held_out_clips(sources, CROP, ANY_MOTION, DataFolders(None))["world:street"])
    assert len(all_clips) == 3 * 2
    monkeypatch.setattr(clips, "HELD_OUT_CLIPS", 2)
    limited = load_held_out_clips(sources, CROP, ANY_MOTION, DataFolders(None))["world:street"]
    assert frame_bytes(limited) == frame_bytes([all_clips[0], all_clips[3]])


def test_images_of_another_size_within_a_clip_make_it_unusable(data, tmp_path, monkeypatch):
    copied(data, tmp_path / "plain", {0: 0, 1: 1, 2: 2})
    found = clips.RecordedClips(Source("plain", "all"), DataFolders(tmp_path), CROP, 3, [0])
    recording = found.source.open(found.folders)
    sample = World(WorldSettings(kind="room", frames=1, width=160, height=96))[0]
    assert len(found[0]) == 3

    class Mixed:
        def __getitem__(self, index):
            return sample if index == 2 else recording[index]

    monkeypatch.setattr(clips, "open_sequence", lambda source, folders: (Mixed(), None))
    with pytest.raises(UnusableItem, match="plain: the size of the images changes"):
        found[0]
