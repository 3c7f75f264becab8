"""Applications of depth and poses of a clip: two-view network inputs, and video effects."""
