"""Run a hub: `python server.py --help`."""

from palaver.cli import door

if __name__ == "__main__":
    door("server")
