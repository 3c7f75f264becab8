"""ROS outputs of the nodes: publishers that fill messages from values."""
