"""Training by several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import process_group_steps
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.training.process_group import ProcessGroup


def losses_of_two_processes(file: Path) -> list[float]:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "CUDA_VISIBLE_DEVICES": ""}
    script = [process_group_steps.__file__, str(file)]
    done = subprocess.run([*command, *script], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(file.read_text())


def test_two_processes_have_the_losses_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    single = process_group_steps.losses()
    assert single[-1] != pytest.approx(single[0], rel=1e-3)  # the steps change the weights
    assert losses_of_two_processes(tmp_path / "losses.json") == pytest.approx(single, rel=1e-3)


def test_the_samples_of_all_processes_make_up_the_batches():
    parts = [list(ProcessGroup(rank, 2, "cpu").sample_indices(3, 4)) for rank in (0, 1)]
    assert parts == [[12, 13], [14, 15]]
    assert list(ProcessGroup(0, 1, "cpu").sample_indices(3, 4)) == [12, 13, 14, 15]


def test_a_batch_that_cannot_be_divided_evenly_is_an_error():
    with pytest.raises(DepthRosError, match="a batch of 4 cannot be divided among 3 processes"):
        ProcessGroup(0, 3, "cpu").sample_indices(0, 4)
