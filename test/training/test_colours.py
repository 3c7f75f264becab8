"""Changes of colours: their published ranges."""

import numpy as np
import pytest

from depth_ros.training.colours import COLOURS, change_exposure, change_gains, change_some

IMAGE = np.full((4, 6, 3), 100, np.uint8)


def results(change, image=IMAGE, count=300) -> np.ndarray:
    """The colour of a uniform image after many changes."""
    rng = np.random.default_rng(0)
    return np.array([change(image, rng)[0, 0] for _ in range(count)], float)


@pytest.mark.parametrize("name", COLOURS)
def test_images_stay_uniform_and_of_their_type(name):
    changed = COLOURS[name](IMAGE, np.random.default_rng(1))
    assert changed.dtype == np.uint8 and changed.shape == IMAGE.shape and np.ptp(changed, (0, 1)).max() == 0
    assert name != "none" or (changed == IMAGE).all()


def test_gains_are_up_to_a_fifth_and_independent():
    found = results(change_gains)
    assert found.min() == pytest.approx(80, abs=2) and found.max() == pytest.approx(120, abs=2)
    assert abs(np.corrcoef(found[:, 0], found[:, 1])[0, 1]) < 0.2


def test_exposure_changes_gamma_brightness_and_gains():
    found = results(change_exposure)
    low, high = (255 * (100 / 255) ** gamma * gain for gamma, gain in ((1.2, 0.4), (0.8, 2.4)))
    assert low <= found.min() < low + 15 and high - 70 < found.max() <= min(high, 255)
    assert np.corrcoef(found[:, 0], found[:, 1])[0, 1] > 0.8  # brightness is common to the channels


def test_some_changes_are_made_in_half_of_the_images_each():
    found = results(change_some)
    assert (found == 100).all(1).mean() == pytest.approx(0.5, abs=0.1)  # of grey, only the brightness changes
    assert found.min() == pytest.approx(74, abs=2) and found.max() == pytest.approx(126, abs=2)
    coloured = results(change_some, np.full((4, 6, 3), (200, 100, 50), np.uint8))
    assert (coloured == (200, 100, 50)).all(1).mean() < 0.3
