"""Settings refuse what they do not know, and say what is allowed."""

from dataclasses import dataclass

import pytest

from depth_ros.config import setting, settings_from
from depth_ros.errors import DepthRosError


@dataclass(frozen=True)
class Settings:
    stride: int = setting(1, "every how many pixels", "px", 1, 16)
    far: float = setting(50.0, "farther is unknown", "m", 0.0)
    mode: str = setting("auto", "how", choices=("auto", "off"))
    on: bool = setting(True, "whether")


def test_values_are_taken_and_integers_become_floats():
    settings = settings_from(Settings, {"stride": 4, "far": 20}, "a.yaml")
    assert settings == Settings(stride=4, far=20.0)
    assert isinstance(settings.far, float)


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"strid": 2}, "a.yaml: unknown key 'strid'; known are stride, far, mode, on"),
        ({"stride": 0}, "'stride' is 0 px; it must be at least 1 px and at most 16 px"),
        ({"stride": 17}, "'stride' is 17 px"),
        ({"stride": "two"}, "'stride' is 'two'; it must be a int"),
        ({"stride": True}, "'stride' is True; it must be a int"),
        ({"far": float("nan")}, "'far' is nan m; it must be at least 0.0 m"),
        ({"mode": "on"}, "'mode' is 'on'; allowed: 'auto', 'off'"),
        ({"on": 1}, "'on' is 1; it must be a bool"),
    ],
)
def test_what_is_wrong_is_named(mapping, words):
    with pytest.raises(DepthRosError) as error:
        settings_from(Settings, mapping, "a.yaml")
    assert words in str(error.value)
