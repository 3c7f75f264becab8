"""Camera images of linear light, and the colours of lamps."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.rendering.appearance import black_body
from depth_ros.rendering.sensor import Sensor, draw_sensor
from depth_ros.rendering.settings import SceneSettings

LIGHT = np.full((40, 60, 3), 7.0)


def test_automatic_exposure_does_not_depend_on_the_light():
    rng = np.random.default_rng(0)
    images = [
        draw_sensor(k * LIGHT, SceneSettings(sensor="ideal"), 0).image(k * LIGHT, rng) for k in (0.01, 100)
    ]
    assert np.array_equal(*images)
    assert images[0][0, 0].astype(int) == pytest.approx([134] * 3, abs=1)  # sRGB of 1 - exp(-0.28)


def test_noise_and_vignetting_of_a_sensor():
    image = Sensor(0.05, noise=0.02, vignetting=0.5).image(LIGHT, np.random.default_rng(0)).astype(float)
    assert image[:4, :4].mean() < 0.8 * image[18:22, 28:32].mean()
    assert 1 < (image[18:22, 20:40] - image[18:22, 20:40].mean()).std() < 8


def test_a_drawn_sensor_depends_on_seed_and_frame_alone():
    settings = SceneSettings()
    assert (
        draw_sensor(LIGHT, settings, 3) == draw_sensor(LIGHT, settings, 3) != draw_sensor(LIGHT, settings, 4)
    )


def test_black_bodies():
    assert black_body(6600) == pytest.approx((1, 1, 1), abs=0.06)
    red, green, blue = black_body(2700)
    assert red == 1 and red > green > blue


def test_noise_that_was_asked_for_is_the_least():
    for sensor in ("vary", "ideal"):
        drawn = [draw_sensor(LIGHT, SceneSettings(sensor=sensor, noise=0.01), n).noise for n in range(20)]
        assert min(drawn) == 0.01 and (max(drawn) > 0.01) == (sensor == "vary")
