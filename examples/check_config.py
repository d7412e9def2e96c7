"""Whether a config can be used: `python examples/check_config.py [FILE]`; the same as `palaver check`."""

import sys

from palaver.cli import run

if __name__ == "__main__":
    sys.exit(run("check"))
