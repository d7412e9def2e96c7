"""Numbers as flags take them: whole or not, within bounds, and refused in words."""

import argparse
import math
from collections.abc import Callable


def whole(least: int = 0, most: int | None = None) -> Callable[[str], int]:
    """For argparse: a whole number within these bounds."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if most is not None and not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not within {least} to {most}")
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is below {least}")
        return value

    return read


def between(least: float, most: float) -> Callable[[str], float]:
    """For argparse: a number within these bounds."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
        if not (math.isfinite(value) and least <= value <= most):
            raise argparse.ArgumentTypeError(f"{text} is not within {least:g} to {most:.0f}")
        return value

    return read


amount = between(0, 1e6)
port = whole(0, 65_535)
"""Of TCP; a larger one would be taken for another: its lowest 16 bits."""
