"""`python -m palaver.api`: nothing but a call of the command."""

from palaver.cli import door

if __name__ == "__main__":
    door("api")
