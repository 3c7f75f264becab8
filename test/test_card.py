"""Model cards: the shipped ones are complete and match their files; damaged ones are reported."""

import dataclasses
import shutil

import pytest
import torch
import yaml

from depth_ros.card import (
    cards,
    checksum,
    deployed_model,
    find_card,
    load_model,
    model_traits,
    read_card,
    write_card,
)
from depth_ros.errors import DepthRosError

SHIPPED = [card.name for card in cards()]


@pytest.fixture()
def copied_model(small_model, tmp_path):
    return shutil.copytree(small_model, tmp_path / "small")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_model_is_complete_and_loads(name):
    card = find_card(name)
    assert card.path.name == card.name
    assert card.weights.stat().st_size <= 15e6
    assert card.training_data and card.terms and card.licence
    assert card.check_image.is_file()
    load_model(card)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_metrics_include_the_command_that_reproduces_them(name):
    metrics = find_card(name).metrics
    assert metrics, "a shipped model must state its metrics"
    for row in metrics:
        assert row["command"].startswith("depth_ros ") and row["data"] and row["protocol"] and row["metrics"]


def test_written_card_is_read_back_unchanged(copied_model):
    card = read_card(copied_model)
    write_card(dataclasses.replace(card, description="another"))
    assert read_card(copied_model) == dataclasses.replace(card, description="another")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("fit", "squeeze", "fit is 'squeeze'; allowed: aspect, width, stretch, crop"),
        (
            "region",
            [0.5, 0.0, 0.4, 1.0],
            r"region is \[0.5, 0.0, 0.4, 1.0\]; it must be left, top, right and",
        ),
        ("region", [0.0, 1.0], "left, top, right and bottom, fractions from 0 to 1"),
    ],
)
def test_wrong_fits_are_rejected(copied_model, key, value, message):
    content = yaml.safe_load((copied_model / "card.yaml").read_text())
    (copied_model / "card.yaml").write_text(yaml.safe_dump({**content, key: value}))
    with pytest.raises(DepthRosError, match=message):
        read_card(copied_model)


def test_a_model_of_one_input_size_takes_images_of_any_size(copied_model):
    card = dataclasses.replace(read_card(copied_model), fit="stretch")
    K = torch.tensor([[[77.0, 0, 63.5], [0, 77, 31.5], [0, 0, 1]]])
    image = torch.full((1, 50, 90, 3), 127, dtype=torch.uint8)
    assert deployed_model(card)(image, K).shape == (1, 50, 90)
    assert model_traits(card).size_multiple == 1 and model_traits(read_card(copied_model)).size_multiple == 32


def test_model_is_found_by_the_path_of_its_folder(copied_model):
    assert find_card(str(copied_model)).name == "small"


def test_model_returns_float32_depth_of_the_image_size(copied_model):
    model = load_model(read_card(copied_model))
    K = torch.tensor([[[77.0, 0, 63.5], [0, 77, 31.5], [0, 0, 1]]])
    depth = model(torch.full((1, 64, 128, 3), 127, dtype=torch.uint8), K)
    assert depth.shape == (1, 64, 128) and depth.dtype == torch.float32


def test_unknown_name_lists_the_available_models(monkeypatch, small_model):
    monkeypatch.setenv("DEPTH_ROS_MODELS", str(small_model.parent))
    with pytest.raises(DepthRosError, match=r"no model 'smal'; available models: .*small"):
        find_card("smal")


def edit_card(path, **changes):
    content = yaml.safe_load((path / "card.yaml").read_text())
    for key, value in changes.items():
        content.pop(key) if value is None else content.update({key: value})
    (path / "card.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": None}, "key 'family' is missing"),
        ({"scale": "metres"}, "scale is 'metres'; allowed: metric, up_to_scale, affine_inverse"),
        ({"task": "segmentation"}, "task is 'segmentation'"),
        ({"colour": "blue"}, "unknown key 'colour'"),
    ],
)
def test_invalid_card_is_rejected(copied_model, changes, message):
    edit_card(copied_model, **changes)
    with pytest.raises(DepthRosError) as error:
        read_card(copied_model)
    assert message in str(error.value) and "card.yaml" in str(error.value)


def test_card_with_invalid_yaml_is_rejected(copied_model):
    (copied_model / "card.yaml").write_text("{")
    with pytest.raises(DepthRosError, match=r"card\.yaml cannot be read"):
        read_card(copied_model)


def test_truncated_weights_are_rejected_by_their_checksum(copied_model):
    content = (copied_model / "weights.safetensors").read_bytes()
    (copied_model / "weights.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(DepthRosError, match=r"weights\.safetensors is damaged.*restore"):
        load_model(read_card(copied_model))


def test_truncated_weights_with_a_matching_checksum_are_rejected(copied_model):
    content = (copied_model / "weights.safetensors").read_bytes()
    (copied_model / "weights.safetensors").write_bytes(content[: len(content) // 2])
    edit_card(copied_model, sha256=checksum(copied_model / "weights.safetensors"))
    with pytest.raises(DepthRosError, match="does not fit family 'compact'"):
        load_model(read_card(copied_model))


def test_missing_weights_are_reported(copied_model):
    (copied_model / "weights.safetensors").unlink()
    with pytest.raises(DepthRosError, match="missing: restore it"):
        load_model(read_card(copied_model))


def test_weights_of_another_architecture_are_rejected(copied_model):
    edit_card(copied_model, family="monodepth", settings={})
    with pytest.raises(DepthRosError, match="does not fit family 'monodepth'"):
        load_model(read_card(copied_model))
