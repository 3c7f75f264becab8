"""Figures of object motion: of results that are known, and of the estimator on a rendered street."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from depth_ros.cli import main
from depth_ros.datasets import Sample, open_folder
from depth_ros.datatypes import Camera, Depth, Frame, ObjectMotion
from depth_ros.evaluation.object_motion import Tally, velocity_errors
from depth_ros.evaluation.report.object_motion import motion_picture
from depth_ros.world import World, WorldSettings, write_folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = World(WorldSettings(seed=3, frames=4, width=480, height=144, moving=2, supersample=2))
    return write_folder(world, tmp_path_factory.mktemp("clip") / "street")


def box(label: int, rows: slice, columns: slice, velocity: tuple[float, float, float]) -> ObjectMotion:
    mask = np.zeros((20, 40), bool)
    mask[rows, columns] = True
    return ObjectMotion(label, mask, np.eye(4), np.zeros(3), np.array(velocity), 0.25 * np.eye(3))


def test_figures_of_known_results():
    """One object found with half its pixels, one missed, one that is none; velocity off by 0.5 of 5 m/s."""
    camera = Camera.pinhole(40, 20, 30.0, 30.0, 20.0, 10.0)
    image = np.zeros((20, 40, 3), np.uint8)
    moving = np.zeros((20, 40), np.int32)
    moving[2:6, 2:12], moving[10:14, 20:30] = 4, 9
    frame = Frame(1, "", image, camera)
    sample = Sample("", frame, moving=moving, velocities={4: np.array([0.0, 0.0, 5.0])})
    depth = Depth(1, "", np.ones((20, 40), np.float32), camera, image)
    tally = Tally()
    found = [box(1, slice(2, 6), slice(2, 7), (0, 0, 4.5)), box(2, slice(16, 20), slice(0, 5), (1, 0, 0))]
    tally.add(sample, depth, found, 0.01)
    tally.add(Sample("", frame), depth, [], 0.01)  # nothing known of this one
    figures = tally.figures()
    assert (figures["frames"], figures["frames_with_truth"], figures["objects_per_frame"]) == (2, 1, 1.0)
    assert (figures["objects_with_truth"], figures["found"], figures["false_per_frame"]) == (2, 0.5, 1.0)
    assert figures["moving_iou"] == pytest.approx(20 / (40 + 40 + 20))
    assert figures["speed_error"] == pytest.approx(0.1) and figures["angle_error_deg"] == pytest.approx(0)
    assert figures["nees"] == pytest.approx(1.0)


def test_an_angle():
    found = box(1, slice(0, 1), slice(0, 1), (0.0, 0.0, 2.0))
    share, angle, nees = velocity_errors(found, np.array([0.0, 2.0, 0.0]))
    assert (share, angle, nees) == pytest.approx((np.sqrt(2), 90.0, 32.0))


def test_velocities_of_a_written_street_are_those_of_the_world(clip: Path):
    world, folder = (
        World(WorldSettings(seed=3, frames=4, width=480, height=144, moving=2)),
        open_folder(clip),
    )
    assert folder[0].velocities is None
    for index in (1, 3):
        true = {each.label: each.velocity for each in world.object_motions(index)}
        assert set(true) == set(folder[index].velocities)
        for label, velocity in true.items():
            assert folder[index].velocities[label] == pytest.approx(velocity, abs=1e-3)
            assert 1 < np.linalg.norm(velocity) < 30


def test_the_command_measures_a_street(clip: Path, capsys: pytest.CaptureFixture):
    command = ["evaluate", "object_motion", "--data", str(clip), "--model", "recorded", "--json", "-"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["frames"] == 3 and result["false_per_frame"] == 0.0
    assert result["speed_error"] < 0.05 and result["angle_error_deg"] < 3 and result["found"] > 0.3
    assert main([*command, "--instances"]) == 0
    given = json.loads(capsys.readouterr().out)
    assert given["moving_iou"] > result["moving_iou"] and given["found"] >= 2 / 3


def test_what_moves_is_drawn_on_the_page(clip: Path, tmp_path: Path):
    """Tinted where it is found, with an arrow along its velocity, and outlined where it truly moves."""
    camera = Camera.pinhole(400, 200, 300.0, 300.0, 199.5, 99.5)
    depth = Depth(1, "", np.full((200, 400), 10.0, np.float32), camera, np.full((200, 400, 3), 90, np.uint8))
    mask, truth = np.zeros((200, 400), bool), np.zeros((100, 200), np.int32)
    mask[80:120, 40:80], truth[70:90, 150:180] = True, 3
    centre, velocity = np.array([-4.5, 0.0, 10.0]), np.array([0.0, -3.0, 0.0])
    found = ObjectMotion(1, mask, np.eye(4), centre, velocity, np.eye(3))
    drawn = motion_picture(depth, [found], truth).astype(int)
    assert (drawn[90, 45] != 90).any() and (drawn[20, 380] == 90).all()
    assert (drawn[60:75, 60:70] != 90).any()  # the arrow, 1.5 m up
    assert (drawn[140, 300:360] > 200).any() and (drawn[160, 330] == 90).all()
    page = tmp_path / "page.html"
    main(
        [
            "evaluate",
            "object_motion",
            "--data",
            str(clip),
            "--report",
            str(page),
            "--json",
            str(tmp_path / "x"),
        ]
    )
    text = page.read_text()
    assert "Object motion on street" in text and text.count("<img") == 6
