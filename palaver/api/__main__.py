"""`python -m palaver.api`: nothing but a call of the command."""

import sys

from palaver.cli import run

if __name__ == "__main__":
    sys.exit(run("api"))
