"""The quirks of published protocols as options of the command, and what the result says of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from depth_ros.cli import main
from depth_ros.datasets import open_folder
from depth_ros.evaluation.metrics.depth import PROTOCOLS, crop, figures
from depth_ros.evaluation.setup import plan
from depth_ros.world import World, WorldSettings, write_folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "street"
    write_folder(World(WorldSettings(kind="street", frames=2, width=128, height=64)), path)
    return path


def test_changes_of_a_protocol(clip):
    folder = open_folder(clip)
    planned = plan(
        folder, [0], "one", "eigen", changes={"crop": "eigen", "truth_max": 50.0, "max_depth": 50.0}
    )
    assert (planned.protocol.crop, planned.protocol.max_depth) == ("eigen", 50.0)
    assert planned.protocol.truth_min == PROTOCOLS["eigen"].truth_min
    assert "eigen, changed: truth g with 0.001 < g < 50 m, crop eigen" in planned.text


def test_options_reach_the_figures(clip, small_model, capsys, engine_cache):
    command = ["evaluate", "depth", "--data", str(clip), "--model", str(small_model), "--backend", "eager"]
    command += ["--protocol", "eigen", "--json", "-"]
    changes = ["--crop", "none", "--scaling", "median", "--cap", "20", "--resize", "depth"]
    found = []
    for options in ([], changes):
        assert main([*command, *options]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["figures"]["abs_rel"] != found[1]["figures"]["abs_rel"]
    for words in ("crop none", "scaling median", "g < 20 m", "bilinearly in depth"):
        assert words in found[1]["protocol"] and words not in found[0]["protocol"]


def test_crop_of_cityscapes_and_its_protocol():
    rows, columns = crop("cityscapes", 1024, 2048)
    assert (rows, columns) == (slice(256, 768), slice(192, 1856))
    truth = np.full((1024, 2048), 10.0, np.float32)
    depth = truth * 3
    depth[:256] = 500.0
    found = figures(depth, truth, PROTOCOLS["cityscapes"])
    assert found["abs_rel"] == pytest.approx(0, abs=1e-6)
