"""Metrics of depth, disparity, trajectories, object motion, planes and latency, each with its source."""
