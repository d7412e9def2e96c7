"""Run a simulated user in a room: `python user_sim.py --help`."""

import sys

from palaver.cli import run

if __name__ == "__main__":
    sys.exit(run("user-sim"))
