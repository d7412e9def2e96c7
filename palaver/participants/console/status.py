"""The status line and the live text above it, as rows of a given width. Pure: a view and a time in, strings out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import wcwidth

from palaver.core.protocol import Holder
from palaver.participants.console.clean import clean, clean_name, separate
from palaver.participants.console.lines import wrapped
from palaver.participants.console.view import RoomView

Style = Literal["", "paused", "alert"]
BAR: Final = " · "


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the status line. The least `weight` is shortened first, then left out."""

    text: str
    weight: int
    short: str = ""
    style: Style = ""


def status_parts(view: RoomView, now: float) -> list[Part]:
    """All there is to say, in order."""
    floor = view.floor
    parts = [Part(view.room, 7)]
    if not floor.policy:
        return [*parts, _connection(view, now, "CONNECTING")]
    stopped = "ENDED" if floor.ended else "PAUSED" if floor.paused else ""
    parts.append(Part(stopped, 11, style="paused") if stopped else Part("running", 8))
    parts.append(Part(f"epoch {floor.epoch}", 2, f"e{floor.epoch}"))
    parts.append(Part(floor.policy, 6))
    parts.append(_holders(floor.holders, view, now))
    if floor.waits:
        parts.append(Part(clean_name(floor.waits.partition(":")[0]), 9, "waits", "alert"))
    elif floor.queue:
        more = f" +{len(floor.queue) - 1}" if len(floor.queue) > 1 else ""
        parts.append(Part(f"next {clean_name(floor.queue[0])}{more}", 4, f"queue {len(floor.queue)}"))
    if floor.hands:
        parts.append(Part(f"{_count(len(floor.hands), 'hand')} up", 5))
    if floor.held:
        parts.append(Part(f"{floor.held} held", 9, style="alert"))
    if floor.budget is not None:
        parts.append(Part(f"budget {floor.budget:.0%}", 6, style="alert" if floor.budget >= 0.8 else ""))
    if view.hiding:
        parts.append(Part(f"{view.hidden} hidden ({view.hiding})", 8, f"{view.hidden} hidden", "alert"))
    parts.append(Part(f"{view.per_minute(now)}/min", 3))
    if view.unanswered:
        parts.append(Part(f"{view.unanswered} unsent" if not view.is_up else f"{view.unanswered} sending", 9))
    parts.append(_connection(view, now))
    return parts


def _connection(view: RoomView, now: float, doing: str = "RECONNECTING") -> Part:
    if view.down_since is None:
        return Part("connected", 1, "up")
    return Part(f"{doing} {max(0.0, now - view.down_since):.0f} s", 10, doing, "alert")


def _holders(holders: Iterable[Holder], view: RoomView, now: float) -> Part:
    held = [(clean_name(holder.name), view.held_for(holder.turn, now)) for holder in holders]
    if not held:
        return Part("floor free", 3, "free")
    name, seconds = max(held, key=lambda one: one[1])
    more = f" +{len(held) - 1}" if len(held) > 1 else ""
    return Part(f"{name} {seconds:.0f} s{more}", 9, f"{wcwidth.clip(name, 0, 12).rstrip()} {seconds:.0f} s{more}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def fit(parts: list[Part], width: int) -> list[Part]:
    """The parts that `width` columns hold: shortened, then left out, the lightest first."""
    parts = list(parts)
    for shorten in (True, False):
        for light in sorted(parts, key=lambda part: part.weight):
            if columns(parts) <= width:
                return parts
            place = parts.index(light)
            if not shorten:
                del parts[place]
            elif light.short:
                parts[place] = Part(light.short, light.weight, style=light.style)
    return parts


def columns(parts: list[Part]) -> int:
    """How wide the parts are, with the bars between them and a margin on both sides."""
    return sum(wcwidth.width(part.text) for part in parts) + len(BAR) * max(0, len(parts) - 1) + 2


def live_rows(view: RoomView, width: int, most: int) -> list[tuple[str, str]]:
    """What is just being said, as `(name, row)`: the end of each text, in no more than `most` rows altogether.

    The first row of each speaker begins with its name; the rows look like the message that they will become.
    """
    streams = list(view.streams.values())[:most]
    rows = [(name, f"{name}: loading {text}"[: width - 1]) for name, text in _loading(view)][: max(0, most - 1)]
    if not streams or most < 1:
        return rows
    share = max(1, (most - len(rows)) // len(streams))
    for stream in streams:
        rows += _tail(clean_name(stream.sender), separate(clean(stream.text)), width, share)
    return rows[-most:]


def _loading(view: RoomView) -> list[tuple[str, str]]:
    return [(clean_name(name), clean(text).replace("\n", " ")) for name, text in view.loading.items()]


def _tail(name: str, text: str, width: int, share: int) -> list[tuple[str, str]]:
    indent = " " * (9 if width >= 50 else 2)
    head = f"{indent}{name}: "
    flat = text.rstrip().expandtabs(4)[-(share + 1) * width :]
    rows: list[str] = []
    for paragraph in flat.split("\n"):
        rows += wrapped(paragraph, width - 1, head if not rows else indent, indent)
    if len(rows) <= share and len(flat) == len(text.rstrip().expandtabs(4)):
        return [(name if place == 0 else "", row) for place, row in enumerate(rows)]
    if share == 1:
        room = max(8, width - 2 - wcwidth.width(head))
        return [(name, head + "…" + _last(" ".join(text.split()), room - 1))]
    return [(name, f"{head}…"), *(("", row) for row in rows[-(share - 1) :])]


def _last(text: str, width: int) -> str:
    """The end of `text` that `width` columns hold."""
    for place in range(len(text) - 1, -1, -1):
        width -= max(0, wcwidth.wcwidth(text[place]))
        if width < 0:
            return text[place + 1 :]
    return text
