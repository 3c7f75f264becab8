"""XML as Gazebo reads it."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from depth_ros.errors import DepthRosError


def read_xml(file: Path) -> Element:
    """The root element. Raises DepthRosError if the file cannot be read.

    Gazebo's parser, TinyXML, accepts some text that is no XML, and models have it: lines and comments before the
    declaration, and & for &amp;.
    """
    try:
        text = file.read_bytes()
        try:
            return ElementTree.fromstring(text)
        except ElementTree.ParseError:
            declared = text[max(0, text.find(b"<?xml")) :].lstrip()
            return ElementTree.fromstring(re.sub(rb"&(?!#?\w+;)", b"&amp;", declared))
    except (OSError, ElementTree.ParseError) as error:
        raise DepthRosError(f"{file} cannot be read: {error}") from error
