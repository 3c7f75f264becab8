"""Status messages go on whatever a node's own values do."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from depth_ros.nodes.diagnostics import Diagnostics
rclpy.init()
node, given, published = Node("node"), [], []
def values():
    return given[0]()
diagnostics = Diagnostics(node, "test", values, lambda: "")
diagnostics._publisher.publish = lambda message: published.append(message.status[0])
def status(make):
    given[:] = [make]
    diagnostics.tick()
    return published[-1].level, published[-1].message
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
assert status(dict) == (OK, "ok")
assert status(lambda: 1 / 0) == (ERROR, "internal error, ZeroDivisionError: division by zero")
assert status(lambda: {"engine problem": "the disk is full"}) == (ERROR, "the disk is full")
assert status(dict) == (OK, "ok")
diagnostics.environment_problem = "no log files"
diagnostics.warn("no time", rejected=2)
assert status(dict) == (WARN, "no time; no log files") and diagnostics.rejected == 2
assert {pair.key: pair.value for pair in published[-1].values}["rejected frames"] == "2"
diagnostics.error = "cannot configure: no model"
assert status(lambda: {"engine problem": "full"}) == (ERROR, "cannot configure: no model; full")
"""


def test_levels_and_messages_of_the_status():
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
