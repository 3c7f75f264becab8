"""The error that depth_ros raises for invalid input."""


class DepthRosError(Exception):
    """An error that the user can fix. The message states the actual value, the allowed values and the remedy.

    The command line prints it as one line; a node logs it. Any other exception is a bug.
    """
