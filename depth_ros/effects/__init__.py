"""What depth and poses of a clip are good for: second views for the network, and effects as videos."""
