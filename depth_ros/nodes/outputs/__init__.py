"""Outputs of the nodes: publishers, and messages filled from values."""
