"""The real stereo node in its own process, over real DDS: results, thresholds, and every way a pair can be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from stereo_client import BASELINE, StereoClient, cameras, scene
from tf2_msgs.msg import TFMessage

from depth_ros.messages.decode import camera_from, depth_from
from depth_ros.playback.play import node_process

SOON = 2.0
"""Seconds within which a fault is named; a machine that does other work may take longer by `SLACK`."""
SLACK = 1.0
FB = 300 * BASELINE


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StereoClient]:
    log = tmp_path_factory.mktemp("node") / "estimates.txt"
    log.touch()
    script = Path(__file__).parent / "known_stereo_node.py"
    with node_process([str(script), str(log), "--ros-args"]) as (_, namespace):
        client = StereoClient(namespace, log)
        yield client
        client.close()


def test_all_results_of_a_pair(node: StereoClient):
    topics = ("disparity", "depth/image_rect", "depth/camera_info", "depth/confidence", "points")
    assert node.set_parameters(flying_pixels=0.0)[0].successful
    found, depth, info, sure, cloud = node.results_of_sent(lambda: node.send(scene()), *topics)
    assert node.set_parameters(flying_pixels=2.0)[0].successful
    assert found.header == found.image.header == depth.header == info.header == sure.header == cloud.header
    assert found.header.frame_id == "left_optical"
    d = np.frombuffer(found.image.data, "<f4").reshape(192, 320)
    assert (d[0] == -1).all() and (d[1:96] == 10).all() and (d[96:] == 20).all()
    assert (found.f, found.t) == (300.0, pytest.approx(BASELINE)) and found.delta_d == 0.25
    assert (found.min_disparity, found.max_disparity) == (0.0, 64.0)
    z = depth_from(depth)
    assert np.isnan(z[0]).all() and np.allclose(z[1:96], FB / 10) and np.allclose(z[96:], FB / 20)
    camera = camera_from(info)
    assert np.allclose(camera.P, cameras()["left"].P) and (camera.width, camera.height) == (320, 192)
    share = np.frombuffer(sure.data, "<f4").reshape(192, 320)
    assert np.isnan(share[0]).all() or not share[0].any()
    assert np.allclose(share[1:, :160], 0.68) and np.allclose(share[1:, 160:], 1 - 0.32**0.25)
    points = np.frombuffer(cloud.data, "<f4").reshape(192, 320, 4)
    assert np.allclose(points[100, 200, 2], FB / 20)
    assert points[100, 200, 0] == pytest.approx((200 - 159.5) / 300 * FB / 20, rel=1e-5)


def test_thresholds_change_at_run_time(node: StereoClient):
    assert node.set_parameters(min_confidence=0.5)[0].successful
    (depth,) = node.results_of_sent(lambda: node.send(scene()), "depth/image_rect")
    assert node.set_parameters(min_confidence=0.0)[0].successful
    known = np.isfinite(depth_from(depth))
    assert known[1:, :160].all() and not known[:, 160:].any()
    (result,) = node.set_parameters(min_confidence=1.5)
    assert not result.successful


def test_nothing_is_computed_that_nobody_wants(node: StereoClient):
    node.results_of_sent(lambda: node.send(scene()), "points")
    node.subscribe()
    node.spin(0.5)
    before = node.estimated_stamps
    for _ in range(4):
        node.send(scene())
        node.spin(0.1)
    assert node.estimated_stamps == before


def test_stamps_within_the_tolerance_only(node: StereoClient):
    """Equal stamps are asked for; a pair whose right image comes 3 ms late is none, and counted."""
    node.results_of_sent(lambda: node.send(scene()), "depth/image_rect")
    before = len(node.estimated_stamps)
    seconds, status = node.time_to_warning(
        "differ by at least 3.0 ms", lambda: node.send(scene(), delay=3_000_000)
    )
    assert (
        "the stamps of the left and right images do not match" in status.message
        and "approximate_sync_tolerance_seconds" in status.message
    )
    assert len(node.estimated_stamps) == before and seconds < SOON + SLACK
    values = {pair.key: pair.value for pair in status.values}
    assert int(values["images without a mate"]) > 0


def swapped_topics(pair):
    return {"left": pair["right"], "right": pair["left"]}


def swapped_images(pair):
    return {"left": (pair["right"][0], pair["left"][1]), "right": (pair["left"][0], pair["right"][1])}


def turned(pair):
    image, camera = pair["right"]
    turn = cv2.getRotationMatrix2D((160, 96), 4.0, 1.0)
    return {**pair, "right": (cv2.warpAffine(image, turn, (320, 192)), camera)}


def smaller(pair):
    image, camera = pair["right"]
    return {**pair, "right": (np.ascontiguousarray(image[:96, :160]), camera.resized(160, 96))}


def without_baseline(pair):
    image, camera = pair["right"]
    return {**pair, "right": (image, replace(camera, P=pair["left"][1].P))}


def one_eye(pair):
    return {"left": pair["left"]}


FAULTS = {
    "swapped topics": (swapped_topics, "the right camera is on the left, the eyes are swapped"),
    "swapped images": (swapped_images, "left and right are swapped: the median disparity is -12 px"),
    "unequal sizes": (smaller, "the eyes have unequal sizes, 320x192 left and 160x96 right"),
    "not rectified": (turned, "the images are not rectified: the rows of"),
    "no baseline": (without_baseline, "P[3] of the right camera_info is 0"),
    "one eye missing": (one_eye, "no usable images from the right camera: no messages on"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named_within_two_seconds(node: StereoClient, fault: str):
    node.results_of_sent(lambda: node.send(scene()), "depth/image_rect")  # all well until now
    break_it, words = FAULTS[fault]
    broken = break_it(scene())
    seconds, _ = node.time_to_warning(words, lambda: node.send(broken))
    assert seconds < SOON + SLACK, f"named after {seconds:.1f} s"
    node.results_of_sent(lambda: node.send(scene()), "depth/image_rect")  # and on it goes


def test_baseline_is_compared_with_tf(node: StereoClient):
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = node.node.create_publisher(TFMessage, "/tf_static", latched)

    def place(eye: str, y: float) -> TransformStamped:
        transform = TransformStamped(child_frame_id=f"{eye}_optical")
        transform.header.frame_id = "head"
        transform.transform.translation.y = y  # head: x forward, y left
        q = transform.transform.rotation
        q.x, q.y, q.z, q.w = -0.5, 0.5, -0.5, 0.5
        return transform

    node.results_of_sent(lambda: node.send(scene()), "depth/image_rect")
    publisher.publish(TFMessage(transforms=[place("left", 0.06), place("right", -0.06)]))
    node.time_to_warning("0.1000 m in camera_info and 0.1200 m in TF", lambda: node.send(scene()))
    publisher.publish(TFMessage(transforms=[place("left", -0.05), place("right", 0.05)]))
    node.time_to_warning(
        "TF has 'right_optical' on the left of 'left_optical' (x -0.1000 m)", lambda: node.send(scene())
    )
    publisher.publish(TFMessage(transforms=[place("left", 0.05), place("right", -0.05)]))
    node.spin(0.5)
    node.statuses.clear()
    node.wait_until(
        lambda: any("pair rate" in str(s.values) for s in node.statuses[1:]), lambda: node.send(scene())
    )
    assert "TF" not in node.statuses[-1].message
