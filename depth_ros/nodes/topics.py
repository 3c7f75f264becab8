"""Declarations of the topics that a node subscribes and publishes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rclpy.node import Node

MAX_NAMED = 6
"""Topics that a message names at most."""


@dataclass(frozen=True)
class Topic:
    """A topic of a node; every node module lists its own in `TOPICS`.

    name: relative to the namespace of the node unless it starts with a slash. type: the message class, e.g.
    sensor_msgs.msg.Image. condition: the parameters that make the node use it, e.g. "publish_tf"; empty = always.
    depth: messages in the publisher's queue.
    """

    name: str
    type: type
    direction: Literal["in", "out"]
    description: str
    condition: str = ""
    depth: int = 1


def others_of_type(node: Node, type_name: str) -> str:
    """The topics of a message type, e.g. sensor_msgs/msg/Image, that other nodes publish, for a message to the user."""
    found = []
    for topic, types in node.get_topic_names_and_types():
        publishers = node.get_publishers_info_by_topic(topic) if type_name in types else []
        if any(
            (p.node_namespace, p.node_name) != (node.get_namespace(), node.get_name()) for p in publishers
        ):
            found.append(topic)
    if not found:
        return f"no other node publishes {type_name}"
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return f"{type_name} is published on {', '.join(found[:MAX_NAMED])}{more}"
