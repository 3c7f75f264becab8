"""The plot of training.csv: every column to scale."""

from xml.etree import ElementTree

import pytest

from depth_ros.training.curves import HEIGHT, WIDTH, plot_curves


def test_every_column_is_a_curve_between_its_maximum_and_minimum(tmp_path):
    (tmp_path / "training.csv").write_text("step,loss,a < b\n100,4,1\n200,2,\n400,1,3\n")
    plot_curves(tmp_path / "training.csv", tmp_path / "training.svg")
    root = ElementTree.parse(tmp_path / "training.svg").getroot()
    curves = [e.get("points") for e in root.iter() if e.tag.endswith("polyline")]
    loss, other = ([tuple(map(float, p.split(","))) for p in curve.split()] for curve in curves)
    assert len(loss) == 3 and len(other) == 2
    assert loss[2][1] - loss[0][1] == pytest.approx(HEIGHT)  # y grows downwards
    assert (loss[1][1] - loss[0][1]) / HEIGHT == pytest.approx(2 / 3, abs=1e-3)
    assert loss[2][0] - loss[0][0] == pytest.approx(WIDTH * 3 / 4)
    assert other[1][1] - other[0][1] == pytest.approx(-HEIGHT)
    texts = [e.text for e in root.iter() if e.tag.endswith("text")]
    assert "loss: 1" in texts and "a < b: 3" in texts
