"""How long what is promised in so many seconds may take here."""

import os


def within(seconds: float) -> float:
    """These seconds on a machine of one's own; in CI four times as many: others may be at work on it."""
    return seconds * (4 if os.environ.get("CI") else 1)
