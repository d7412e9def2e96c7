"""Run a simulated user in a room: `python user_sim.py --help`."""

from palaver.cli import door

if __name__ == "__main__":
    door("user-sim")
