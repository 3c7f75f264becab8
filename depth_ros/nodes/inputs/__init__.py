"""ROS inputs of the nodes: life-cycle entities that subscribe, pair and decode messages."""
