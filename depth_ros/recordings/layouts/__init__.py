"""One file a layout of folders, published or our own. Each has `REQUIRED`, `matches(path)` and `read(path)`.

Layouts of files instead of folders have the `SUFFIXES` of their names as well.
"""
