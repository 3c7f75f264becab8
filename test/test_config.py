"""Settings reject unknown keys and invalid values, and state what is allowed."""

from dataclasses import dataclass

import pytest

from depth_ros.config import setting, settings_from
from depth_ros.errors import DepthRosError


@dataclass(frozen=True)
class Settings:
    stride: int = setting(1, "Pixel step.", "px", 1, 16)
    far: float = setting(50.0, "Maximum depth.", "m", 0.0)
    mode: str = setting("auto", "Mode.", choices=("auto", "off"))
    on: bool = setting(True, "Enabled.")


def test_integers_are_converted_for_float_settings():
    settings = settings_from(Settings, {"stride": 4, "far": 20}, "a.yaml")
    assert settings == Settings(stride=4, far=20.0)
    assert isinstance(settings.far, float)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"strid": 2}, "a.yaml: unknown key 'strid'; allowed keys: stride, far, mode, on"),
        ({"stride": 0}, "'stride' is 0 px; it must be at least 1 px and at most 16 px"),
        ({"stride": 17}, "'stride' is 17 px"),
        ({"stride": "two"}, "'stride' is 'two'; it must be of type int"),
        ({"stride": True}, "'stride' is True; it must be of type int"),
        ({"far": float("nan")}, "'far' is nan m; it must be at least 0.0 m"),
        ({"mode": "on"}, "'mode' is 'on'; allowed: 'auto', 'off'"),
        ({"on": 1}, "'on' is 1; it must be of type bool"),
    ],
)
def test_invalid_settings_are_rejected(mapping, message):
    with pytest.raises(DepthRosError) as error:
        settings_from(Settings, mapping, "a.yaml")
    assert message in str(error.value)
