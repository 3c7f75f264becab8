"""Rendered items: what they hold, and that each scene is rendered once."""

import numpy as np

from depth_ros.training.crop import CropSettings
from depth_ros.training.data import rendered
from depth_ros.training.data.cache import ArrayCache
from depth_ros.training.data.clip import ClipSettings, median_image_motion
from depth_ros.training.data.rendered import SKY_DEPTH, SKY_WEIGHT, RenderedClips, RenderedExamples
from depth_ros.training.recipes import Source

CROP = CropSettings(64, 32, zoom=1.3)


def clips(source: Source, cache: ArrayCache | None = None, **settings) -> RenderedClips:
    return RenderedClips(source, CROP, ClipSettings(**settings), cache or ArrayCache())


def test_sky_is_far_and_weighs_little():
    street = RenderedExamples("street", range(1), ArrayCache())[0]
    sky = street.depth == SKY_DEPTH
    assert sky.any() and (street.weight[sky] == np.float32(SKY_WEIGHT)).all()
    assert (street.weight[~sky] == 1).all() and np.isfinite(street.depth).all()


def test_a_scene_is_rendered_once_and_the_same_when_read_again(tmp_path, monkeypatch):
    source = Source("world:street", count=2, frames=4)
    for items in (
        RenderedExamples("room", range(2), ArrayCache(tmp_path)),
        clips(source, ArrayCache(tmp_path)),
    ):
        fresh = items[1]
        with monkeypatch.context() as patch:
            patch.setattr(rendered, "World", None)  # cannot render
            again = items[1]
        frames = zip(fresh, again, strict=True) if isinstance(fresh, tuple) else [(fresh, again)]
        for one, other in frames:
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.depth, other.depth)
            np.testing.assert_array_equal(one.camera.K, other.camera.K)
    example = RenderedExamples("room", range(2), ArrayCache(tmp_path))[1]
    assert len(example.planes.equations) >= 3 and example.planes.labels.shape == example.depth.shape


def test_clips_are_the_runs_of_frames_of_each_scene():
    found = clips(Source("world:street", count=2, frames=4))
    assert len(found) == 2 * 2
    first, second, other = found[0], found[1], found[2]
    np.testing.assert_array_equal(first[1].image, second[0].image)
    assert (second[0].image != other[0].image).any()


def test_held_out_scenes_are_other_ones():
    one, other = (Source("world:street", part, count=2) for part in ("training", "held_out"))
    assert not set(one.seeds) & set(other.seeds) and len(other.seeds) == 2


def test_scenes_have_moving_objects_as_the_settings_say():
    source = Source("world:street", count=2, frames=3)
    labelled = [
        any(frame.labels.any() for i in range(2) for frame in clips(source, moving_count=count)[i])
        for count in (0, 3)
    ]
    assert labelled == [False, True]


def test_a_higher_frame_rate_makes_the_camera_slower():
    motion = {}
    for rate in (10.0, 30.0):
        older, newer = clips(Source("world:street", count=1, frames=2, rate=rate), frames=2)[0]
        motion[rate] = median_image_motion(older.image, newer.image)
    assert motion[30.0] < 0.6 * motion[10.0]
