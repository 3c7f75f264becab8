"""Recorded pairs through the real stereo_depth_node with semi-global matching, over DDS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from stereo_client import StereoClient, Views

from depth_ros.messages.calibration import camera_from
from depth_ros.messages.decode import depth_from, stamp_ns
from depth_ros.playback.play import node_process
from depth_ros.recordings import Sample, open_recording

COMMAND = ["-m", "depth_ros.nodes.stereo_depth_node", "--ros-args", "-p", "model:=semi_global"]


@contextmanager
def semi_global_node(*parameters: str) -> Iterator[StereoClient]:
    words = [word for parameter in parameters for word in ("-p", parameter)]
    with node_process([*COMMAND, *words]) as (_, namespace):
        client = StereoClient(namespace)
        try:
            yield client
        finally:
            client.close()


def views(sample: Sample) -> Views:
    return {
        "left": (sample.left.image, sample.left.camera),
        "right": (sample.right.image, sample.right.camera),
    }


def test_kitti_at_its_recorded_rate(data_root: Path):
    folder = open_recording(data_root / "kitti_stereo_clip")
    ground_truth = open_recording(data_root / "kitti2015_stereo")
    index = ground_truth.names.index("000105")
    with semi_global_node("disparity_range:=128") as node:
        node.results_of_sent(lambda: node.send(views(folder[0])), "depth/image_rect")
        sent = []
        for number in range(8):
            sent.append(node.send(views(folder[number])))
            node.spin(0.1)
        node.wait_until(
            lambda: {stamp_ns(m.header) for m in node.received["depth/image_rect"]} & set(sent[-2:])
        )
        (depth,) = node.results_of_sent(lambda: node.send(views(ground_truth[index])), "depth/image_rect")
    estimated, true = depth_from(depth), ground_truth[index].depth
    valid = np.isfinite(estimated) & np.isfinite(true)
    assert valid.sum() > 0.75 * np.isfinite(true).sum()
    assert np.median(np.abs(estimated[valid] / true[valid] - 1)) < 0.03


def test_raw_euroc_images_are_rectified_and_warned_about_if_declared_rectified(data_root: Path):
    folder = open_recording(data_root / "euroc_v1_01")
    pair = views(folder[0])
    with semi_global_node("disparity_range:=96") as node:
        (info,) = node.results_of_sent(lambda: node.send(pair), "depth/camera_info")
        node.spin(1.2)
        assert not any("rectified" in status.message for status in node.statuses)
    camera = camera_from(info)
    assert camera.is_rectified and np.allclose(camera.P, folder[0].left.camera.P)
    with semi_global_node("disparity_range:=96", "rectified:=true") as node:
        node.results_of_sent(lambda: node.send(pair), "depth/camera_info")
        node.time_to_warning("the images are not rectified: the rows of", lambda: node.send(pair))
