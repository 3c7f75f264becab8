"""Estimators: frames in, results out, all state inside. Nodes, replay and evaluation use the same ones."""
