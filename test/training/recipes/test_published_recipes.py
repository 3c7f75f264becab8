"""Recipes as published run on made-up data in the official layouts, from the command line to the exported model.

Networks are reduced by --set, so that a step takes a fraction of a second; everything else is as published.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_ros.card import load_model, read_card
from depth_ros.cli import main
from depth_ros.errors import DepthRosError
from depth_ros.training.data.cache import ArrayCache
from depth_ros.training.data.source import DataFolders, Source, each_recording
from depth_ros.training.recipes import find_recipe, recipe_names

sys.path.append(str(Path(__file__).resolve().parents[2] / "recordings/layouts"))
from test_mannequin_inputs import write as write_hdf5
from test_nyu_layouts import make_labelled
from test_nyu_layouts import make_raw as make_nyu_scene
from test_public_layouts import DRIVE
from test_public_layouts import make_raw as make_kitti
from test_rgbd_scenes import make_scannet


def nyu(root: Path) -> None:
    make_labelled(root, count=5)
    make_nyu_scene(root / "nyu_raw/basements/basement_0001a", np.full((480, 640), 1000))
    (root / "nyu_raw/train_scenes.txt").write_text("basements/basement_0001a\n")


def scannet(root: Path) -> None:
    make_labelled(root, count=5)
    make_scannet(root / "scannet/scene0000_00")
    (root / "scannet/scannetv2_train.txt").write_text("scene0000_00\n")


def kitti(root: Path) -> None:
    """Three pairs, the lists of both authors, and a mask of a car in each image."""
    make_kitti(root / "kitti_raw")
    for index in range(3):
        mask = root / f"kitti_raw_masks/{DRIVE}/{index:010d}.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        car = np.zeros((24, 40), np.uint16)
        car[8:16, 10:25] = 26001
        cv2.imwrite(str(mask), car)
    image = f"{DRIVE}/image_0{{}}/data/0000000001.jpg"
    for name in ("train", "val"):
        (root / f"sfmlearner_{name}.txt").write_text("2011_09_26_drive_0001_sync_02 0000000001\n")
        (root / f"kitti_{name}_files.txt").write_text(f"{image.format(2)} {image.format(3)}\n")


def cityscapes(root: Path) -> None:
    camera = {
        "extrinsic": {"baseline": 0.22}, "intrinsic": {"fx": 2262.5, "fy": 2265.3, "u0": 1096.9, "v0": 513.1},
    }  # fmt: skip
    for split, city in (("train", "aachen"), ("val", "bonn")):
        folder = root / f"cityscapes/leftImg8bit_sequence/{split}/{city}"
        masks, cameras = root / f"cityscapes_masks/{split}", root / f"cityscapes/camera/{split}/{city}"
        for each in (folder, masks, cameras):
            each.mkdir(parents=True)
        for index in range(3):
            name = f"{city}_000000_{index:06d}"
            cv2.imwrite(
                str(folder / f"{name}_leftImg8bit.png"), np.full((1024, 2048, 3), 40 * index, np.uint8)
            )
            car = np.zeros((1024, 2048), np.uint16)
            car[400:600, 900:1300] = 26001
            cv2.imwrite(str(masks / f"{name}.png"), car)
        (cameras / f"{city}_000000_000001_camera.json").write_text(json.dumps(camera))


def mannequin(root: Path) -> None:
    for part in ("train", "validation"):
        (root / f"mannequin_hdf5/{part}").mkdir(parents=True)
        write_hdf5(root / f"mannequin_hdf5/{part}/a.jpg.h5", "img", "mvs_depth")


NARROW = ["settings.width_divisor=8", "crop.width=64", "crop.height=32"]
PUBLISHED = {
    "fcrn_nyu_published": (nyu, ["settings.backbone=lite0", "crop.width=64", "crop.height=48"]),
    "sfmlearner_kitti_published": (kitti, NARROW),
    "monodepth_kitti_published": (kitti, ["settings.width_divisor=16", "crop.width=128", "crop.height=128"]),
    "vid2depth_kitti_published": (kitti, [*NARROW, "loss_settings.alignment_scale=3"]),
    "struct2depth_kitti_published": (kitti, NARROW),
    "struct2depth_cityscapes_published": (cityscapes, NARROW),
    "planenet_scannet_published": (
        scannet, ["settings.network=lite", "settings.crf_iterations=0", "crop.width=64", "crop.height=64"]
    ),
    "mannequin_published": (mannequin, NARROW),
}  # fmt: skip


def test_all_published_recipes_are_tested():
    assert {name for name in recipe_names() if name.endswith("_published")} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_trains_and_exports_its_model(name, tmp_path, monkeypatch):
    make, changes = PUBLISHED[name]
    make(tmp_path)
    command = ["train", name, "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--workers", "0"]
    command += ["--set", "steps=2", "batch_size=2", *changes]
    monkeypatch.setattr(sys, "argv", ["depth_ros", *command])
    assert not main(command)
    card, recipe = read_card(tmp_path / f"run/{name}_own"), find_recipe(name)
    assert (card.family, card.fit, tuple(card.region)) == (
        recipe.family, recipe.crop.fit, recipe.crop.region,
    )  # fmt: skip
    assert card.scale == recipe.supervision.scale and "--set steps=2" in card.recipe
    load_model(card)
    (row,) = csv.DictReader((tmp_path / "run/training.csv").open())
    assert row["step"] == "2" and np.isfinite(float(row["loss"])) and len(row) > 2
    state = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)
    group = state["optimiser"]["param_groups"][0]
    assert group["lr"] == pytest.approx(recipe.learning_rate * (0.25 if "monodepth" in name else 1))
    assert group["weight_decay"] == recipe.weight_decay
    weights = {key: value for key, value in state["average"].items() if key != "n_averaged"}
    for key, value in weights.items():
        assert torch.equal(value, state["model"][key.removeprefix("module.")]), "averaged"


def test_a_list_or_a_pattern_stands_for_its_recordings(tmp_path):
    folders = DataFolders(tmp_path, ArrayCache())
    for name in ("b", "a"):
        (tmp_path / "scans" / name).mkdir(parents=True)
    (tmp_path / "scans/train.txt").write_text("b\n\na\n")
    rendered = Source("world:room", count=1)
    listed = each_recording([Source("scans/train.txt", "all", every=3), rendered], folders)
    assert [Path(each.folder).name for each in listed] == ["b", "a", "world:room"]
    assert listed[0].every == 3 and listed[2] == rendered
    found = each_recording([Source("scans/*/")], folders)
    assert [Path(each.folder).name for each in found] == ["a", "b"]
    (tmp_path / "scans/train.txt").write_text("a\nc\n")
    with pytest.raises(DepthRosError, match=r"lists c, which is not beside it \(1 of 2"):
        each_recording([Source("scans/train.txt")], folders)
    for missing in ("scans/test.txt", "rooms/*"):
        with pytest.raises(DepthRosError, match="no "):
            each_recording([Source(missing)], folders)


def test_frames_of_a_list_have_neighbours_and_masks(tmp_path):
    kitti(tmp_path)
    recipe, folders = find_recipe("struct2depth_kitti_published"), DataFolders(tmp_path, ArrayCache())
    clips = recipe.supervision.load_training_data(recipe.sources, recipe.crop, folders)
    (clip,) = (clips[index] for index in range(len(clips)))
    assert [frame.image[0, 0, 0] for frame in clip] == [0, 10, 20]
    assert [set(np.unique(frame.labels)) for frame in clip] == [{0, 1}] * 3


def test_every_nth_sample_is_used(tmp_path):
    make_scannet(tmp_path / "scene")
    recipe, folders = find_recipe("planenet_scannet_published"), DataFolders(tmp_path, ArrayCache())
    for every, count in ((1, 3), (2, 2), (50, 1)):
        items = recipe.supervision.load_training_data(
            [Source("scene", "all", every=every)], recipe.crop, folders
        )
        assert len(items) == count
