"""Text that Gazebo's parser accepts and XML forbids."""

from __future__ import annotations

import pytest

from depth_ros.errors import DepthRosError
from depth_ros.rendering.xml_files import read_xml

ROOT = '<model a="1 &amp; 2"><description>door &#38; car</description></model>'


@pytest.mark.parametrize("text", [
    ROOT,
    '\n\n<?xml version="1.0"?>\n' + ROOT,
    '<!-- made by a template -->\n<?xml version="1.0" encoding="UTF-8"?>\n' + ROOT,
    ROOT.replace("&amp;", "&").replace("&#38;", "&"),
])  # fmt: skip
def test_the_same_elements_are_read(tmp_path, text):
    (tmp_path / "model.config").write_text(text)
    root = read_xml(tmp_path / "model.config")
    assert root.tag == "model" and root.get("a") == "1 & 2" and root.findtext("description") == "door & car"


def test_other_files_are_named(tmp_path):
    (tmp_path / "model.config").write_text("<model")
    for name, problem in (("model.config", "unclosed token"), ("none.sdf", "No such file")):
        with pytest.raises(DepthRosError, match=f"{name} cannot be read: .*{problem}"):
            read_xml(tmp_path / name)
