"""The table of topics of each node against the topics that the real node has, over DDS."""

from __future__ import annotations

import importlib

import pytest
from node_client import Client

from depth_ros.nodes.outputs.depth import UP_TO_SCALE_TOPICS
from depth_ros.nodes.topics import Topic
from depth_ros.playback.play import node_process

CASES = {
    "depth_node": (
        ["image_transport:=compressed", "temporal_fusion:=true"],
        {"image", *(topic.name for topic in UP_TO_SCALE_TOPICS)},
    ),
    "stereo_depth_node": (["model:=semi_global"], {"left/image/compressed", "right/image/compressed"}),
    "planes_node": (["source:=depth"], {"image/compressed"}),
    "odometry_node": (
        ["publish_tf:=true", "use_imu:=true", "use_wheel_odometry:=true", "depth_scale:=up_to_scale"],
        {"image/compressed"},
    ),
    "object_motion_node": (["ego_motion:=odom", "use_labels:=true"], {"image/compressed"}),
}
"""Parameters that fulfil nearly all conditions, and the topics whose condition is not fulfilled."""
OF_EVERY_NODE = {"/rosout", "/parameter_events", "/diagnostics"}
ON_DEMAND = {"/tf"}
"""Subscribed only once a chain of frames is not static."""


@pytest.mark.parametrize("name", CASES)
def test_the_node_has_the_topics_of_its_table(name: str):
    module = importlib.import_module(f"depth_ros.nodes.{name}")
    parameters, unused = CASES[name]
    words = [word for parameter in parameters for word in ("-p", parameter)]
    with node_process(["-m", module.__name__, "--ros-args", *words]) as (_, namespace):
        client = Client(namespace, module)
        try:
            client.wait_until(lambda: client.state() == "active")
            client.spin(0.5)
            ends = {
                "out": client.node.get_publisher_names_and_types_by_node(name, namespace),
                "in": client.node.get_subscriber_names_and_types_by_node(name, namespace),
            }
        finally:
            client.close()

    def is_own(topic: str) -> bool:
        return topic not in OF_EVERY_NODE and not topic.startswith(f"{namespace}/{name}/")

    def expected(direction: str) -> dict[str, str]:
        topics = [t for t in module.TOPICS if t.direction == direction and t.name not in unused]
        return {full_name(topic, namespace): type_name(topic) for topic in topics}

    found = {
        direction: {topic: types[0] for topic, types in entries if is_own(topic)}
        for direction, entries in ends.items()
    }
    assert found["out"] == expected("out")
    wanted = expected("in")
    on_demand = ON_DEMAND & (set(wanted) - set(found["in"]))
    assert found["in"] == {topic: wanted[topic] for topic in wanted if topic not in on_demand}


def full_name(topic: Topic, namespace: str) -> str:
    return topic.name if topic.name.startswith("/") else f"{namespace}/{topic.name}"


def type_name(topic: Topic) -> str:
    package = topic.type.__module__.partition(".")[0]
    return f"{package}/msg/{topic.type.__name__}"
