"""Replay, prediction and evaluation give a network all its inputs; odometry gives the poses that are not recorded."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from depth_ros.card import Card
from depth_ros.datatypes import Depth
from depth_ros.engine import EngineSettings, EngineStatus
from depth_ros.evaluation.depth import evaluate_depth
from depth_ros.evaluation.options import DepthOptions, EvaluationOptions
from depth_ros.evaluation.two_view import odometry_poses, prepared_for
from depth_ros.geometry import inverse
from depth_ros.playback.kinds import MONO
from depth_ros.playback.predict import predict
from depth_ros.playback.replay import ReplayOptions, replay
from depth_ros.recordings import RecordingOptions, open_recording
from depth_ros.world import World, WorldSettings, write_folder

EAGER = EngineSettings(backend="eager", precision="float32", device="cpu")
NAMES = ["people", "parallax"]


class Listening:
    """An estimator that keeps the inputs of its frames. Its depth is constant."""

    engine_status = EngineStatus()

    def __init__(self, extra_inputs):
        fields = {"task": "depth", "family": "test", "width": 96, "height": 72, "scale": "up_to_scale"}
        self.card = Card("test", **fields, licence="", sha256="", extra_inputs=extra_inputs)
        self.inputs = []

    def estimate(self, frame):
        self.inputs.append(set(frame.extra_inputs))
        depth = np.ones(frame.image.shape[:2], np.float32)
        return Depth(frame.stamp, frame.frame_id, depth, frame.camera, frame.image)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("clip") / "room"
    settings = WorldSettings(kind="room", seed=4, frames=6, width=96, height=72, moving_count=2)
    write_folder(World(settings), root)
    return root


def test_replay_and_predict_give_a_network_what_its_card_names(folder, tmp_path):
    for names in (NAMES, []):
        replayed, predicted = Listening(names), Listening(names)
        replay(open_recording(folder), replayed, MONO, ReplayOptions(limit=3, progress=False))
        predict(open_recording(folder), predicted, MONO, tmp_path / f"out{len(names)}", limit=2)
        assert [len(replayed.inputs), len(predicted.inputs)] == [3, 2]
        for inputs in (*replayed.inputs, *predicted.inputs):
            assert inputs >= set(names) and (bool(inputs) == bool(names))


def test_evaluation_counts_the_inputs_that_are_missing(folder, tmp_path, engine_cache):
    import torch

    from depth_ros.networks import mannequin
    from depth_ros.training.export import export
    from depth_ros.training.recipes import CropSettings, Recipe, Source
    from depth_ros.training.supervision.depth import DepthSupervision

    torch.manual_seed(0)
    recipe = Recipe(
        name="two", family="mannequin", crop=CropSettings(96, 64), sources=(Source("world:room", count=1),),
        validation=(), description="a test", licence="Apache-2.0", terms="",
        supervision=DepthSupervision("up_to_scale"),
    )  # fmt: skip
    model = mannequin.Model(mannequin.Settings(inputs="keypoints", width_divisor=16))
    model.network.seq[0].weight.data[:, 3:] *= 100  # that the result depends on them
    path = str(export(model, recipe, tmp_path / "two"))
    options, depth = EvaluationOptions(limit=2, engine=EAGER), DepthOptions("mannequin")
    whole = evaluate_depth(path, folder, options, depth)
    assert whole["missing_inputs"] == {"keypoints": 3}  # the first frame is estimated once more
    poses = folder / "poses.txt"
    text = poses.read_text()
    (folder / "moving_objects").rename(folder / "ignored")
    poses.write_text("\n".join("1 0 0 0 0 1 0 0 0 0 1 0" for _ in text.splitlines()))  # no baseline
    try:
        blind = evaluate_depth(path, folder, options, depth)
        reading = RecordingOptions(masks=str(folder / "ignored"))
        masked = evaluate_depth(path, folder, dataclasses.replace(options, recording=reading), depth)
    finally:
        poses.write_text(text)
        (folder / "ignored").rename(folder / "moving_objects")
    assert blind["missing_inputs"] == dict.fromkeys(("people", "keypoints", "parallax", "confidence"), 3)
    assert blind["metrics"]["si_hum"] is None and masked["metrics"]["si_hum"] > 0
    assert masked["missing_inputs"] == dict.fromkeys(("keypoints", "parallax", "confidence"), 3)
    assert whole["metrics"]["si_full"] != pytest.approx(blind["metrics"]["si_full"], rel=0.01)


def test_odometry_gives_the_poses_that_are_not_recorded(tmp_path, caplog):
    """Semi-global matching of rendered pairs: the motion of the camera within 20 %, and parallax from it."""
    world = World(WorldSettings(kind="room", seed=4, frames=8, width=160, height=120, moving_count=0))
    write_folder(world, tmp_path / "room")
    (tmp_path / "room/poses.txt").unlink()
    recording = open_recording(tmp_path / "room")
    poses = odometry_poses(recording, EAGER)
    assert list(poses) == list(recording.stamps)
    found = inverse(poses[recording.stamps[0]]) @ poses[recording.stamps[7]]
    expected = inverse(world.pose(0)) @ world.pose(7)
    distance = np.linalg.norm(expected[:3, 3])
    assert distance > 0.02 and np.linalg.norm(found[:3, 3] - expected[:3, 3]) < 0.2 * distance
    prepared = prepared_for(Listening(NAMES).card, recording, EAGER, limit=2)
    assert prepared[1].left.extra_inputs["parallax"].any()
    assert "no recorded poses: odometry gives 8 poses for 2 frames" in caplog.text
    people = dataclasses.replace(Listening(NAMES).card, extra_inputs=["people"])
    caplog.clear()
    assert set(prepared_for(people, recording, EAGER)[1].left.extra_inputs) <= {"people"}
    assert not caplog.messages  # masks need no poses
