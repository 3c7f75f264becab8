"""ROS messages to values (`decode`) and values to ROS messages (`fill`)."""
