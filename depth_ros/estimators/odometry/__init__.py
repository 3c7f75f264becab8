"""Ego-motion from depth images: key frames, patch alignment, scale and the pose of the base frame."""
