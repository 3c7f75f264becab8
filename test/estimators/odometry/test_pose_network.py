"""Odometry of a pose network with random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_ros.card import Card, load_model, read_card
from depth_ros.engine import EngineSettings
from depth_ros.estimators.odometry.pose_network import PoseNetwork
from depth_ros.networks import sfmlearner
from depth_ros.recordings import open_recording
from depth_ros.training.export import save_model
from depth_ros.world import World, WorldSettings, write_folder


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "street"
    write_folder(World(WorldSettings(kind="street", frames=5, width=128, height=64)), path)
    return [sample.left for sample in open_recording(path)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder of an ego-motion model with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "motion"
    card = Card("motion", "ego_motion", "sfmlearner", 128, 64, "up_to_scale", "none", "", frames=3, path=path)
    save_model(sfmlearner.EgoMotionModel(sfmlearner.Settings()).eval(), card)
    return path


def test_network_input_holds_the_last_frames_and_motions_are_integrated(frames, model, engine_cache):
    """The network predicts two motions from three frames; the last one counts. The first frame is repeated at first."""
    estimator = PoseNetwork(str(model), EngineSettings("eager", "float32", "cpu"))
    results = [estimator.estimate(frame) for frame in frames[:4]]
    assert [result.state for result in results] == ["starting", "tracking", "tracking", "tracking"]
    assert results[0].motion is None and np.array_equal(results[0].pose.T, np.eye(4))
    network = load_model(read_card(model))
    images = [torch.from_numpy(frame.image) for frame in frames]
    K = torch.from_numpy(frames[0].camera.K).float()[None]
    T_first = np.eye(4)
    for index, window in ((1, (0, 0, 1)), (2, (0, 1, 2)), (3, (1, 2, 3))):
        with torch.inference_mode():
            T = network(torch.stack([images[i] for i in window])[None], K)[0, -1]
        motion = results[index].motion
        assert np.allclose(motion.T_old_new, T, atol=1e-6)
        assert (motion.stamp_old, motion.stamp_new) == (frames[index - 1].stamp, frames[index].stamp)
        T_first = T_first @ T.numpy()
        assert np.allclose(results[index].pose.T, T_first, atol=1e-5)


def test_reset_forgets_frames_and_pose(frames, model, engine_cache):
    estimator = PoseNetwork(str(model), EngineSettings("eager", "float32", "cpu"))
    for frame in frames[:3]:
        estimator.estimate(frame)
    estimator.reset()
    result = estimator.estimate(frames[3])
    assert result.state == "starting" and result.motion is None
    assert np.array_equal(result.pose.T, np.eye(4))
