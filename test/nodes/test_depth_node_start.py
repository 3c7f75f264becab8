"""Start of the installed depth_node: with a missing or damaged model, and with invalid parameters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_client import Client

from depth_ros.nodes import depth_node
from depth_ros.playback.play import node_process

COMMAND = ["-m", "depth_ros.nodes.depth_node", "--ros-args"]


@pytest.mark.parametrize("damage", ["unknown", "truncated"])
def test_a_node_whose_model_cannot_be_loaded_stays_unconfigured_and_can_be_corrected(
    damage: str, small_model: Path, tmp_path: Path
):
    model, words = "no_such_model", "no model 'no_such_model'; available models:"
    if damage == "truncated":
        for file in small_model.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        weights = tmp_path / "weights.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        model, words = str(tmp_path), "weights.safetensors is damaged"
    with node_process([*COMMAND, "-p", f"model:={model}"]) as (process, namespace):
        client = Client(namespace, depth_node)
        try:
            status = client.wait_for_status(DiagnosticStatus.ERROR, "cannot configure: ")
            assert words in status.message
            assert client.state() == "unconfigured" and process.poll() is None
            assert client.set_parameters(model=str(small_model))[0].successful
            assert client.change_state("configure") and client.state() == "inactive"
        finally:
            client.close()
    assert process.returncode == 0


@pytest.mark.parametrize(
    "given, words",
    [
        ("point_stride:=99", "parameter 'point_stride' is 99 px; it must be at least 1 px and at most 16 px"),
        ("backend:=abacus", "parameter 'backend' is 'abacus'; allowed: 'auto'"),
        ("model:=7", "parameter 'model' is 7; it must be of type str"),
    ],
)
def test_an_invalid_parameter_ends_the_node_with_one_line(given: str, words: str):
    done = subprocess.run(
        [sys.executable, *COMMAND, "-p", given], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr


RELATIVE = """
from types import SimpleNamespace
import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from depth_ros.nodes.depth_node import DepthNode
from depth_ros.nodes.worker import Worker
rclpy.init(args=["--ros-args", "-p", "modle:=x"])
estimator = SimpleNamespace(card=SimpleNamespace(scale="affine_inverse"))
node = DepthNode(lambda *_: estimator, Worker())
assert node.parameters.unknown == ["modle"]
assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
assert "'mono' estimates relative inverse depth" in node.diagnostics.error, node.diagnostics.error
"""


def test_relative_models_are_refused_and_unknown_parameters_warned_about():
    """In a process of its own: a life-cycle node keeps its DDS participant until the process ends."""
    result = subprocess.run([sys.executable, "-c", RELATIVE], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "unknown parameters modle; known are model, " in result.stderr


TWO_VIEWS = """
from types import SimpleNamespace
import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from depth_ros.nodes.depth_node import DepthNode
from depth_ros.nodes.worker import Worker
rclpy.init()
card = SimpleNamespace(scale="up_to_scale", extra_inputs=["people", "parallax"])
node = DepthNode(lambda *_: SimpleNamespace(card=card), Worker())
assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
"""


def test_models_that_take_more_than_the_image_are_warned_about():
    result = subprocess.run([sys.executable, "-c", TWO_VIEWS], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "takes people, parallax beside the image, which the node does not make" in result.stderr
