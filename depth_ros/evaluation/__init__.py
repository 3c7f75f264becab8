"""Figures that say how good a result is, under protocols that say what they mean, and the page that shows them."""
