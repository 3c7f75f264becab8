"""Images and charts of the reports."""

from __future__ import annotations

import numpy as np

from depth_ros.datatypes import Camera, Depth, ObjectMotion
from depth_ros.evaluation.report.html import latency_chart
from depth_ros.evaluation.report.object_motion import ObjectMotionFrame, object_motion_image
from depth_ros.evaluation.report.plots import (
    INVALID_COLOUR,
    depth_image,
    error_image,
    plane_image,
    reduce_depth,
)
from depth_ros.evaluation.report.point_cloud import point_cloud_image
from depth_ros.evaluation.report.sections import example_images
from depth_ros.plane_fitting import plane_colour


def test_examples_are_spread_over_the_ranking_without_repetition() -> None:
    ranking = [7, 3, 9, 1, 5]
    names = ["typical", "best", "worst", "better half", "worse half"]
    assert list(example_images(ranking).items()) == list(zip((9, 7, 5, 3, 1), names, strict=True))
    assert example_images([4]) == {4: "typical"}
    assert set(example_images([4, 2])) == {4, 2}


def test_latency_chart_marks_clipped_outliers() -> None:
    chart = latency_chart([5.0] * 199 + [900.0])
    assert chart.count("<circle") == 1
    assert "900.0 ms" in chart
    assert chart.count(",") == 200
    assert "nan" not in latency_chart([5.0])


def test_reduced_depth_keeps_sparse_pixels() -> None:
    depth = np.full((40, 80), np.nan, np.float32)
    depth[::4, ::4] = 7.0
    np.testing.assert_allclose(reduce_depth(depth, 20), np.full((10, 20), 7.0), rtol=1e-5)


def test_near_depth_is_brighter_than_far_depth_and_invalid_pixels_are_grey() -> None:
    image = depth_image(np.array([[1.0, 3.0, 10.0, np.nan]], np.float32), (1.0, 10.0)).astype(int)
    assert image[0, 0].sum() > image[0, 1].sum() > image[0, 2].sum()
    assert tuple(image[0, 3]) == INVALID_COLOUR


def test_error_image_is_darker_for_larger_errors() -> None:
    ground_truth = np.full((1, 4), 10.0)
    image = error_image(np.array([[10.0, 12.0, 15.0, 30.0]]), ground_truth).astype(int).sum(-1)[0]
    assert image[0] > image[1] > image[2] == image[3]


def test_planes_are_tinted_and_outlined_in_their_colours() -> None:
    labels = np.full((120, 160), -1, np.int32)
    labels[20:100, 30:90] = 0
    image = plane_image(np.full((120, 160, 3), 100, np.uint8), labels)
    assert (np.abs(image - np.array(plane_colour(0), float)) < 30).all(axis=2).sum() > 200  # the outline
    expected = 0.65 * 100 + 0.35 * np.array(plane_colour(0))
    assert np.abs(image[60, 60] - expected).max() <= 1
    assert (image[5, 5] == 80).all()


def test_near_points_cover_far_points() -> None:
    """A red board in front of a blue wall, seen from the right: red pixels stay red."""
    depth, image = np.full((60, 80), 6.0, np.float32), np.zeros((60, 80, 3), np.uint8)
    image[..., 2] = 255
    depth[20:40, 30:50], image[20:40, 30:50] = 3.0, (255, 0, 0)
    camera = Camera.pinhole(80, 60, 60, 60, 39.5, 29.5)
    rendered = point_cloud_image(Depth(0, "", depth, camera, image), 400, 300)
    red = (rendered == (255, 0, 0)).all(-1)
    blue = (rendered == (0, 0, 255)).all(-1)
    assert red.sum() > 3000
    assert blue.sum() > 10000
    rows, columns = np.nonzero(red)
    middle = np.s_[rows.min() + 15 : rows.max() - 15, columns.min() + 15 : columns.max() - 15]
    assert not blue[middle].any()
    invalid = Depth(0, "", np.full((60, 80), np.nan, np.float32), camera, image)
    assert set(point_cloud_image(invalid, 40, 30).ravel()) == {250}


def test_moving_objects_are_tinted_with_an_arrow_and_ground_truth_is_outlined():
    camera = Camera.pinhole(400, 200, 300.0, 300.0, 199.5, 99.5)
    depth = Depth(1, "", np.full((200, 400), 10.0, np.float32), camera, np.full((200, 400, 3), 90, np.uint8))
    mask, ground_truth = np.zeros((200, 400), bool), np.zeros((100, 200), np.int32)
    mask[80:120, 40:80], ground_truth[70:90, 150:180] = True, 3
    centre, velocity = np.array([-4.5, 0.0, 10.0]), np.array([0.0, -3.0, 0.0])
    found = ObjectMotion(1, mask, np.eye(4), centre, velocity, np.eye(3))
    image = object_motion_image(ObjectMotionFrame(depth, [found], ground_truth)).astype(int)
    assert (image[90, 45] != 90).any() and (image[20, 380] == 90).all()
    assert (image[60:75, 60:70] != 90).any()  # the arrow, 1.5 m up
    assert (image[140, 300:360] > 200).any() and (image[160, 330] == 90).all()
