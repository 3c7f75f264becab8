"""Several processes reach the loss of one with the same batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import few_steps
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.training.group import Group


def losses(count: int, file: Path) -> list[float]:
    """Of the few steps, by so many processes."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "CUDA_VISIBLE_DEVICES": ""}
    script = [few_steps.__file__, str(file)]
    done = subprocess.run([*command, *script], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(file.read_text())


def test_two_processes_reach_the_loss_of_one(tmp_path):
    alone = losses(1, tmp_path / "one.json")
    assert alone[-1] != pytest.approx(alone[0], rel=1e-3)  # the steps matter
    assert losses(2, tmp_path / "two.json") == pytest.approx(alone, rel=1e-3)


def test_shares_make_up_the_batches():
    shares = [Group(rank, 2, "cpu").share(range(3, 5), 4) for rank in (0, 1)]
    assert shares == [[12, 13, 16, 17], [14, 15, 18, 19]]
    assert Group(0, 1, "cpu").share(range(3, 5), 4) == list(range(12, 20))
    with pytest.raises(DepthRosError, match="a batch of 4 cannot be shared by 3 processes"):
        Group(0, 3, "cpu").share(range(1), 4)
