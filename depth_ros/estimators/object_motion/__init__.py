"""Rigid motion of moving objects, from depth images or by a network."""
