"""The one error a caller may catch: bad input, named, with what to do about it."""


class DepthRosError(Exception):
    """Something the user can mend: the message says what came, what is allowed and what to do.

    The command line prints it as one line; a node logs it. Anything else that is raised is a bug.
    """
