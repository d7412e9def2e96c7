"""Run a model in a room: `python client.py --help`."""

import sys

from palaver.cli import run

if __name__ == "__main__":
    sys.exit(run("client"))
