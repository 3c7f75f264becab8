"""Evaluation of online refinement: rows with and without masks, on clips of neighbouring images."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from depth_ros.card import Card
from depth_ros.cli import main
from depth_ros.datatypes import Camera, Frame
from depth_ros.estimators.refinement import PUBLISHED, ClipRefiner
from depth_ros.evaluation.refined_depth import Clips
from depth_ros.networks import family
from depth_ros.recordings import Contents, Sample, open_recording
from depth_ros.training.export import save_model
from depth_ros.world import World, WorldSettings, write_folder

FRAMES = 4


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    world = World(WorldSettings(kind="street", seed=2, frames=FRAMES, width=128, height=64, moving_count=3))
    return write_folder(world, tmp_path_factory.mktemp("clip") / "street")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Random models of struct2depth as imported; the camera moves forward by more than the published minimum."""
    folder, module = tmp_path_factory.mktemp("models"), family("struct2depth")
    torch.manual_seed(0)
    models = module.build_training_model(module.Settings(width_divisor=16))
    with torch.no_grad():
        models["ego_motion"].network.pred.bias[2::6] = 20.0
    for task, each in models.items():
        card = Card(
            f"struct2depth_{task}", task, "struct2depth", 128, 64, "up_to_scale", "none", "",
            frames=1 if task == "depth" else 3, path=folder / f"struct2depth_{task}", settings={"width_divisor": 16},
        )  # fmt: skip
        save_model(each.eval(), card)
    return folder / "struct2depth_depth"


def abs_rel(depths, ground_truths) -> float:
    """Mean over images of the mean of |s d - g| / g within 80 m, s the ratio of the medians."""
    errors = []
    for d, g in zip(depths, ground_truths):
        assert d.shape == g.shape
        height, width = g.shape
        rows = slice(int(0.40810811 * height), int(0.99189189 * height))
        columns = slice(int(0.03594771 * width), int(0.96405229 * width))
        d, g = d[rows, columns], g[rows, columns]
        d, g = (each[(g > 1e-3) & (g < 80)].astype(float) for each in (d, g))
        d = np.clip(d * np.median(g) / np.median(d), 1e-3, 80)
        errors.append(np.mean(np.abs(d - g) / g))
    return float(np.mean(errors))


def evaluate(capsys, clip, model, *options):
    command = ["evaluate", "depth", "--data", str(clip), "--model", str(model), "--protocol", "eigen_median"]
    assert main([*command, "--json", "-", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_rows_without_refinement_with_it_and_with_masks(clip, model, capsys):
    result = evaluate(capsys, clip, model, "--refine", "--refine-steps", "2")
    rows = {row["row"]: row for row in result["rows"]}
    assert list(rows) == ["trained", "R", "M+R"] and result["images"] == FRAMES
    missing = {"not refined: a neighbouring frame is missing": 2}
    assert rows["R"]["outcomes"] == {"refined": 2, **missing} == rows["M+R"]["outcomes"]
    samples = [open_recording(clip)[i] for i in range(FRAMES)]
    ground_truths = [sample.depth for sample in samples]
    refiner = ClipRefiner(str(model), PUBLISHED.__class__(**{**vars(PUBLISHED), "steps": 2}))
    trained = [refiner.trained_depth(sample.left).depth for sample in samples]
    assert rows["trained"]["metrics"]["abs_rel"] == pytest.approx(abs_rel(trained, ground_truths), rel=1e-5)
    for name, masks in (("R", False), ("M+R", True)):
        middle = []
        for i in (1, 2):
            part = samples[i - 1 : i + 2]
            labels = [each.moving_objects for each in part] if masks else []
            middle.append(refiner.refined_depth([each.left for each in part], labels).depth)
        depths = [trained[0], *middle, trained[3]]
        assert rows[name]["metrics"]["abs_rel"] == pytest.approx(abs_rel(depths, ground_truths), rel=1e-7)
    assert len({rows[name]["metrics"]["abs_rel"] for name in rows}) == 3
    assert "2 steps of Adam at 0.0001 on 3 frames, depth of the middle one" in result["protocol"]


def test_the_table_of_the_paper_has_a_model_without_masks_beside(clip, model, capsys):
    result = evaluate(capsys, clip, model, "--refine", "guarded", "--refine-steps", "1", "--limit", "2",
                      "--static-model", str(model))  # fmt: skip
    assert [row["row"] for row in result["rows"]] == ["none", "R", "M", "M+R"]
    assert "depth of the newest one" in result["protocol"] and "change of at most 0.3" in result["protocol"]
    by_name = {row["row"]: row["metrics"]["abs_rel"] for row in result["rows"]}
    assert by_name["none"] == by_name["M"]


class Drives:
    """Two drives of three frames each, without a gap in time between them."""

    names = ("a/0", "a/1", "a/2", "b/0", "b/1", "b/2")
    contents = Contents()
    stamps = tuple(range(0, 600_000_000, 100_000_000))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        camera = Camera.pinhole(8, 4, 5.0, 5.0, 3.5, 1.5)
        image = np.full((4, 8, 3), index, np.uint8)
        return Sample(self.names[index], Frame(self.stamps[index], "camera", image, camera))


@pytest.mark.parametrize(
    ("target", "found"), [(1, {1: [0, 1, 2], 4: [3, 4, 5]}), (2, {2: [0, 1, 2], 5: [3, 4, 5]})]
)
def test_clips_are_the_neighbours_within_a_drive(target, found):
    """Also of samples of another selection of the images, by their names; of the right camera there are none."""
    recording, clips = Drives(), Clips(Drives(), 3, target)
    for index in range(6):
        of_index = [each.name for each in clips.of(recording[index])]
        assert of_index == [recording.names[i] for i in found.get(index, [])]
    sample = recording[target]
    other = dataclasses.replace(sample.left, camera=Camera.pinhole(8, 4, 6, 5, 3.5, 1.5))
    right = dataclasses.replace(sample, left=other)
    assert clips.of(right) == [] and clips.of(dataclasses.replace(sample, name="c/1")) == []


@pytest.mark.parametrize("command", [
    ["evaluate", "depth", "--model", "{model}", "--data", "{clip}", "--refine", "--post-process"],
    ["replay", "{clip}", "--model", "{model}", "--refine", "2", "--post-process"],
])  # fmt: skip
def test_refinement_is_not_combined_with_post_processing(command, small_model, tmp_path, capsys):
    write_folder(World(WorldSettings(kind="room", frames=3, width=64, height=48)), tmp_path / "clip")
    words = [word.format(model=small_model, clip=tmp_path / "clip") for word in command]
    assert main(words) == 1
    assert "leave out --post-process" in capsys.readouterr().err
