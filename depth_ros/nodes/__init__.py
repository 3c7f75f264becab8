"""ROS nodes, their inputs and outputs. The only package that imports rclpy and message packages."""
