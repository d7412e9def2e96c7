"""Moderate a room from this terminal: `python moderator.py --help`."""

import sys

from palaver.cli import run

if __name__ == "__main__":
    sys.exit(run("moderator"))
