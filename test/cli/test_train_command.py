"""train: which recordings are trained and validated on, and what the last lines say."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from depth_ros.cli import train as command
from depth_ros.recordings import RecordingOptions
from depth_ros.training.data.source import Source
from depth_ros.training.recipes import find_recipe


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_commands(parser.add_subparsers())
    return parser.parse_args(["train", "mono_indoor", *arguments])


def parts(sources: list[Source]) -> list[tuple[str, str, Path | None]]:
    return [(source.folder, source.part, source.options.image_list) for source in sources]


@pytest.mark.parametrize(
    ("arguments", "trained", "validated"),
    [
        (
            "--on a b",
            [("a", "training", None), ("b", "training", None)],
            [("a", "held_out", None), ("b", "held_out", None)],
        ),
        ("--on 00 01 --validate-on 09", [("00", "all", None), ("01", "all", None)], [("09", "all", None)]),
        ("--on kitti --images t.txt", [("kitti", "all", Path("t.txt"))], []),
        (
            "--on kitti --images t.txt --validation-images v.txt",
            [("kitti", "all", Path("t.txt"))],
            [("kitti", "all", Path("v.txt"))],
        ),
    ],
)  # fmt: skip
def test_recordings_are_divided_into_training_and_validation(arguments, trained, validated):
    namespace = parsed(*arguments.split())
    assert parts(command.training_sources(namespace)) == trained
    assert parts(command.validation_sources(namespace)) == validated


def test_the_options_of_recordings_apply_to_training_and_validation():
    namespace = parsed("--on", "robot.mcap", "--depth-topic", "/depth", "--sync-tolerance", "0.05")
    expected = RecordingOptions(depth_topic="/depth", sync_tolerance=0.05)
    for sources in (command.training_sources(namespace), command.validation_sources(namespace)):
        assert [source.options for source in sources] == [expected]


def test_the_next_steps_name_the_recording_and_the_node(tmp_path):
    (tmp_path / "robot").mkdir()
    namespace = parsed("--on", "robot")
    recipe = find_recipe("mono_indoor").on_recordings(
        command.training_sources(namespace), command.validation_sources(namespace)
    )
    text = command.next_steps(recipe, Path("runs/model"), tmp_path)
    assert f"evaluate depth --model runs/model --data {tmp_path}/robot --split held_out" in text
    assert (
        "depth_ros compile runs/model" in text and "ros2 param set /camera/depth_ros/depth_node model" in text
    )
