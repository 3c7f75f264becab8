"""The real stereo_depth_node in a process of its own, over DDS: results, filters, and pairs that are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from node_client import values_of
from rclpy.qos import DurabilityPolicy, QoSProfile
from stereo_client import BASELINE, StereoClient, cameras, scene
from tf2_msgs.msg import TFMessage

from depth_ros.messages.calibration import camera_from
from depth_ros.messages.decode import depth_from
from depth_ros.playback.play import node_process

WARNING_LIMIT, SLACK = 2.0, 1.0
"""Seconds within which a fault is warned about, and what a busy machine may take in addition."""
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


def test_results_of_a_pair(node: StereoClient):
    topics = ("disparity", "depth/image_rect", "depth/camera_info", "depth/confidence", "points")
    assert node.set_parameters(flying_pixels=0.0)[0].successful
    disparity, depth, info, confidence, cloud = node.results_of_sent(lambda: node.send(scene()), *topics)
    assert node.set_parameters(flying_pixels=0.15)[0].successful
    headers = [disparity.image.header, depth.header, info.header, confidence.header, cloud.header]
    assert headers == [disparity.header] * 5 and disparity.header.frame_id == "left_optical"
    d = np.frombuffer(disparity.image.data, "<f4").reshape(192, 320)
    assert (d[0] == -1).all() and (d[1:96] == 10).all() and (d[96:] == 20).all()
    assert (disparity.f, disparity.t) == (300.0, pytest.approx(BASELINE)) and disparity.delta_d == 0.25
    assert (disparity.min_disparity, disparity.max_disparity) == (0.0, 64.0)
    z = depth_from(depth)
    assert np.isnan(z[0]).all() and np.allclose(z[1:96], FB / 10) and np.allclose(z[96:], FB / 20)
    camera = camera_from(info)
    assert np.allclose(camera.P, cameras()["left"].P) and (camera.width, camera.height) == (320, 192)
    probability = np.frombuffer(confidence.data, "<f4").reshape(192, 320)
    assert not probability[0].any()
    assert np.allclose(probability[1:, :160], 0.68) and np.allclose(probability[1:, 160:], 1 - 0.32**0.25)
    points = np.frombuffer(cloud.data, "<f4").reshape(192, 320, 4)
    assert np.allclose(points[100, 200, 2], FB / 20)
    assert points[100, 200, 0] == pytest.approx((200 - 159.5) / 300 * FB / 20, rel=1e-5)


def test_filters_change_at_run_time(node: StereoClient):
    assert node.set_parameters(min_confidence=0.5)[0].successful
    (depth,) = node.results_of_sent(lambda: node.send(scene()), "depth/image_rect")
    assert node.set_parameters(min_confidence=0.0)[0].successful
    valid = np.isfinite(depth_from(depth))
    assert valid[1:, :160].all() and not valid[:, 160:].any()
    (result,) = node.set_parameters(min_confidence=1.5)
    assert not result.successful


def test_nothing_is_computed_without_subscribers(node: StereoClient):
    node.results_of_sent(lambda: node.send(scene()), "points")
    node.subscribe()
    node.spin(0.5)
    before = node.estimated_stamps
    for _ in range(4):
        node.send(scene())
        node.spin(0.1)
    assert node.estimated_stamps == before


def test_images_with_different_stamps_are_no_pair(node: StereoClient):
    """By default stamps have to be equal: with 3 ms between them images are counted as unpaired."""
    node.results_of_sent(lambda: node.send(scene()), "depth/image_rect")
    before = len(node.estimated_stamps)
    seconds, status = node.time_to_warning(
        "differ by at least 3.0 ms", lambda: node.send(scene(), delay=3_000_000)
    )
    assert (
        "the stamps of the left and right images do not match" in status.message
        and "approximate_sync_tolerance_seconds" in status.message
    )
    assert len(node.estimated_stamps) == before and seconds < WARNING_LIMIT + SLACK
    assert int(values_of(status)["images without a partner"]) > 0


def with_swapped_topics(pair):
    return {"left": pair["right"], "right": pair["left"]}


def with_swapped_images(pair):
    return {"left": (pair["right"][0], pair["left"][1]), "right": (pair["left"][0], pair["right"][1])}


def with_rotated_image(pair):
    image, camera = pair["right"]
    rotation = cv2.getRotationMatrix2D((160, 96), 4.0, 1.0)
    return {**pair, "right": (cv2.warpAffine(image, rotation, (320, 192)), camera)}


def with_smaller_image(pair):
    image, camera = pair["right"]
    return {**pair, "right": (np.ascontiguousarray(image[:96, :160]), camera.resized(160, 96))}


def without_baseline(pair):
    image, camera = pair["right"]
    return {**pair, "right": (image, replace(camera, P=pair["left"][1].P))}


def with_baseline_in_millimetres(pair):
    image, camera = pair["right"]
    P = camera.P.copy()
    P[0, 3] *= 1000
    return {**pair, "right": (image, replace(camera, P=P))}


def with_calibration_of_the_raw_images(pair):
    """Rectified images beside a camera_info with the rotation of the raw ones."""
    image, camera = pair["right"]
    return {**pair, "right": (image, replace(camera, R=cv2.Rodrigues(np.array([0.0, 0.0, 0.08]))[0]))}


def without_right_image(pair):
    return {"left": pair["left"]}


FAULTS = {
    "swapped topics": (with_swapped_topics, "which puts the right camera on the left"),
    "swapped images": (with_swapped_images, "left and right are swapped: the median disparity is -12 px"),
    "different sizes": (with_smaller_image, "the left image is 320x192 and the right image 160x96"),
    "not rectified": (with_rotated_image, "the images are not rectified: the rows of"),
    "no baseline": (without_baseline, "P[3] of the left and right camera_info is 0 and 0, so the baseline"),
    "millimetres": (with_baseline_in_millimetres, "the baseline is 100 m by camera_info"),
    "rectified twice": (with_calibration_of_the_raw_images, "the images are rectified already"),
    "no right image": (without_right_image, "no usable images from the right camera: no messages on"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_warned_about_within_two_seconds(node: StereoClient, fault: str):
    node.results_of_sent(lambda: node.send(scene()), "depth/image_rect")  # there is no fault before
    inject, text = FAULTS[fault]
    faulty = inject(scene())
    seconds, _ = node.time_to_warning(text, lambda: node.send(faulty))
    assert seconds < WARNING_LIMIT + SLACK, f"warned after {seconds:.1f} s"
    node.results_of_sent(lambda: node.send(scene()), "depth/image_rect")  # and the node recovers


def test_baseline_is_compared_with_tf(node: StereoClient):
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = node.node.create_publisher(TFMessage, "/tf_static", latched)

    def mounting_pose(side: str, y: float) -> TransformStamped:
        transform = TransformStamped(child_frame_id=f"{side}_optical")
        transform.header.frame_id = "head"
        transform.transform.translation.y = y  # head: x forward, y left
        q = transform.transform.rotation
        q.x, q.y, q.z, q.w = -0.5, 0.5, -0.5, 0.5
        return transform

    node.results_of_sent(lambda: node.send(scene()), "depth/image_rect")
    publisher.publish(TFMessage(transforms=[mounting_pose("left", 0.06), mounting_pose("right", -0.06)]))
    node.time_to_warning("0.1000 m in camera_info but 0.1200 m in TF", lambda: node.send(scene()))
    publisher.publish(TFMessage(transforms=[mounting_pose("left", -0.05), mounting_pose("right", 0.05)]))
    node.time_to_warning(
        "TF places 'right_optical' to the left of 'left_optical' (x -0.1000 m)", lambda: node.send(scene())
    )
    publisher.publish(TFMessage(transforms=[mounting_pose("left", 0.05), mounting_pose("right", -0.05)]))
    node.spin(0.5)
    node.statuses.clear()
    node.wait_until(
        lambda: any("pair rate" in str(s.values) for s in node.statuses[1:]), lambda: node.send(scene())
    )
    assert "TF" not in node.statuses[-1].message
