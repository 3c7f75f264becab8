"""PyTorch checkpoints that hold more than weights."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch

from depth_ros.checkpoint_import.pytorch import read_pytorch
from depth_ros.errors import DepthRosError

STATE = {"conv.weight": torch.ones(2, 3), "conv.bias": torch.zeros(2)}


class Options:
    """A class of a training script."""


@pytest.mark.parametrize("content", [
    STATE,
    {"state_dict": STATE, "epoch": 7},
    {"model_state_dict": STATE, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}},
    {"model": STATE, "optimizer_state_dict": {"a": torch.zeros(1), "b": torch.zeros(1), "c": torch.zeros(1)}},
    {"net": {"state_dict": STATE}, "best": np.float64(0.2)},
    {"state_dict": {f"module.{key}": value for key, value in STATE.items()}, "best": np.float32(0.2)},
    {"state_dict": {f"_orig_mod.{key}": value for key, value in STATE.items()}},
    {"state_dict": STATE, "args": argparse.Namespace(lr=1e-4, name="x"), "errors": np.array([0.1, 0.2])},
])  # fmt: skip
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found_among_other_things(tmp_path, content, zipped):
    torch.save(content, tmp_path / "x.pth.tar", _use_new_zipfile_serialization=zipped)
    found = read_pytorch(tmp_path / "x.pth.tar")
    assert found.keys() == STATE.keys()
    assert torch.equal(found["conv.weight"], STATE["conv.weight"])


def test_objects_of_other_classes_are_named_with_the_way_out(tmp_path):
    torch.save({"state_dict": STATE, "options": Options()}, tmp_path / "x.pth")
    with pytest.raises(
        DepthRosError, match=r'test_pytorch\.Options, whose loading could run code.*\["state_dict"\]'
    ):
        read_pytorch(tmp_path / "x.pth")


def test_files_without_weights_are_refused(tmp_path):
    torch.save({"epoch": 7, "options": {"lr": 0.1}}, tmp_path / "x.pth")
    with pytest.raises(DepthRosError, match="no state dict of tensors; it holds: epoch, options"):
        read_pytorch(tmp_path / "x.pth")
    (tmp_path / "y.pth").write_bytes(b"hello")
    with pytest.raises(DepthRosError, match="not a state dict saved by PyTorch"):
        read_pytorch(tmp_path / "y.pth")
