"""Estimators: frames in, result out, all state inside. The nodes, replay and evaluation call the same ones."""
