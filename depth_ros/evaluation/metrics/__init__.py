"""Metrics of depth, disparity, trajectories, object motion and latency, each with its source."""
