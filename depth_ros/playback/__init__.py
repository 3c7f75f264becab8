"""Recordings through the estimators offline, or through the real nodes over DDS."""
