"""One file a layout of folders, published or our own. Each has `REQUIRED`, `matches(path)` and `read(path)`."""
