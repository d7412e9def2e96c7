"""Run a model in a room: `python client.py --help`."""

from palaver.cli import door

if __name__ == "__main__":
    door("client")
