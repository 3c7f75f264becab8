"""Import of folders saved by the transformers library; evaluation with alignment; rejection by the node."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from depth_ros.card import load_model, read_card
from depth_ros.checkpoint_import.hugging_face import import_folder
from depth_ros.cli import main
from depth_ros.errors import DepthRosError
from depth_ros.world import World, WorldSettings, write_folder

transformers = pytest.importorskip("transformers", reason="optional: pip install transformers")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A relative Depth Anything with random weights, as the library saves it."""
    torch.manual_seed(0)
    config = transformers.DepthAnythingConfig(
        patch_size=14, reassemble_hidden_size=16, head_hidden_size=8, neck_hidden_sizes=[8] * 4, fusion_hidden_size=8,
        backbone_config=transformers.Dinov2Config(
            hidden_size=16, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=2, image_size=56, patch_size=14,
            out_indices=[1, 2, 3, 4], reshape_hidden_states=False,
        ),
    )  # fmt: skip
    network = transformers.DepthAnythingForDepthEstimation(config)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    torch.nn.init.constant_(network.head.conv3.bias, 1.0)  # otherwise ReLU may clip all depth to 0
    folder = tmp_path_factory.mktemp("hub") / "Tiny-Depth"
    network.save_pretrained(folder)
    processor = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "do_normalize": True,
                 "size": {"height": 58, "width": 85}}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\ntags: [depth]\n---\nTiny.\n")
    return folder, network.eval()


def test_imported_models_are_evaluated_with_alignment(saved, tmp_path, capsys, engine_cache):
    folder, network = saved
    assert main(["import", "hugging_face", str(folder), "--out", str(tmp_path)]) == 0
    card = read_card(tmp_path / "tiny_depth")
    assert (card.scale, card.licence, card.width, card.height) == ("affine_inverse", "apache-2.0", 84, 56)
    model = load_model(card)
    x = torch.randn(1, 3, 56, 84)
    with torch.no_grad():
        torch.testing.assert_close(model.network(pixel_values=x).predicted_depth, network(x).predicted_depth)
    clip = tmp_path / "clip"
    write_folder(World(WorldSettings(kind="room", frames=2, width=84, height=56)), clip)
    capsys.readouterr()
    command = ["evaluate", "depth", "--model", str(card.path), "--data", str(clip), "--backend", "eager"]
    assert main([*command, "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert "scaling affine_inverse" in result["protocol"]
    assert np.isfinite(result["metrics"]["abs_rel"])


def test_what_the_network_predicts_can_be_stated(saved, tmp_path):
    """The card and the imported model have it."""
    command = ["import", "hugging_face", str(saved[0]), "--out", str(tmp_path), "--scale", "metric"]
    assert main(command) == 0
    card = read_card(tmp_path / "tiny_depth")
    assert card.scale == load_model(card).scale == "metric"


def test_node_rejects_models_of_relative_depth(saved, tmp_path):
    pytest.importorskip("rclpy")
    import rclpy

    from depth_ros.estimators.depth import DepthEstimator
    from depth_ros.nodes.depth_node import DepthNode
    from depth_ros.nodes.worker import Worker

    path = import_folder(str(saved[0]), tmp_path)
    rclpy.init()
    try:
        node = DepthNode(DepthEstimator, Worker(), arguments=["--ros-args", "-p", f"model:={path}"])
        node.trigger_configure()
        assert "relative inverse depth" in node.diagnostics.error
        assert "choose a metric one: " in node.diagnostics.error and "mono" in node.diagnostics.error
        node.destroy_node()
    finally:
        rclpy.shutdown()


def test_missing_folders_files_and_weights_are_reported(saved, tmp_path):
    with pytest.raises(DepthRosError, match=r"no folder 'owner/name': .*--hub to download"):
        import_folder("owner/name", tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DepthRosError, match="give a folder saved by the transformers library"):
        import_folder(str(empty), tmp_path)
    (empty / "config.json").write_text((saved[0] / "config.json").read_text())
    with pytest.raises(DepthRosError, match="safetensors"):
        import_folder(str(empty), tmp_path)
