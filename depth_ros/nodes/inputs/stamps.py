"""Stamps of messages: zero is no time, and neither is a negative one."""

from __future__ import annotations

from rclpy.node import Node


def missing_stamp_text(node: Node, topic: str) -> str:
    """Warning for a message on `topic` without a time, which names the nodes that publish it."""
    publishers = sorted({each.node_name for each in node.get_publishers_info_by_topic(topic)})
    return (
        f"message on '{topic}' rejected: header.stamp is zero, which is no time; set it in the driver "
        f"(published by {', '.join(publishers) or 'an unknown node'})"
    )
