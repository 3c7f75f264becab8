"""Disparity and depth from rectified stereo pairs."""
