"""Arrays that are computed once."""

import numpy as np
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.training.data.cache import ArrayCache

ARRAYS = {"depth": np.array([[1.5, np.nan]], np.float32), "labels": np.arange(3)}


def compute_nothing():
    raise AssertionError("computed again")


def test_arrays_are_computed_once_and_read_as_they_were(tmp_path):
    cache = ArrayCache(tmp_path)
    assert cache.arrays("a/b", lambda: ARRAYS) is ARRAYS
    stored = cache.arrays("a/b", compute_nothing)
    assert stored.keys() == ARRAYS.keys()
    for key, value in ARRAYS.items():
        np.testing.assert_array_equal(stored[key], value)
        assert stored[key].dtype == value.dtype
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["b.npz"]


def test_a_damaged_file_is_computed_anew(tmp_path):
    cache = ArrayCache(tmp_path)
    cache.arrays("b", lambda: ARRAYS)
    data = (tmp_path / "b.npz").read_bytes()
    for damaged in (data[: len(data) // 2], b""):
        (tmp_path / "b.npz").write_bytes(damaged)
        assert cache.arrays("b", lambda: ARRAYS) is ARRAYS
        cache.arrays("b", compute_nothing)


def test_without_a_folder_nothing_is_kept():
    calls = []
    for _ in range(2):
        ArrayCache().arrays("a", lambda: calls.append(0) or ARRAYS)
    assert len(calls) == 2


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DepthRosError, match=r"a\.npz cannot be written .*free space, or use another --out"):
        ArrayCache(tmp_path / "file").arrays("a", lambda: ARRAYS)
