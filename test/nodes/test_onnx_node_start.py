"""depth_node starts with an imported ONNX graph that nothing was compiled for yet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx", reason="optional: pip install onnx onnxruntime")
pytest.importorskip("onnxruntime", reason="optional: pip install onnx onnxruntime")

from node_client import Client, camera, image_of, info_of  # noqa: E402
from onnx_graphs import transformer  # noqa: E402

from depth_ros.card import deployed_model, read_card  # noqa: E402
from depth_ros.checkpoint_import.onnx_network import import_graph  # noqa: E402
from depth_ros.messages.decode import depth_from  # noqa: E402
from depth_ros.nodes import depth_node  # noqa: E402
from depth_ros.playback.play import node_process  # noqa: E402


def test_a_transformer_of_dynamic_size_and_two_outputs_serves_on_a_cold_cache(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("DEPTH_ROS_CACHE", str(tmp_path / "cache"))
    onnx.save(transformer(), tmp_path / "da3.onnx")
    size = {"width": 112, "height": 84}
    path = import_graph(tmp_path / "da3.onnx", tmp_path, like="depth_anything_3_metric", changes=size).path
    command = [
        "-m",
        "depth_ros.nodes.depth_node",
        "--ros-args",
        "-p",
        f"model:={path}",
        "-p",
        "flying_pixels:=0.0",
    ]
    sent = camera(112, 84)
    image = torch.full((1, 84, 112, 3), 90, dtype=torch.uint8)
    with torch.no_grad():
        expected = deployed_model(read_card(path))(image, torch.from_numpy(sent.K).float()[None])[0].numpy()
    with node_process(command) as (process, namespace):
        client = Client(namespace, depth_node)
        try:
            (message,) = client.results_of(image_of(sent), info_of(sent), "depth/image_rect")
        finally:
            client.close()
    depth = depth_from(message)
    assert depth.shape == (84, 112) and np.isfinite(depth).all()
    np.testing.assert_allclose(depth, expected, rtol=0.01)
    assert process.returncode == 0
