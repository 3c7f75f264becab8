"""Sequences below the root of a data set are found, and several are named."""

from __future__ import annotations

import os

import pytest

from depth_ros.errors import DepthRosError
from depth_ros.recordings.search import folders_with, only_one


def test_folders_are_found_in_natural_order_but_not_inside_of_found_ones(tmp_path):
    for name in ("b/seq10/image", "b/seq9/image", "a/image/seq1/image", "c/d/e/image"):
        (tmp_path / name).mkdir(parents=True)
    found = [str(folder.relative_to(tmp_path)) for folder in folders_with(tmp_path, ("image",), levels=2)]
    assert found == ["a", "b/seq9", "b/seq10"]
    assert list(folders_with(tmp_path / "a", ("image",), levels=0)) == [tmp_path / "a"]


def test_folders_that_cannot_be_read_are_skipped(tmp_path, monkeypatch):
    for name in ("lost+found", "seq/image"):
        (tmp_path / name).mkdir(parents=True)
    scandir = os.scandir

    def refuse(path):
        if path.name == "lost+found":
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list(folders_with(tmp_path, ("image",), levels=2)) == [tmp_path / "seq"]


def test_an_error_lists_the_first_ten_of_several(tmp_path):
    found = [tmp_path / f"seq{index}" for index in range(12)]
    assert only_one(tmp_path, found[:1], "sequences") == found[0]
    with pytest.raises(
        DepthRosError, match=r"12 sequences: give one of them: seq0, seq1, .*, seq9 and 2 more$"
    ):
        only_one(tmp_path, found, "sequences")


def test_a_folder_is_listed_once_however_many_layouts_search_it(tmp_path, monkeypatch):
    (tmp_path / "scene/image").mkdir(parents=True)
    scandir, listed = os.scandir, []

    def counting(path):
        listed.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counting)
    for child in ("image", "left", "rgb"):
        list(folders_with(tmp_path, (child,), levels=1))
    assert listed == [tmp_path]
    (tmp_path / "other/left").mkdir(parents=True)
    os.utime(tmp_path, ns=(1, 1))  # clocks of file systems are coarse
    assert list(folders_with(tmp_path, ("left",), levels=1)) == [tmp_path / "other"]
