"""Endurance test: a bag of stereo pairs, played in a loop through perception_node over DDS.

`soak.py BAG MINUTES OUT.csv [NAME:=VALUE ...]` writes a row every ten seconds: time, memory of the process, pairs
sent, pairs processed and images dropped according to its diagnostics, odometry received, starts of odometry, and the
last latency. A summary is printed as JSON. It shows lost frames that are not counted as dropped, growing memory, and
loops after which odometry did not restart.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from depth_ros.geometry import T_BODY_OPTICAL
from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.fill import fill_camera_info, fill_header, fill_image, fill_transform
from depth_ros.playback.play import node_process
from depth_ros.recordings.bags import BagRecording

ROW_PERIOD = 10.0
"""s."""
WARM_UP = 120.0
"""s before memory counts: engines are built and modules loaded on demand."""


class Robot:
    """Publishes the pairs of a bag and counts the results."""

    def __init__(self, bag: Path, namespace: str) -> None:
        rclpy.init()
        self.node = rclpy.create_node("soak", namespace=namespace)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        create = self.node.create_publisher
        self.topics = {
            side: (create(CameraInfo, f"{side}/camera_info", 1), create(Image, f"{side}/image", 1))
            for side in ("left", "right")
        }
        self.pairs = []
        with BagRecording(bag) as reader:
            for sample in reader:
                pair = {side: (CameraInfo(), Image()) for side in self.topics}
                for side, frame in (("left", sample.left), ("right", sample.right)):
                    fill_camera_info(pair[side][0], frame.camera)
                    fill_image(pair[side][1], frame.image, "rgb8")
                    for message in pair[side]:
                        fill_header(message.header, frame.stamp, frame.frame_id)
                self.pairs.append((sample.left.stamp, pair))
        self.sent = self.received = self.loops = 0
        self.times: dict[int, float] = {}
        self.latency = self.max_latency = 0.0
        self.values: dict[str, dict[str, str]] = {}
        self.node.create_subscription(Odometry, "odom", self.receive, 10)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self.watch, 10)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.static = create(TFMessage, "/tf_static", latched)
        transform = TransformStamped(child_frame_id=self.pairs[0][1]["left"][1].header.frame_id)
        transform.header.frame_id = "base_link"
        fill_transform(transform.transform, T_BODY_OPTICAL)
        self.static.publish(TFMessage(transforms=[transform]))

    def receive(self, message: Odometry) -> None:
        stamp = stamp_ns(message.header)
        if stamp in self.times:
            self.received += 1
            self.latency = time.monotonic() - self.times.pop(stamp)
            self.max_latency = max(self.max_latency, self.latency)

    def watch(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.values[status.name.rpartition(": ")[2]] = {p.key: p.value for p in status.values}

    def wait_until_ready(self) -> None:
        """Wait until odometry is received and all engines are built."""
        while not (self.received and self.value("stereo depth", "engine is being built") == "False"):
            self.send(0)
            self.spin(time.monotonic() + 0.3)

    def value(self, node: str, key: str) -> str:
        return self.values.get(node, {}).get(key, "")

    def counts(self) -> tuple[int, int, int]:
        """Pairs processed, images dropped and starts of odometry, from the last diagnostics."""
        stereo, odometry = self.values["stereo depth"], self.values["odometry"]
        return int(stereo["pairs"]), int(stereo["dropped frames"]), int(odometry["odometry starts"])

    def send(self, index: int) -> None:
        stamp, pair = self.pairs[index]
        self.times[stamp] = time.monotonic()
        for side, publishers in self.topics.items():
            for publisher, message in zip(publishers, pair[side], strict=True):
                publisher.publish(message)

    def spin(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            self.executor.spin_once(left)

    def loop(self) -> None:
        """Publish all pairs once, at their recorded rate."""
        self.times.clear()
        begin = time.monotonic()
        for index, (stamp, _) in enumerate(self.pairs):
            self.spin(begin + (stamp - self.pairs[0][0]) / 1e9)
            self.send(index)
            self.sent += 1
        self.spin(time.monotonic() + 0.5)
        self.loops += 1


def memory(pid: int) -> float:
    """Resident MB of a process."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main(bag: Path, minutes: float, out: Path, *parameters: str) -> None:
    options = [word for each in parameters for word in ("-p", each)]
    with node_process(["-m", "depth_ros.nodes.perception_node", "--ros-args", *options]) as (
        process,
        namespace,
    ):
        robot = Robot(bag, namespace)
        robot.wait_until_ready()
        robot.loop()  # not counted: odometry restarted several times before
        robot.sent = robot.received = robot.loops = 0
        robot.max_latency = 0.0
        robot.spin(time.monotonic() + 2)
        before = robot.counts()
        begin, last_row, rows = time.monotonic(), 0.0, []
        with out.open("w") as file:
            table = csv.writer(file)
            table.writerow(
                ["seconds", "memory_mb", "sent", "pairs", "dropped_images", "odom", "starts", "latency_ms"]
            )
            while (seconds := time.monotonic() - begin) < 60 * minutes:
                robot.loop()
                if seconds - last_row >= ROW_PERIOD or not rows:
                    pairs, dropped, starts = (a - b for a, b in zip(robot.counts(), before, strict=True))
                    counts = (robot.sent, pairs, dropped, robot.received, starts)
                    rows.append((seconds, memory(process.pid), *counts, 1000 * robot.latency))
                    table.writerow(
                        [f"{value:.1f}" if isinstance(value, float) else value for value in rows[-1]]
                    )
                    file.flush()
                    last_row = seconds
        robot.spin(time.monotonic() + 2)
        pairs, dropped, starts = (a - b for a, b in zip(robot.counts(), before, strict=True))
        warm = [row for row in rows if row[0] >= min(WARM_UP, 30 * minutes)]
        summary = {
            "minutes": (time.monotonic() - begin) / 60,
            "loops": robot.loops,
            "sent": robot.sent,
            "pairs": pairs,
            "dropped_images": dropped,
            "images_unaccounted": 2 * (robot.sent - pairs) - dropped,
            "odom": robot.received,
            "frames_lost": robot.value("odometry", "frames lost"),
            "starts": starts,
            "memory_mb": [warm[0][1], warm[-1][1]],
            "worst_latency_ms": 1000 * robot.max_latency,
        }
        print(json.dumps(summary))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
