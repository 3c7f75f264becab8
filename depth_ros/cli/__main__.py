"""`python -m depth_ros.cli`, which is what torchrun starts."""

import sys

from depth_ros.cli import main

if __name__ == "__main__":
    sys.exit(main())
