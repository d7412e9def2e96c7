"""`python -m palaver`."""

from palaver.cli import door

if __name__ == "__main__":
    door()
