"""ROS inputs of the nodes: subscriptions that decode and pair messages."""
