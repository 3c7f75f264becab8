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
ROUNDS = 4
"""Other processes take time from some of them; a node that waits for the subscriber is slow in all."""
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


def ratio_while_frozen(client: Client, subscriber: subprocess.Popen) -> float:
    """Depth images of the client while the subscriber is frozen, as a fraction of those before."""
    subscriber.send_signal(signal.SIGCONT)
    frames_received(client)  # the subscriber reads what has waited
    before = frames_received(client)
    subscriber.send_signal(signal.SIGSTOP)
    frames_received(client)  # its queues fill
    return frames_received(client) / before


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
            ratios = [ratio_while_frozen(client, subscriber)]
            while ratios[-1] <= 0.5 and len(ratios) < ROUNDS:
                ratios.append(ratio_while_frozen(client, subscriber))
        finally:
            subscriber.kill()
    assert ratios[-1] > 0.5, ratios
