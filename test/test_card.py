"""Cards: every shipped one is whole and true to its files; damaged ones are named."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from depth_ros.card import cards, checksum, find_card, load_model, read_card, write_card
from depth_ros.errors import DepthRosError

SHIPPED = [card.name for card in cards()]


@pytest.fixture()
def copy(small_model, tmp_path):
    return shutil.copytree(small_model, tmp_path / "small")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_model_is_whole(name):
    card = find_card(name)
    assert card.path.name == card.name
    assert card.weights.stat().st_size <= 15e6
    assert card.training_data and card.terms and card.licence
    assert card.check_image.is_file()
    load_model(card)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_figures_come_with_their_command(name):
    figures = find_card(name).figures
    assert figures, "a shipped model states what it measured"
    for row in figures:
        assert row["command"].startswith("depth_ros ") and row["data"] and row["protocol"]


def test_round_trip(copy):
    card = read_card(copy)
    write_card(dataclasses.replace(card, description="another"))
    assert read_card(copy) == dataclasses.replace(card, description="another")


def test_a_folder_is_a_name_too(copy):
    assert find_card(str(copy)).name == "small"


def test_model_computes(copy):
    model = load_model(read_card(copy))
    K = torch.tensor([[[77.0, 0, 63.5], [0, 77, 31.5], [0, 0, 1]]])
    depth = model(torch.full((1, 64, 128, 3), 127, dtype=torch.uint8), K)
    assert depth.shape == (1, 64, 128) and depth.dtype == torch.float32


def test_unknown_name_lists_the_known(monkeypatch, small_model):
    monkeypatch.setenv("DEPTH_ROS_MODELS", str(small_model.parent))
    with pytest.raises(DepthRosError, match=r"no model 'smal'; known are .*small"):
        find_card("smal")


def edited(path, **changes):
    content = yaml.safe_load((path / "card.yaml").read_text())
    for key, value in changes.items():
        content.pop(key) if value is None else content.update({key: value})
    (path / "card.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"family": None}, "lacks 'family'"),
        ({"scale": "metres"}, "scale is 'metres'; allowed: metric, up_to_scale, affine_inverse"),
        ({"task": "segmentation"}, "task is 'segmentation'"),
        ({"colour": "blue"}, "unknown key 'colour'"),
    ],
)
def test_bad_cards_are_explained(copy, changes, words):
    edited(copy, **changes)
    with pytest.raises(DepthRosError) as error:
        read_card(copy)
    assert words in str(error.value) and "card.yaml" in str(error.value)


def test_card_that_is_no_yaml(copy):
    (copy / "card.yaml").write_text("{")
    with pytest.raises(DepthRosError, match=r"card\.yaml cannot be read"):
        read_card(copy)


def test_truncated_weights(copy):
    content = (copy / "weights.safetensors").read_bytes()
    (copy / "weights.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(DepthRosError, match=r"weights\.safetensors is damaged.*restore"):
        load_model(read_card(copy))


def test_truncated_weights_with_a_matching_checksum(copy):
    content = (copy / "weights.safetensors").read_bytes()
    (copy / "weights.safetensors").write_bytes(content[: len(content) // 2])
    edited(copy, sha256=checksum(copy / "weights.safetensors"))
    with pytest.raises(DepthRosError, match="does not fit family 'compact'"):
        load_model(read_card(copy))


def test_missing_weights(copy):
    (copy / "weights.safetensors").unlink()
    with pytest.raises(DepthRosError, match="missing: restore it"):
        load_model(read_card(copy))


def test_weights_of_another_architecture(copy):
    edited(copy, family="monodepth", settings={})
    with pytest.raises(DepthRosError, match="does not fit family 'monodepth'"):
        load_model(read_card(copy))


def test_readme_repeats_the_licence_note_of_monodepth():
    from depth_ros.networks.monodepth import LICENCE_NOTE

    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert LICENCE_NOTE in " ".join(readme.split())
