"""The real depth_node in a process of its own, over DDS, with an estimator of known results."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from node_client import Client, camera, image_of, info_of, values_of
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from tf2_msgs.msg import TFMessage

from depth_ros.messages.calibration import camera_from
from depth_ros.messages.decode import depth_from
from depth_ros.nodes import depth_node

SMALL, LARGE = camera(64, 48), camera(96, 64)
DEFAULTS = {field.name: field.default for kind in depth_node.SETTINGS for field in dataclasses.fields(kind)}
COLUMNS = 1 + 0.5 * np.arange(32, dtype=np.float32)


def test_depth_has_the_header_and_camera_of_its_image(node: Client):
    depth, info = node.results_of(image_of(SMALL), info_of(SMALL), "depth/image_rect", "depth/camera_info")
    assert depth.header == info.header and depth.header.frame_id == "front_optical"
    assert (depth.encoding, depth.width, depth.height, depth.step) == ("32FC1", 32, 24, 128)
    values = depth_from(depth)
    assert np.isnan(values[0]).all() and np.array_equal(values[1:], np.tile(COLUMNS, (23, 1)))
    got, want = camera_from(info), SMALL.resized(32, 24)
    assert (got.width, got.height) == (32, 24) and np.allclose(got.K, want.K) and np.allclose(got.P, want.P)


def test_points_are_the_back_projected_depth(node: Client):
    assert node.set_parameters(point_stride=2)[0].successful
    depth, cloud = node.results_of(image_of(SMALL, 90), info_of(SMALL), "depth/image_rect", "points")
    assert node.set_parameters(point_stride=1)[0].successful
    assert cloud.header == depth.header and (cloud.width, cloud.height, cloud.point_step) == (16, 12, 16)
    assert [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields] == [
        ("x", 0, 7, 1), ("y", 4, 7, 1), ("z", 8, 7, 1), ("rgb", 12, 7, 1)
    ]  # fmt: skip
    points = np.frombuffer(cloud.data, "<f4").reshape(12, 16, 4)
    assert np.isnan(points[0, :, :3]).all() and np.array_equal(points[1, :, 2], COLUMNS[::2])
    K = SMALL.resized(32, 24).K
    assert points[3, 5, 0] == pytest.approx((10 - K[0, 2]) / K[0, 0] * COLUMNS[10], rel=1e-5)
    assert np.frombuffer(cloud.data, np.uint8)[12:16].tolist() == [90, 90, 90, 0]


def test_encoding_and_max_depth_change_at_run_time(node: Client):
    assert all(result.successful for result in node.set_parameters(depth_encoding="16UC1", max_depth=8))
    (depth,) = node.results_of(image_of(SMALL), info_of(SMALL), "depth/image_rect")
    assert all(result.successful for result in node.set_parameters(depth_encoding="32FC1", max_depth=1000.0))
    values = np.frombuffer(depth.data, "<u2").reshape(24, 32)
    assert depth.encoding == "16UC1" and not values[0].any()
    assert values[1].tolist() == [round(1000 * c) if c <= 8 else 0 for c in COLUMNS]


def test_confidence_needs_standard_deviations(node: Client):
    """This model gives none: instead of an invented confidence there are warnings."""
    node.subscribe("depth/confidence")
    assert node.set_parameters(min_confidence=0.5)[0].successful
    node.wait_for_warning(
        "the model gives no standard deviations", lambda: node.publish(image_of(SMALL), info_of(SMALL))
    )
    assert not node.received["depth/confidence"]
    (depth,) = node.results_of(image_of(SMALL), info_of(SMALL), "depth/image_rect")
    assert node.set_parameters(min_confidence=0.0)[0].successful
    assert np.isfinite(depth_from(depth)[1:]).all()


def test_clouds_and_scan_are_those_of_the_height_band(node: Client):
    """The base is 0.3 m below the camera, which looks along its x axis; the depth of column k is 1 + k / 2 m."""
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = node.node.create_publisher(TFMessage, "/tf_static", latched)
    mounting = TransformStamped(child_frame_id="front_optical")
    mounting.header.frame_id = "base_of_clouds"
    mounting.transform.translation.z = 0.3
    q = mounting.transform.rotation
    q.x, q.y, q.z, q.w = -0.5, 0.5, -0.5, 0.5
    publisher.publish(TFMessage(transforms=[mounting]))
    settings = {
        "cloud_rate": 0.0, "base_frame": "base_of_clouds", "min_height": 0.1, "max_height": 0.8, "max_depth": 9.0,
        "clearing_range": 20.0,
    }  # fmt: skip
    assert all(result.successful for result in node.set_parameters(**settings))
    filtered, clearing, scan = node.results_of(
        image_of(SMALL), info_of(SMALL), "points_filtered", "points_clearing", "scan"
    )
    restored = {name: DEFAULTS[name] for name in settings}
    assert all(result.successful for result in node.set_parameters(**restored))
    node.node.destroy_publisher(publisher)
    assert filtered.header == clearing.header and filtered.header.frame_id == "front_optical"
    assert [f.name for f in filtered.fields] == ["x", "y", "z", "rgb", "std"]
    rows = np.frombuffer(filtered.data, "<f4").reshape(filtered.width, 5)
    heights = 0.3 - rows[:, 1]
    assert heights.min() >= 0.1 and heights.max() <= 0.8 and set(rows[:, 2]) == set(COLUMNS[COLUMNS <= 9])
    assert np.isnan(rows[:, 4]).all()  # this model gives no standard deviation
    ends = np.frombuffer(clearing.data, "<f4").reshape(clearing.width, 3)
    assert clearing.width == 23 * 32 and ends[:, 2].max() == 9.0  # beyond max_depth it is free up to there
    assert scan.header.frame_id == "base_of_clouds" and scan.range_max == 20.0 and scan.range_min == 0.0
    assert scan.angle_max == pytest.approx(scan.angle_min + (len(scan.ranges) - 1) * scan.angle_increment)
    ranges = np.array(scan.ranges)
    assert ranges[-1] == pytest.approx(
        COLUMNS[0] / np.cos(scan.angle_max), rel=0.05
    )  # counter-clockwise: the left
    assert np.isinf(ranges[0])  # the right is farther than max_depth


def test_a_height_band_without_its_frame_is_warned_about(node: Client):
    node.subscribe("points_filtered")
    for base_frame, words in (("", "base_frame, which is empty"), ("nowhere", "no transform from 'nowhere'")):
        changes = {"min_height": 0.1, "base_frame": base_frame, "cloud_rate": 0.0}
        assert all(result.successful for result in node.set_parameters(**changes))
        node.wait_for_warning(words, lambda: node.publish(image_of(SMALL), info_of(SMALL)))
    assert not node.received["points_filtered"]
    restored = {name: DEFAULTS[name] for name in changes}
    assert all(result.successful for result in node.set_parameters(**restored))


def test_results_older_than_max_age_are_counted_instead_of_published(node: Client):
    """The stamps of the client are those of 1970."""
    node.subscribe("depth/image_rect")
    assert node.set_parameters(max_age=1000.0)[0].successful
    status = node.wait_for_warning("max_age is 1000 s", lambda: node.publish(image_of(SMALL), info_of(SMALL)))
    assert int(values_of(status)["results older than max_age"]) > 0 and not node.received["depth/image_rect"]
    assert node.set_parameters(max_age=0.0)[0].successful
    node.results_of(image_of(SMALL), info_of(SMALL), "depth/image_rect")


def test_successive_images_without_a_valid_pixel_are_warned_about_with_the_reason(node: Client):
    node.results_of(image_of(SMALL), info_of(SMALL), "depth/image_rect")
    assert node.set_parameters(max_depth=0.5)[0].successful
    status = node.wait_for_warning(
        "all depth is beyond max_depth (0.5 m), the median at 8.75 m",
        lambda: node.publish(image_of(SMALL), info_of(SMALL)),
    )
    assert int(values_of(status)["rejected frames"]) == 0 and node.received["depth/image_rect"]
    assert node.set_parameters(max_depth=1000.0)[0].successful


def test_image_size_may_change(node: Client):
    node.results_of(image_of(SMALL), info_of(SMALL), "depth/image_rect")
    depth, info = node.results_of(image_of(LARGE), info_of(LARGE), "depth/image_rect", "depth/camera_info")
    assert (depth.width, depth.height, info.width, info.height) == (48, 32, 48, 32)


def broken(**changes: object) -> Image:
    message = image_of(SMALL)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    "image, info, words",
    [
        (broken(encoding="h264"), info_of(SMALL), "encoding 'h264' is not supported; supported are"),
        (broken(step=191), info_of(SMALL), "9216 bytes and step 191"),
        (broken(width=0, height=0, step=0, data=b""), info_of(SMALL), "its size is 0x0"),
        (image_of(LARGE), info_of(SMALL), "96x64 but camera_info describes 64x48"),
        (image_of(SMALL), "zeros", "not calibrated"),
        (image_of(SMALL), "nan", "NaN or Inf in K"),
        (image_of(SMALL), "d", "2 coefficients in D"),
    ],
)
def test_invalid_input_is_rejected_with_a_reason(node: Client, image, info, words):
    if isinstance(info, str):
        kind, info = info, info_of(SMALL)
        info.k[:] = {"zeros": 0.0, "nan": np.nan}.get(kind, info.k)
        info.p[:] = 0.0 if kind == "zeros" else info.p
        info.d = [0.1, 0.2] if kind == "d" else info.d
    node.subscribe("depth/image_rect")
    before = len(node.estimated_stamps)
    status = node.wait_for_warning(words, lambda: node.publish(image, info))
    assert int(values_of(status)["rejected frames"]) > 0 and not node.received["depth/image_rect"]
    assert len(node.estimated_stamps) == before
    node.results_of(image_of(SMALL), info_of(SMALL), "depth/image_rect")  # and the next one is not


def test_time_that_goes_back_is_warned_about(node: Client):
    node.results_of(image_of(SMALL), info_of(SMALL), "depth/image_rect")
    node.stamp += 60_000_000_000
    node.results_of(image_of(SMALL), info_of(SMALL), "depth/image_rect")
    node.wait_for_warning(
        "time went back by", lambda: node.publish(image_of(SMALL), info_of(SMALL), step=-2_000_000_000)
    )
    node.results_of(image_of(SMALL), info_of(SMALL), "depth/image_rect")


def test_nothing_is_computed_without_subscribers(node: Client):
    node.results_of(image_of(SMALL), info_of(SMALL), "depth/image_rect")
    node.subscribe()
    node.spin(1.0)  # until the node has noticed
    before = node.estimated_stamps
    for _ in range(5):
        node.publish(image_of(SMALL), info_of(SMALL))
        node.spin(0.1)
    assert node.estimated_stamps == before
    node.results_of(image_of(SMALL), info_of(SMALL), "points")
    assert len(node.estimated_stamps) > len(before)


def test_diagnostics_have_rates_latency_and_engine(node: Client):
    node.results_of(image_of(SMALL), info_of(SMALL), "depth/image_rect")
    node.statuses.clear()

    def healthy() -> DiagnosticStatus | None:
        return next((s for s in node.statuses if "latency max (ms)" in values_of(s)), None)

    status = node.wait_until(healthy, lambda: node.publish(image_of(SMALL), info_of(SMALL)))
    values = values_of(status)
    assert status.name.endswith("depth_node: depth")
    assert values["engine"] == "known 32x24" and values["why this engine"] == "made for tests"
    assert values["engine is being built"] == "False" and values["engine build"] == ""
    assert (
        float(values["latency of depth/image_rect (ms)"]) > 0
        and int(values["results older than max_age"]) >= 0
    )
    assert 0 < float(values["output rate (Hz)"]) < 20 and 0 < float(values["input rate (Hz)"]) < 20
    assert 0 <= float(values["estimate mean (ms)"]) <= float(values["processing max (ms)"])
    assert int(values["dropped frames"]) >= 0


@pytest.mark.parametrize(
    "change, words",
    [
        ({"depth_encoding": "8UC1"}, "'depth_encoding' is '8UC1'; allowed: '32FC1', '16UC1'"),
        ({"point_stride": "two"}, "'point_stride' is 'two'; it must be of type int"),
        ({"point_stride": 0}, "Min: 1, Max: 16"),
        ({"max_depth": 1e9}, "out of range"),
        ({"max_depth": 0}, "'max_depth' is 0.0 m; it must be at least 0.1 m"),
        ({"model": "another"}, "no model 'another'; available models:"),
    ],
)
def test_invalid_parameters_are_refused_with_a_reason(node: Client, change, words):
    (result,) = node.set_parameters(**change)
    assert not result.successful and words in result.reason


def test_parameters_are_described(node: Client):
    max_depth, stride, backend = node.describe_parameters("max_depth", "point_stride", "backend")
    assert max_depth.description.endswith("Unit: m.") and max_depth.floating_point_range[0].from_value == 0.1
    assert stride.integer_range[0].to_value == 16
    assert backend.description.endswith("Read when the node is configured.")
    assert backend.additional_constraints.startswith("one of auto")


def test_incompatible_qos_is_warned_about_with_topic_and_policy(node: Client):
    topic = f"{node.namespace}/depth/image_rect"
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    subscriptions = []
    node.wait_for_warning(
        f"'{topic}' has an incompatible QoS policy (DURABILITY)",
        lambda: (
            subscriptions or subscriptions.append(node.node.create_subscription(Image, topic, print, latched))
        ),
    )
    node.node.destroy_subscription(subscriptions[0])


def test_missing_input_is_explained(node: Client):
    node.node.destroy_publisher(node.images)
    node.wait_for_warning("image': it has no publisher", lambda: None)
    other = node.node.create_publisher(Image, "front/image_raw", 1)
    node.wait_for_warning(
        f"sensor_msgs/msg/Image is published on {node.namespace}/front/image_raw", lambda: None
    )
    node.node.destroy_publisher(other)
    node.images = node.node.create_publisher(CompressedImage, "image", 1)
    node.wait_for_warning("its type is sensor_msgs/msg/CompressedImage", lambda: None)
    node.node.destroy_publisher(node.images)
    node.images = node.node.create_publisher(Image, "image", 1)
    node.wait_for_warning("image' although it is published by client (RELIABLE, VOLATILE)", lambda: None)


def test_life_cycle_and_compressed_images(node: Client):
    assert node.state() == "active"
    assert node.change_state("deactivate") and node.state() == "inactive"
    before = node.estimated_stamps
    node.subscribe("depth/image_rect")
    for _ in range(5):
        node.publish(image_of(SMALL), info_of(SMALL))
        node.spin(0.1)
    assert node.estimated_stamps == before
    assert node.change_state("cleanup") and node.state() == "unconfigured"
    assert node.set_parameters(image_transport="compressed")[0].successful
    assert node.change_state("configure") and node.change_state("activate") and node.state() == "active"
    encoded = cv2.imencode(".png", np.full((48, 64, 3), 90, np.uint8))[1]
    message = CompressedImage(format="rgb8; png compressed bgr8")
    message.data.frombytes(encoded.tobytes())
    depth, _ = node.results_of(message, info_of(SMALL), "depth/image_rect", "points")
    assert np.array_equal(depth_from(depth)[1], COLUMNS)
