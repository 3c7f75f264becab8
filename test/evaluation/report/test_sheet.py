"""The image of the best and the worst images of an evaluation."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_ros.cli import main
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.report.sheet import SheetRow, extreme_images, write_sheet
from depth_ros.world import World, WorldSettings, write_folder


def test_the_best_come_first_and_the_worst_last() -> None:
    names = [*(f"best {n}" for n in range(1, 6)), *(f"worst {n}" for n in range(5, 0, -1))]
    shown = extreme_images(range(100, 140))
    assert list(shown.values()) == names
    assert list(shown) == [*range(100, 105), *range(135, 140)]
    assert extreme_images([8, 4, 6]) == {8: "best 1", 4: "best 2", 6: "worst 1"}
    assert extreme_images([4]) == {4: "best 1"}


def test_a_sheet_has_the_images_side_by_side_and_wide_ones_on_two_lines(tmp_path) -> None:
    colours = {"image": (200, 0, 0), "depth": (0, 200, 0), "ground truth": (0, 0, 200), "error": (90, 90, 90)}
    for height, positions in (
        (60, ((60, 50), (60, 250), (60, 450), (60, 650))),
        (20, ((60, 100), (60, 500), (165, 100))),
    ):
        images = {name: np.full((height, 80, 3), colour, np.uint8) for name, colour in colours.items()}
        write_sheet(tmp_path / "made/sheet.png", [SheetRow("first", images)], "note")
        sheet = cv2.cvtColor(cv2.imread(str(tmp_path / "made/sheet.png")), cv2.COLOR_BGR2RGB)
        for (v, u), colour in zip(positions, colours.values()):
            assert tuple(sheet[v, u]) == colour
    with pytest.raises(DepthRosError, match="could not write"):
        write_sheet(tmp_path / "sheet.unknown", [SheetRow("first", images)], "note")


def test_evaluate_writes_the_pictures_of_one_image_and_of_pairs(
    small_model, engine_cache, tmp_path, capsys
) -> None:
    world = World(WorldSettings(kind="street", frames=3, width=256, height=96))
    clip = str(write_folder(world, tmp_path / "street"))
    for model, lines in ((str(small_model), 2), ("semi_global", 2)):
        file = tmp_path / "pictures.webp"
        command = ["evaluate", "depth", "--model", model, "--data", clip, "--backend", "eager"]
        assert main([*command, "--pictures", str(file)]) == 0
        assert f"pictures: {file}" in capsys.readouterr().out
        panel = round((800 - 4) / 2 * 96 / 256) + 4
        assert cv2.imread(str(file)).shape == (3 * (lines * panel + 20) + 20, 800, 3)
    assert main([*command, "--filters", "--pictures", str(file)]) == 1
    assert "--pictures is for evaluate depth of one recording" in capsys.readouterr().err
