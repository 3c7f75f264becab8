"""Rigid motion of moving objects, from depth images or from a network."""
