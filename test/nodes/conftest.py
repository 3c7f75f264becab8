"""A node under test in a process of its own. Without ROS this folder is left out."""

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
    collect_ignore_glob = ["test_*.py"]

# Before any participant is made: neighbours on this network stay out, and large images pass.
os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 100)))
os.environ.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of the real DepthNode, which has an estimator of known results and a process of its own."""
    from node_client import Client

    from depth_ros.nodes.play import node_process

    log = tmp_path_factory.mktemp("node") / "estimates.txt"
    log.touch()
    script = Path(__file__).parent / "known_depth_node.py"
    with node_process([str(script), str(log), "--ros-args"]) as (_, namespace):
        client = Client(namespace, log)
        yield client
        client.close()
