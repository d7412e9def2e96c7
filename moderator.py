"""Moderate a room from this terminal: `python moderator.py --help`."""

from palaver.cli import door

if __name__ == "__main__":
    door("moderator")
