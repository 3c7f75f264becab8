"""Configuration of Sphinx: `make docs` builds docs/*.md to build/docs."""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import depth_ros  # noqa: E402 - found through the lines above

project = "depth_ros"
author = "depth_ros maintainers"
copyright = "depth_ros maintainers, Apache-2.0"
release = version = depth_ros.__version__

extensions = ["myst_parser", "reference"]
myst_enable_extensions = ["colon_fence", "deflist", "attrs_block"]
myst_heading_anchors = 3
smartquotes = False  # would turn --option into a dash
highlight_language = "text"
exclude_patterns = ["_build"]

html_theme = "sphinx_rtd_theme"
html_title = f"depth_ros {version}"
html_static_path = ["_static"]
html_css_files = ["depth_ros.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_depth": 3, "style_external_links": True}
