"""The client of the other tests: it fails soon, and with the reason, if there is no node."""

from __future__ import annotations

import time

import node_client
import pytest
from node_client import Client

from depth_ros.nodes import depth_node


def test_a_client_without_a_node_fails_with_the_reason_and_later_ones_of_the_module_at_once(monkeypatch):
    assert node_client.DISCOVERY_TIMEOUT == 90
    monkeypatch.setattr(node_client, "DISCOVERY_TIMEOUT", 1.0)
    monkeypatch.setattr(node_client, "_undiscovered", {})
    reason = (
        "node 'depth_node' in '/nowhere' was not discovered within 1 s: service depth_node/get_state is not "
        "available; status on /diagnostics not received"
    )
    for text, limit in ((reason, 3.0), (f"as in an earlier test of this module, {reason}", 0.1)):
        client = Client("/nowhere", depth_node)
        begin = time.monotonic()
        with pytest.raises(pytest.fail.Exception, match=text):
            client.wait_until(lambda: True)
        assert time.monotonic() - begin < limit
        client.close()
