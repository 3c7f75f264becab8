"""Building blocks that two or more families truly share."""
