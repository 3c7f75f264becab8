"""Evaluation setup: splits, ground truth, protocol and baseline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from depth_ros.card import Card
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.metrics.protocols import PROTOCOLS
from depth_ros.evaluation.options import DepthOptions
from depth_ros.evaluation.setup import (
    MEASURED,
    STEREO_REFERENCE,
    Selection,
    choose_ground_truth,
    choose_protocol,
    evaluation_setup,
    select,
)
from depth_ros.recordings import open_recording
from depth_ros.recordings.split import held_out, training
from depth_ros.world import World, WorldSettings, write_folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rendered stereo frames with exact depth, on disk."""
    world = World(WorldSettings(kind="street", frames=6, width=256, height=96))
    return write_folder(world, tmp_path_factory.mktemp("clip") / "street")


def test_held_out_split_and_limit(clip) -> None:
    folder = open_recording(clip)
    assert select(folder, "held_out").indices == (5,)
    limited = select(folder, "all", 3)
    assert (limited.indices, limited.text) == ((0, 2, 5), "3 of all, evenly spaced")
    later = select(folder, "test")
    assert (later.indices, later.text) == ((5,), "used for neither training nor calibration")
    with pytest.raises(DepthRosError, match="held_out"):
        select(folder, "training")
    with pytest.raises(DepthRosError, match="has no images"):
        select([], "all")


def test_splits_of_the_recorded_folders(data_root) -> None:
    expected = {"kitti2015_stereo": (21, 89), "hololens_office": (52, 208), "tum_fr1_rpy": (36, 144),
                "kitti_stereo_clip": (21, 0)}  # fmt: skip
    for name, counts in expected.items():
        folder = open_recording(data_root / name)
        evaluated, trained = held_out(folder), training(folder)
        assert (len(evaluated), len(trained)) == counts
        assert not set(evaluated) & set(trained)
    pairs = open_recording(data_root / "kitti2015_stereo")
    assert "000105" in {pairs[index].name for index in held_out(pairs)}


def test_unknown_protocol_is_an_error(clip) -> None:
    with pytest.raises(DepthRosError, match="indoor"):
        evaluation_setup(select(open_recording(clip), "all"), DepthOptions("kitty"))


def test_ground_truth_of_unknown_scale_is_aligned(clip) -> None:
    folder = open_recording(clip)
    assert evaluation_setup(select(folder, "all")).protocol.scaling == "none"
    folder.contents = replace(folder.contents, metric=False)
    assert evaluation_setup(select(folder, "all")).protocol.scaling == "median"


def test_changes_replace_fields_of_the_protocol(clip) -> None:
    selection = Selection(open_recording(clip), (0,), "one")
    setup = evaluation_setup(selection, DepthOptions("eigen", crop="eigen", cap=50.0))
    assert (setup.protocol.crop, setup.protocol.max_depth) == ("eigen", 50.0)
    assert setup.protocol.min_ground_truth == PROTOCOLS["eigen"].min_ground_truth
    assert "eigen, changed: ground truth g with 0.001 < g < 50 m, crop eigen" in setup.text


def test_automatic_protocol_of_the_recorded_folders(data_root) -> None:
    expected = {"kitti2015_stereo": "kitti2015", "kitti_raw_jam": "eigen",
                "hololens_office": "indoor", "tum_fr1_rpy": "indoor"}  # fmt: skip
    for name, protocol in expected.items():
        first = Selection(open_recording(data_root / name), (0, 1), "two").first_with_depth
        assert choose_protocol("auto", first).name == protocol
    up_to_scale = choose_protocol("auto", first, "up_to_scale")
    assert (up_to_scale.name, up_to_scale.scaling) == ("indoor", "median")


def test_pairs_without_depth_are_compared_with_stereo_matching_and_the_text_warns(
    data_root, tmp_path
) -> None:
    for file in [
        data_root / "kitti_stereo_clip/camera.yaml",
        *data_root.glob("kitti_stereo_clip/*/000000000[12].jpg"),
    ]:
        copy = tmp_path / file.relative_to(data_root / "kitti_stereo_clip")
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(file.read_bytes())
    clip = open_recording(tmp_path)
    assert len(clip) == 2
    selection = Selection(clip, (0,), "one")
    assert choose_ground_truth(selection) is STEREO_REFERENCE
    assert evaluation_setup(selection).text.startswith("NO GROUND TRUTH")
    measured = Selection(open_recording(data_root / "kitti2015_stereo"), (0,), "one")
    assert choose_ground_truth(measured) is MEASURED


def test_baseline_of_a_model_follows_the_image_size(clip, tmp_path) -> None:
    """The same camera at twice the size has the same depth."""
    np.save(tmp_path / "mean_inverse_depth.npy", np.full((24, 80), 30.0, np.float16))
    folder = open_recording(clip)
    camera = folder[0].left.camera
    card = Card("m", "depth", "compact", 2 * camera.width, 192, "metric", "MIT", "", path=tmp_path)
    prediction = evaluation_setup(select(folder, "all"), card=card).baseline.predict(folder[0].depth)
    assert prediction == pytest.approx(np.full(folder[0].depth.shape, 2 * camera.fx / 30))
