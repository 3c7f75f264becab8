"""Clips: which frames are used for training and validation, and how they are rendered."""

import numpy as np
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.training.data import clips
from depth_ros.training.data.clips import (
    ClipFrame,
    ClipSettings,
    clips_of,
    load_held_out_clips,
    load_training_clips,
    median_image_motion,
    recorded_frame,
)
from depth_ros.training.recipes import CropSettings, Source
from depth_ros.world import World, WorldSettings

CROP = CropSettings(64, 32, zoom=1.3)
ANY_MOTION = ClipSettings(min_image_motion=0.0)


def test_clips_of_a_stationary_camera_are_left_out():
    world = World(WorldSettings(kind="street", frames=6, width=128, height=64, moving_count=0))
    images = [world.render(i)[0] for i in (0, 1, 2, 2, 3, 4)]
    frames = [ClipFrame(i, np.zeros(i.shape[:2], np.uint8), world.cameras["left"]) for i in images]
    assert median_image_motion(images[0], images[1]) > 0.5
    assert median_image_motion(images[2], images[2]) < 0.05
    found = clips_of([frames], ClipSettings(min_image_motion=0.3))
    indices = [[next(i for i, f in enumerate(frames) if f is frame) for frame in clip] for clip in found]
    assert indices == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(("moving_count", "labelled"), [(0, False), (3, True)])
def test_rendered_clips_have_moving_objects_as_the_settings_say(moving_count, labelled):
    settings = ClipSettings(min_image_motion=0.0, moving_count=moving_count)
    found = load_training_clips((Source("world:street", count=2, frames=3),), CROP, settings, None)
    assert np.stack([frame.labels for clip in found for frame in clip]).any() == labelled


def test_a_higher_frame_rate_makes_the_camera_slower():
    motion = {}
    for rate in (10.0, 30.0):
        sources = (Source("world:street", count=1, frames=2, rate=rate),)
        settings = ClipSettings(frames=2, min_image_motion=0.1)
        older, newer = load_training_clips(sources, CROP, settings, None)[0]
        motion[rate] = median_image_motion(older.image, newer.image)
    assert motion[30.0] < 0.6 * motion[10.0]


def test_training_without_a_moving_clip_is_an_error(data):
    settings = ClipSettings(min_image_motion=1000.0)
    with pytest.raises(
        DepthRosError, match=r"no clip of 3 frames with a moving camera in clip: .* now 1000\.0 px"
    ):
        load_training_clips((Source("clip"),), CROP, settings, data)


def test_recorded_frames_are_reduced_to_what_the_narrowest_crop_needs():
    sample = World(WorldSettings(kind="room", frames=1, width=128, height=96))[0]
    frame = recorded_frame(sample, CROP)
    assert frame.image.shape == (62, 83, 3) and frame.labels.shape == (62, 83)  # 64 * 1.3 = 83.2 wide
    assert frame.camera.width == 83 and frame.camera.fx == pytest.approx(sample.left.camera.fx * 83 / 128)
    assert frame.depth.shape == (96, 128)
    assert recorded_frame(sample, CropSettings(640, 320)).image.shape == (96, 128, 3)


def frame_bytes(found: list[clips.Clip]) -> set[bytes]:
    return {frame.image.tobytes() for clip in found for frame in clip}


def test_the_last_fifth_of_a_training_recording_is_held_out(data, monkeypatch):
    sources = (Source("clip", part="training"),)
    settings = ClipSettings(frames=2, min_image_motion=0.0)
    used = load_training_clips(sources, CROP, settings, data)
    held_out = load_held_out_clips(("clip",), sources, CROP, settings, data)["clip"]
    assert (len(used), len(held_out)) == (8 - 1, 2 - 1)
    assert not frame_bytes(used) & frame_bytes(held_out)


def test_another_recording_is_held_out_as_a_whole(data):
    held_out = load_held_out_clips(("clip",), (Source("other"),), CROP, ANY_MOTION, data)["clip"]
    assert len(held_out) == 10 - 2


def test_held_out_scenes_are_other_ones_and_limited_in_number(monkeypatch):
    monkeypatch.setattr(clips, "HELD_OUT_WORLDS", 2)
    sources = (Source("world:street", count=2, frames=5),)
    used = load_training_clips(sources, CROP, ANY_MOTION, None)
    held_out = load_held_out_clips(("world:street",), sources, CROP, ANY_MOTION, None)["world:street"]
    assert len(held_out) == 3 * 2 and not frame_bytes(used) & frame_bytes(held_out)
    monkeypatch.setattr(clips, "HELD_OUT_CLIPS", 2)
    limited = load_held_out_clips(("world:street",), sources, CROP, ANY_MOTION, None)["world:street"]
    assert frame_bytes(limited) == frame_bytes([held_out[0], held_out[3]])
