"""ROS nodes, their inputs and outputs. The only package that imports rclpy and message packages."""

import sys
from pathlib import Path

from depth_ros.nodes.signals import end_at_once_on_signals

# A node that is started as a program (`-m` while Python locates the module) may receive a signal while it imports.
if Path(sys.argv[0]).name == "-m" or Path(__file__).with_name(f"{Path(sys.argv[0]).stem}.py").is_file():
    end_at_once_on_signals()
