"""QoS overrides with a typing error or an impossible value: the node lives and shows which one is wrong."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_client import Client

from depth_ros.nodes import depth_node
from depth_ros.playback.play import node_process

TOPIC = f"/camera_{os.getpid()}"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "/image.subscription.reliabilty",
            "best_effort",
            ": there is no policy 'reliabilty'; known are depth, history",
        ),
        (
            "/image.subscription.reliability",
            "best-effort",
            " is 'best-effort'; allowed: system_default, reliable, best_effort",
        ),
        ("/image.subscription.depth", "-1", " is -1; allowed: a whole number from 0"),
        ("/image.subscription.depth", "many", " is 'many'; allowed: a whole number"),
        ("/image.subscription.history", "7", " is 7; allowed: system_default, keep_last, keep_all"),
        (
            "/depth/image_rect.publisher.durability",
            "unknown",
            " is 'unknown'; allowed: system_default, transient_local",
        ),
    ],
)
def test_a_wrong_override_is_an_error_in_diagnostics(name: str, value: str, words: str, tmp_path: Path):
    script = str(Path(__file__).parent / "known_depth_node.py")
    override = f"qos_overrides.{TOPIC}{name}"
    remaps = [w for topic in ("image", "depth/image_rect") for w in ("-r", f"{topic}:={TOPIC}/{topic}")]
    command = [script, str(tmp_path / "log"), "--ros-args", *remaps, "-p", f"{override}:={value}"]
    with (
        node_process(command) as (process, namespace),
        closing(Client(namespace, depth_node)) as client,
    ):
        client.wait_for_status(DiagnosticStatus.ERROR, f"cannot configure: parameter '{override}'{words}")
        assert client.state() == "unconfigured" and process.poll() is None
    assert process.returncode == 0
