"""Nodes under test, each in a process of its own. Without ROS this folder is skipped."""

from __future__ import annotations

import importlib.util
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from node_client import Client

if importlib.util.find_spec("rclpy") is None:
    collect_ignore_glob = ["test_*.py", "*/test_*.py"]

# Before any DDS participant is created: a domain of its own, and a transport that carries large images.
os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 100)))
for variable in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):  # Fast DDS 3 and 2
    os.environ.setdefault(
        variable, str(Path(__file__).resolve().parents[2] / "config/fastdds_large_images.xml")
    )


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of the real DepthNode in a process of its own, with an estimator of known results."""
    from node_client import Client

    from depth_ros.nodes import depth_node
    from depth_ros.playback.play import node_process

    log = tmp_path_factory.mktemp("node") / "estimates.txt"
    log.touch()
    script = Path(__file__).parent / "known_depth_node.py"
    with node_process([str(script), str(log), "--ros-args", "-p", "flying_pixels:=0.0"]) as (_, namespace):
        client = Client(namespace, depth_node, log=log)
        yield client
        client.close()


@pytest.fixture(scope="session")
def motion_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A struct2depth model of task object_motion with random weights, an eighth as wide."""
    import torch

    from depth_ros.networks import struct2depth
    from depth_ros.training.export import export
    from depth_ros.training.recipes import CropSettings, Recipe, Source
    from depth_ros.training.supervision.video import VideoSupervision

    torch.manual_seed(0)
    recipe = Recipe(
        name="moved", family="struct2depth", crop=CropSettings(128, 64), sources=(Source("world:street", count=1),),
        validation=(), description="a test", licence="Apache-2.0", terms="", supervision=VideoSupervision(),
    )  # fmt: skip
    models = struct2depth.build_training_model(struct2depth.Settings(width_divisor=8, motion_scale=0.1))
    folder = tmp_path_factory.mktemp("models") / "moved"
    return export(models, recipe, folder).with_name("moved_object_motion")
