"""Clips: one window for all frames with the right camera, standing cameras left out, runs that can be resumed."""

import csv
import dataclasses

import numpy as np
import pytest
import torch

from depth_ros.card import load_model, read_card
from depth_ros.datatypes import Camera
from depth_ros.errors import DepthRosError
from depth_ros.training import clips, loop, video
from depth_ros.training.clips import Moment, clip_crop, load_clips, motion, moving_clips, unseen_clips
from depth_ros.training.recipes import Recipe, Source, recipe, recipes
from depth_ros.world import World, WorldSettings, write_folder


def small(**changes) -> Recipe:
    base = Recipe(
        name="small", family="struct2depth", width=64, height=32, sources=(Source("world:street", count=1, frames=4),),
        validation=("world:street",), description="a test", licence="Apache-2.0", terms="rendered", steps=3,
        batch=1, validate_every=3, average=0.5, zoom=1.3, supervision="video", least_motion=0.1,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def ray_moment(camera: Camera) -> Moment:
    """An image whose colours are the directions of its pixels: 127 + 100 x, 127 + 100 y."""
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    x, y = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
    image = np.stack([127 + 100 * x, 127 + 100 * y, 0 * x], -1).round().astype(np.uint8)
    return Moment(image, np.zeros(image.shape[:2], np.uint8), camera)


@pytest.mark.parametrize("seed", range(4))
def test_the_camera_of_a_crop_sees_every_pixel_where_it_was(seed, monkeypatch):
    monkeypatch.setattr(clips, "recolour", lambda image, random: image)
    camera = Camera.pinhole(101, 47, 90.0, 88.0, 47.0, 25.0)
    item = clip_crop((ray_moment(camera),) * 3, small(), np.random.default_rng(seed))
    K, image = item["intrinsics"], item["images"][1].astype(float)
    assert item["images"].shape == (3, 32, 64, 3) and (item["images"][0] == item["images"][2]).all()
    u, v = np.meshgrid(np.arange(64), np.arange(32))
    x, y = (u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]
    mirrored = image[0, 0, 0] > image[0, -1, 0]
    np.testing.assert_allclose(image[..., 0], 127 + 100 * (-x if mirrored else x), atol=1.0)
    np.testing.assert_allclose(image[..., 1], 127 + 100 * y, atol=1.0)


def test_without_random_it_is_the_widest_window_as_it_is():
    camera = Camera.pinhole(100, 40, 90.0, 88.0, 47.0, 25.0)
    item = clip_crop((ray_moment(camera),) * 3, small())
    np.testing.assert_allclose(item["intrinsics"], camera.cropped(10, 0, 80, 40).resized(64, 32).K, rtol=1e-6)


def test_clips_of_a_camera_that_stands_still_are_left_out():
    world = World(WorldSettings(kind="street", frames=6, width=128, height=64, moving=0))
    images = [world.render(i)[0] for i in (0, 1, 2, 2, 3, 4)]
    frames = [Moment(i, np.zeros(i.shape[:2], np.uint8), world.cameras["left"]) for i in images]
    assert motion(images[0], images[1]) > 0.5 > 0.05 > motion(images[2], images[2])
    kept = moving_clips(frames, small(least_motion=0.3))
    assert [[next(i for i, f in enumerate(frames) if f is m) for m in clip] for clip in kept] == [
        [0, 1, 2],
        [3, 4, 5],
    ]


def test_rendered_clips_have_as_many_moving_things_as_the_recipe_says():
    def labels(moving: int) -> np.ndarray:
        source = Source("world:street", count=2, frames=4)
        found = clips.clips_of(source, small(moving=moving), None)
        return np.stack([frame.labels for clip in found for frame in clip])

    assert labels(3).any() and not labels(0).any()


def test_a_higher_rate_makes_the_camera_slower(tmp_path):
    found = {}
    for rate in (10.0, 30.0):
        plan = small(frames=2, sources=(Source("world:street", count=1, frames=2, rate=rate),))
        older, newer = load_clips(plan, tmp_path)[0]
        found[rate] = motion(older.image, newer.image)
    assert found[30.0] < 0.6 * found[10.0]


def test_no_moving_clip_is_an_error(tmp_path):
    write_folder(World(WorldSettings(kind="room", frames=6, width=64, height=48)), tmp_path / "clip")
    with pytest.raises(DepthRosError, match="no clip of 3 frames with a moving camera in clip"):
        load_clips(small(sources=(Source("clip"),), least_motion=1000.0), tmp_path)


def test_the_last_fifth_of_a_recording_and_other_worlds_are_unseen(tmp_path):
    write_folder(World(WorldSettings(kind="room", frames=20, width=64, height=48)), tmp_path / "clip")
    made = small(sources=(Source("clip"),), validation=("clip", "world:street"), least_motion=0.0)
    seen, unseen = load_clips(made, tmp_path), unseen_clips(made, tmp_path)
    assert len(seen) == 16 - 2 and len(unseen["clip"]) == 4 - 2
    assert len(unseen["world:street"]) == 3 * clips.UNSEEN_WORLDS
    known = {frame.image.tobytes() for clip in seen for frame in clip}
    assert not known & {frame.image.tobytes() for clip in unseen["clip"] for frame in clip}


def test_truth_as_an_answer_has_no_error_and_makes_the_image():
    """Rendered depth and poses in place of the networks: figures near those of a perfect model."""
    made = small(width=192, height=64, zoom=1.0, sources=(Source("world:street", count=1, frames=3),))
    clip = clips.clips_of(made.sources[0], made, None)[0]
    world = World(WorldSettings(kind="street", frames=3, width=192, height=64))
    T = np.stack([np.linalg.inv(world.pose(i)) @ world.pose(i + 1) for i in (0, 1)])
    depth = torch.from_numpy(clip[1].depth).nan_to_num(400.0)[None]

    class Models(torch.nn.Module):
        anchor = torch.nn.Parameter(torch.zeros(1))
        answers = {  # noqa: RUF012
            "depth": lambda image, K: 3 * depth,
            "ego_motion": lambda images, K: (
                torch.from_numpy(T).float()[None] * torch.tensor([[1, 1, 1, 3]] * 4)
            ),
        }

        def parameters(self, recurse=True):
            return iter([self.anchor])

        def __getitem__(self, task):
            return self.answers[task]

    row = video.clip_figures(Models(), clip, made)
    assert row["abs_rel"] < 0.01 and row["photometric"] < 0.6


def test_run_from_video_resumes_and_ends_with_a_model_a_task(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(clips, "UNSEEN_WORLDS", 1)
    whole = loop.train(small(), tmp_path, tmp_path / "whole")
    real, calls = loop.train_step, []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(loop, "train_step", killed)
    with pytest.raises(KeyboardInterrupt):
        loop.train(small(), tmp_path, tmp_path / "run")
    monkeypatch.setattr(loop, "train_step", real)
    resumed = loop.train(small(), tmp_path, tmp_path / "run")
    rows = [list(csv.DictReader((tmp_path / run / "training.csv").open()))[-1] for run in ("whole", "run")]
    assert float(rows[0]["loss"]) == pytest.approx(float(rows[1]["loss"]), rel=1e-3)
    assert {"world:street abs_rel", "world:street photometric", "world:street abs_rel moving"} <= set(rows[0])
    for suffix, task in (("", "depth"), ("_ego_motion", "ego_motion"), ("_object_motion", "object_motion")):
        one, other = (read_card(path.with_name(f"small{suffix}")) for path in (whole, resumed))
        assert one.task == task and one.scale == "up_to_scale" and one.frames == (1 if task == "depth" else 3)
        states = [load_model(card).state_dict() for card in (one, other)]
        for key, value in states[0].items():
            torch.testing.assert_close(value, states[1][key], rtol=1e-3, atol=1e-4, msg=key)


@pytest.mark.parametrize("name", [name for name in recipes() if recipe(name).supervision == "video"])
def test_recipes_from_video_fit_their_families(name):
    from depth_ros.config import settings_from
    from depth_ros.networks import family

    made = recipe(name)
    module = family(made.family)
    assert made.width % module.Model.size_multiple == made.height % module.Model.size_multiple == 0
    settings_from(module.Settings, made.settings, name)
    settings_from(module.LossSettings, made.loss, name)
