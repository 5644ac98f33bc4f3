"""Run the command line: `python -m concurrent_log_handler demo`."""

import sys

from concurrent_log_handler.cli import main

if __name__ == "__main__":
    sys.exit(main())
