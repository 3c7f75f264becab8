"""Recorded pairs through the real stereo node with semi-global matching, over DDS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from stereo_client import StereoClient

from depth_ros.datasets import Sample, open_folder
from depth_ros.messages.decode import camera_from, depth_from, stamp_ns
from depth_ros.playback.play import node_process

COMMAND = ["-m", "depth_ros.nodes.stereo_depth_node", "--ros-args", "-p", "model:=semi_global"]


@contextmanager
def semi_global_node(*parameters: str) -> Iterator[StereoClient]:
    given = [word for parameter in parameters for word in ("-p", parameter)]
    with node_process([*COMMAND, *given]) as (_, namespace):
        client = StereoClient(namespace)
        try:
            yield client
        finally:
            client.close()


def eyes(sample: Sample) -> dict:
    return {
        "left": (sample.left.image, sample.left.camera),
        "right": (sample.right.image, sample.right.camera),
    }


def test_kitti_at_its_rate(data_root: Path):
    folder = open_folder(data_root / "kitti_stereo_clip")
    truth = open_folder(data_root / "kitti2015_stereo")
    index = truth.names.index("000105")
    with semi_global_node("disparity_range:=128") as node:
        node.results_of_sent(lambda: node.send(eyes(folder[0])), "depth/image_rect")
        sent = []
        for at in range(8):
            sent.append(node.send(eyes(folder[at])))
            node.spin(0.1)
        node.wait_until(
            lambda: {stamp_ns(m.header) for m in node.received["depth/image_rect"]} & set(sent[-2:])
        )
        (depth,) = node.results_of_sent(lambda: node.send(eyes(truth[index])), "depth/image_rect")
    found, right = depth_from(depth), truth[index].depth
    known = np.isfinite(found) & np.isfinite(right)
    assert known.sum() > 0.75 * np.isfinite(right).sum()
    assert np.median(np.abs(found[known] / right[known] - 1)) < 0.03


def test_raw_euroc_is_rectified_inside_and_noticed_if_declared_rectified(data_root: Path):
    folder = open_folder(data_root / "euroc_v1_01")
    pair = eyes(folder[0])
    with semi_global_node("disparity_range:=96") as node:
        (info,) = node.results_of_sent(lambda: node.send(pair), "depth/camera_info")
        node.spin(1.2)
        assert not any("rectified" in status.message for status in node.statuses)
    camera = camera_from(info)
    assert camera.is_rectified and np.allclose(camera.P, folder.camera.P)
    with semi_global_node("disparity_range:=96", "rectified:=true") as node:
        node.results_of_sent(lambda: node.send(pair), "depth/camera_info")
        node.time_to_warning("the images are not rectified: the rows of", lambda: node.send(pair))
