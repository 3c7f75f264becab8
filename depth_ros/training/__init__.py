"""Offline training: recipe -> training data -> loop -> card and weights."""
