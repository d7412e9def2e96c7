"""Run a hub: `python server.py --help`."""

import sys

from palaver.cli import run

if __name__ == "__main__":
    sys.exit(run("server"))
