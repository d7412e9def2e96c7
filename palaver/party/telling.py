"""What `palaver up` says while it waits: on a terminal one line, written over; elsewhere a line for each news."""

import shutil
from collections.abc import Mapping
from typing import TextIO

from wcwidth import wcwidth

from palaver.participants.console.clean import clean, clean_name
from palaver.party.process import Seat
from palaver.party.watch import Seen


class Telling:
    """Says things to a person."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._is_terminal = file.isatty()
        self._told: dict[Seat, str] = {}
        self._line = ""

    def say(self, text: str) -> None:
        """A line, or several, that stay."""
        self._write(f"{self._cleared()}{text}\n")

    def progress(self, seats: Mapping[Seat, Seen | None]) -> None:
        """How far everybody is."""
        if self._is_terminal:
            self._rewrite(seats)
            return
        for seat, seen in seats.items():
            news = describe(seen, with_percent=False)
            if self._told.get(seat) != news:
                self._told[seat] = news
                self._write(f"{clean_name(seat.name)}: {news}\n")

    def _rewrite(self, seats: Mapping[Seat, Seen | None]) -> None:
        ready = sum(seen is not None and seen.state == "ready" for seen in seats.values())
        waiting = [
            f"{clean_name(seat.name)} {describe(seen)}"
            for seat, seen in seats.items()
            if seen is None or seen.state != "ready"
        ]
        line = _fitting(
            " · ".join([f"{ready} of {len(seats)} ready", *waiting]), shutil.get_terminal_size().columns - 1
        )
        if line != self._line:
            self._write(f"\r{line}\x1b[K")
            self._line = line

    def _cleared(self) -> str:
        had, self._line = self._line, ""
        return "\r\x1b[K" if had else ""

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()


def describe(seen: Seen | None, *, with_percent: bool = True) -> str:
    """How somebody is, in a few words."""
    if seen is None:
        return "starts"
    percent = f" {seen.progress:.0%}" if seen.progress is not None and with_percent else ""
    said = " ".join(clean(seen.text).split())
    return f"{said or seen.state}{percent}" if seen.state == "loading" else seen.state


def _fitting(line: str, columns: int) -> str:
    """As much of the line as fits a row of the terminal."""
    width, kept = 0, ""
    for character in line:
        width += max(0, wcwidth(character))
        if width > columns:
            return f"{kept[:-1]}…"
        kept += character
    return line
