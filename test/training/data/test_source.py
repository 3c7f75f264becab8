"""Sources of training data and what the card of a model says about them."""

import multiprocessing
import shutil

import pytest

from depth_ros.errors import DepthRosError
from depth_ros.recordings import RecordingOptions
from depth_ros.training.data.source import DataFolders, Source


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (Source("hall"), "hall: without the held-out part"),
        (
            Source("hall", part="all", right_view=True, stereo_weight=0.2),
            "hall: all frames, both views, semi-global stereo matches, weight 0.2, where there is no ground truth",
        ),
        (Source("world:room", count=5), "5 room scenes of the built-in renderer (exact depth)"),
        (
            Source("world:pairs", count=9),
            "9 generated stereo pairs per epoch, new in every epoch (exact disparity)",
        ),
    ],
)
def test_a_card_lists_each_source_with_its_options(source, line):
    assert source.description == line


def test_rendered_sources_need_no_folder():
    assert Source("world:street").is_rendered and Source("world:street").scene_kind == "street"
    assert not Source("street").is_rendered


def test_a_recording_is_below_the_data_folder_or_where_its_path_says(data, tmp_path, monkeypatch):
    folders = DataFolders(tmp_path)
    assert len(Source(str(data / "clip")).open(folders)) == 10
    assert Source("clip").path(data) == data / "clip"
    monkeypatch.chdir(data)
    assert len(Source("clip").open(folders)) == 10
    with pytest.raises(
        DepthRosError, match=r"no recording 'hall', neither here nor below .*: give its path to --on"
    ):
        Source("hall").open(folders)


def test_a_recording_is_opened_once_in_a_process_and_anew_in_another(data):
    folders = DataFolders(data)
    here = Source("clip").open(folders)
    assert Source("clip", "all", repeat=2).open(folders) is here
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(id_of_open_recording, (data,)) != id(here)


def id_of_open_recording(data) -> int:
    return id(Source("clip").open(DataFolders(data)))


def test_predicted_depth_is_refused(data, tmp_path):
    shutil.copytree(data / "clip", tmp_path / "predicted")
    with (tmp_path / "predicted/camera.yaml").open("a") as stream:
        stream.write("predicted: true\n")
    with pytest.raises(DepthRosError, match="predicted holds depth that a model predicted"):
        Source("predicted").open(DataFolders(tmp_path))


def test_the_card_names_the_split_file(tmp_path):
    options = RecordingOptions(image_list=tmp_path / "eigen_train_files.txt")
    assert (
        Source("kitti", "all", options=options).description
        == "kitti: the images that eigen_train_files.txt lists"
    )
