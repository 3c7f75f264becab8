"""Examples: which samples are read, and when; the ground truth of right views."""

import shutil

import numpy as np
import pytest

from depth_ros.datatypes import Camera, Frame
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Sample, open_recording
from depth_ros.training.data import examples as examples_module
from depth_ros.training.data.example import left_view_example, right_view_example
from depth_ros.training.data.examples import held_out_samples, load_examples, mean_inverse_depth
from depth_ros.training.data.source import DataFolders, held_out
from depth_ros.training.recipes import Source


def test_held_out_samples_are_not_loaded(data):
    assert len(load_examples((Source("clip"),), DataFolders(data))) == 8
    assert len(load_examples((Source("clip", part="all"),), DataFolders(data))) == 10


def test_a_frame_is_read_when_its_example_is_drawn(data, monkeypatch):
    recording, read = open_recording(data / "clip"), []

    class Watched:
        contents, names, stamps = recording.contents, recording.names, recording.stamps

        def __len__(self):
            return len(recording)

        def __getitem__(self, index):
            read.append(index)
            return recording[index]

    monkeypatch.setattr(Source, "open", lambda source, folders: Watched())
    found = load_examples((Source("clip", right_view=True), Source("clip")), DataFolders(data))
    assert len(found) == 8 * 2 + 8 and read == []
    found[5], found[16 + 7]
    assert read == [2, 7]


def test_right_views_and_repetitions_are_counted(data):
    found = load_examples((Source("clip", right_view=True, repeat=2),), DataFolders(data))
    assert len(found) == 8 * 2 * 2
    assert np.isfinite(found[1].depth).mean() > 0.5
    np.testing.assert_array_equal(found[4].image, found[16 + 4].image)
    assert (found[4].image != found[5].image).any()


def test_stereo_matches_fill_gaps_with_their_weight():
    camera = Camera.pinhole(64, 16, 40.0, 40.0, 32, 8)
    right = Camera.pinhole(64, 16, 40.0, 40.0, 32, 8, 0.5)
    image, depth = np.zeros((16, 64, 3), np.uint8), np.full((16, 64), 10.0, np.float32)
    depth[:, 30:40] = np.nan
    sample = Sample("0", Frame(0, "l", image, camera), Frame(0, "r", image, right), depth)

    def match(left, right):
        return np.full(left.shape[:2], 4.0, np.float32)

    filled = left_view_example(sample, 0.2, match)
    assert (filled.depth[:, 30:40] == 40 * 0.5 / 4).all() and (filled.depth[:, :30] == 10).all()
    np.testing.assert_allclose(filled.weight[:, 30:40], 0.2)
    unfilled = left_view_example(sample, 0.0, match)
    assert np.isnan(unfilled.depth[:, 30:40]).all() and (unfilled.weight[:, 30:40] == 0).all()


def test_the_right_view_has_the_ground_truth_of_the_left_one():
    """A near square before a wall: in the right image it is f B / Z px further left and occludes the wall."""
    left, right = (Camera.pinhole(64, 16, 40.0, 40.0, 32, 8, baseline) for baseline in (0.0, 0.5))
    depth = np.full((16, 64), 10.0, np.float32)  # disparity 2
    depth[:, 30:40] = 2.5  # disparity 8
    image = np.zeros((16, 64, 3), np.uint8)
    sample = Sample("0", Frame(0, "l", image, left), Frame(0, "r", image, right), depth)
    example = right_view_example(sample, stereo_weight=0.0)
    np.testing.assert_allclose(example.depth[3, 22:32], 2.5)
    np.testing.assert_allclose(example.depth[3, :22], 10.0)
    assert np.isnan(example.depth[3, 32:38]).all()  # the part of the wall that only the right camera sees
    assert (example.weight[3, 32:38] == 0).all()


def test_a_recipe_without_sources_is_an_error(tmp_path):
    with pytest.raises(DepthRosError, match="no training data: the recipe has no sources"):
        load_examples((), DataFolders(tmp_path))


def test_a_recording_without_measured_depth_is_an_error_beside_rendered_data(data, tmp_path):
    shutil.copytree(data / "clip", tmp_path / "colour")
    shutil.rmtree(tmp_path / "colour/depth")
    sources = (Source("colour"), Source("world:room", count=1))
    with pytest.raises(
        DepthRosError, match="colour has no measured depth to learn from: name its topic with --dep"
    ):
        load_examples(sources, DataFolders(tmp_path))


def test_few_evenly_spaced_samples_of_a_recording_validate_it(data, monkeypatch):
    sources = [Source("clip", "all")]
    assert len(list(held_out_samples(sources, DataFolders(data))["clip"])) == 10
    monkeypatch.setattr(examples_module, "MAX_HELD_OUT", 4)
    names = [sample.name for sample in held_out_samples(sources, DataFolders(data))["clip"]]
    assert names == ["000000", "000003", "000006", "000009"]
    assert [s.name for s in held_out_samples([held_out("clip")], DataFolders(data))["clip"]] == [
        "000008",
        "000009",
    ]


def test_the_mean_inverse_depth_is_in_units_of_focal_length_over_width(data, monkeypatch):
    found = load_examples((Source("clip"),), DataFolders(data))
    for count in (100, 2):
        monkeypatch.setattr(examples_module, "MAX_AVERAGED", count)
        mean = mean_inverse_depth(found)
        used = [found[i] for i in range(0, 8, 1 if count == 100 else 4)]
        focal = found[0].camera.fx / found[0].camera.width
        expected = np.nanmean([focal / example.depth for example in used])
        assert mean.shape == (24, 80) and mean.mean() == pytest.approx(expected, rel=0.02)
