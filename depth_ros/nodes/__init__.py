"""The ROS face: the only room that imports rclpy and message packages. One short file a node."""
