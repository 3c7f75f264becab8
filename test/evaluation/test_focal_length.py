"""Depth without the rule for the focal length, and its row of `depth_ros evaluate depth`."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.card import read_card
from depth_ros.cli import main
from depth_ros.datatypes import Camera, Depth
from depth_ros.engine import EngineSettings
from depth_ros.evaluation.depth import evaluate_depth
from depth_ros.evaluation.focal_length import FocalLengthRule
from depth_ros.evaluation.options import DepthOptions, EvaluationOptions
from depth_ros.networks.blocks.fit import Fit
from depth_ros.world import World, WorldSettings, write_folder

CAMERA = Camera.pinhole(256, 96, 200.0, 242.0, 127.5, 47.5)


@pytest.mark.parametrize(("rule", "factor"), [
    (FocalLengthRule(110.0, False, Fit("aspect", 256, 96)), 2.0),  # sqrt(200 * 242) = 220 px
    (FocalLengthRule(110.0, False, Fit("stretch", 64, 96)), 1.0),
    (FocalLengthRule(110.0, False, Fit("letterbox", 128, 96)), 1.0),
    (FocalLengthRule(220 / 256, True, Fit("stretch", 64, 24)), 1.0),
])  # fmt: skip
def test_depth_without_the_rule_is_divided_by_it(rule, factor):
    depth = Depth(0, "", np.full((96, 256), 3.0, np.float32), CAMERA, np.zeros((96, 256, 3), np.uint8))
    np.testing.assert_allclose(rule.undone(depth), 3.0 / factor, rtol=1e-6)


def test_a_row_without_the_rule_is_printed_for_models_that_have_one(tmp_path, engine_cache, capsys):
    onnx = pytest.importorskip("onnx", reason="optional: pip install onnx onnxruntime")
    pytest.importorskip("onnxruntime", reason="optional: pip install onnx onnxruntime")
    from onnx_graphs import graph, one_output

    from depth_ros.checkpoint_import.onnx_network import import_graph

    nodes, weights = one_output("map", "image", 1, "depth")
    file = tmp_path / "network.onnx"
    onnx.save(graph(nodes, {"image": [1, 3, None, None]}, ["depth"], weights), str(file))
    size = {"width": 256, "height": 96, "canonical_focal_length": 50.0}
    ruled = import_graph(file, tmp_path, "depth", changes={**size, "name": "ruled"}).path
    plain = import_graph(
        file, tmp_path, "depth", changes={**size, "name": "plain", "canonical_focal_length": 0.0}
    ).path
    assert FocalLengthRule.of(read_card(plain)) is None
    assert FocalLengthRule.of(read_card(ruled)) == FocalLengthRule(50.0, False, Fit("aspect", 256, 96))
    data = write_folder(
        World(WorldSettings(kind="street", frames=2, width=256, height=96)), tmp_path / "street"
    )
    options = EvaluationOptions(engine=EngineSettings(backend="eager", precision="float32", device="cpu"))
    unscaled = DepthOptions(scaling="none")
    expected = evaluate_depth(str(plain), data, options, unscaled)
    found = evaluate_depth(str(ruled), data, options, unscaled)
    assert "without_focal_length" not in expected
    for name in ("abs_rel", "rmse"):
        np.testing.assert_allclose(found["without_focal_length"][name], expected["metrics"][name], rtol=1e-4)
    assert abs(found["metrics"]["abs_rel"] - expected["metrics"]["abs_rel"]) > 0.01
    assert "without_focal_length" not in evaluate_depth(
        str(ruled), data, options, DepthOptions(scaling="median")
    )
    engine = ["--backend", "eager", "--precision", "float32", "--device", "cpu"]
    assert (
        main(["evaluate", "depth", "--model", str(ruled), "--data", str(data), "--scaling", "none", *engine])
        == 0
    )
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [
        row.startswith(name) for row, name in zip(rows, ("model", "without the focal length"), strict=False)
    ] == [True, True]
