"""A subscriber that has stopped reading, as RViz on a computer that sleeps: the others still get their depth."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from node_client import Client, camera, image_of, info_of

from depth_ros.nodes import depth_node
from depth_ros.playback.play import node_process

SIZE = camera(1280, 960)  # depth images of 1.2 MB and clouds of 4.9 MB
FRAMES = 60
PERIOD = 0.05
SUBSCRIBER = """
import rclpy, sys
from sensor_msgs.msg import Image, PointCloud2
rclpy.init()
node = rclpy.create_node("subscriber", namespace=sys.argv[1])
for kind, topic in ((PointCloud2, "points"), (Image, "depth/image_rect")):
    node.create_subscription(kind, topic, lambda message: print("received", flush=True), 5)
rclpy.spin(node)
"""


def frames_received(client: Client) -> int:
    """Number of depth images for FRAMES images at 20 Hz."""
    image, info = image_of(SIZE), info_of(SIZE)
    client.received["depth/image_rect"].clear()
    for _ in range(FRAMES):
        client.publish(image, info)
        client.spin(PERIOD)
    return len(client.received["depth/image_rect"])


def test_a_frozen_subscriber_does_not_slow_down_the_others(tmp_path: Path):
    script = Path(__file__).parent / "known_depth_node.py"
    with (
        node_process([str(script), str(tmp_path / "log"), "--ros-args"]) as (_, namespace),
        closing(Client(namespace, depth_node)) as client,
        subprocess.Popen(
            [sys.executable, "-c", SUBSCRIBER, namespace], stdout=subprocess.PIPE, text=True
        ) as subscriber,
    ):
        try:
            client.results_of(image_of(SIZE), info_of(SIZE), "depth/image_rect")
            frames_received(client)
            assert subscriber.stdout and subscriber.stdout.readline() == "received\n"
            before = frames_received(client)
            subscriber.send_signal(signal.SIGSTOP)
            frames_received(client)  # its queues fill
            during = frames_received(client)
        finally:
            subscriber.kill()
    assert during > before / 2
