"""Declarations of the topics that a node subscribes and publishes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
