"""The tables of topics of the nodes against their actual subscriptions and publishers."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import rclpy
from rclpy.parameter import Parameter

from depth_ros.engine import EngineStatus
from depth_ros.nodes.worker import Worker

ESTIMATOR = SimpleNamespace(
    card=SimpleNamespace(scale="metric", extra_inputs=()), engine_status=EngineStatus("known", "made for tests"),
    disparity_range=64, step=0.1, reset=lambda: None,
)  # fmt: skip
ESTIMATOR.depth = ESTIMATOR
ESTIMATORS = SimpleNamespace(object_motion=lambda *_: ESTIMATOR, odometry=lambda *_: ESTIMATOR)
"""All that nodes use of their estimators when they are configured."""

COMPRESSED = {"image_transport": "compressed"}
ALL_SOURCES = {"depth_scale": "up_to_scale", "use_imu": True, "use_wheel_odometry": True, "publish_tf": True}
CONFIGURATIONS = {
    "depth_node": ("DepthNode", [{}, COMPRESSED, {"model": "up_to_scale", "temporal_fusion": True}]),
    "stereo_depth_node": ("StereoDepthNode", [{}, COMPRESSED]),
    "planes_node": ("PlanesNode", [{}, COMPRESSED]),
    "odometry_node": ("OdometryNode", [{}, COMPRESSED, ALL_SOURCES]),
    "object_motion_node": ("ObjectMotionNode", [{}, COMPRESSED, {"use_labels": True, "ego_motion": "odom"}]),
}
"""Class of the node, and parameters that make it use all its topics together."""
ON_DEMAND = {("/tf", "in")}
"""Topics that are subscribed to only once a transform is needed that is not static."""
OF_RCLPY = {"/parameter_events", "/rosout", "/diagnostics"}


def make_estimator(model: object, *_: object) -> SimpleNamespace:
    if model == "up_to_scale":
        return SimpleNamespace(
            card=SimpleNamespace(scale="up_to_scale", extra_inputs=()), engine_status=EngineStatus()
        )
    return ESTIMATOR


@pytest.fixture
def worker() -> Iterator[Worker]:
    rclpy.init()
    worker = Worker()
    yield worker
    worker.close(10.0)
    rclpy.shutdown()


def actual_topics(node) -> set[tuple[str, str, type]]:
    """Name, direction and type of the topics of an active node."""
    topics = {(s.topic_name, "in", s.msg_type) for s in node.subscriptions}
    topics |= {(p.topic_name, "out", p.msg_type) for p in node.publishers}
    return {
        topic
        for topic in topics
        if topic[0] not in OF_RCLPY and not topic[0].startswith(f"/{node.get_name()}/")
    }


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_node_uses_the_topics_of_its_table_and_no_others(worker, name: str):
    """Topics without a condition are used in every configuration, all topics in at least one."""
    module = importlib.import_module(f"depth_ros.nodes.{name}")
    class_name, configurations = CONFIGURATIONS[name]
    table = {(f"/{t.name.lstrip('/')}", t.direction, t.type): t for t in module.TOPICS}
    unused = {topic for topic in table if topic[:2] not in ON_DEMAND}
    estimators = ESTIMATORS if name == "object_motion_node" else make_estimator
    for i, parameters in enumerate(configurations):
        node = getattr(module, class_name)(estimators, worker, f"{name}_{i}")
        node.set_parameters([Parameter(key, value=value) for key, value in parameters.items()])
        node.trigger_configure()
        node.trigger_activate()
        assert node.life_cycle.is_active, node.diagnostics.error
        actual = actual_topics(node)
        node.trigger_shutdown()
        node.destroy_node()
        assert actual <= set(table)
        required = {topic for topic, t in table.items() if not t.condition and topic[:2] not in ON_DEMAND}
        assert required <= actual
        unused -= actual
    assert not unused
