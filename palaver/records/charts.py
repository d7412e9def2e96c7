"""Figures drawn as inline SVG: bars and a table of squares. Names are shortened and escaped; nothing else is text."""

from collections.abc import Mapping, Sequence
from typing import Final

from palaver.core.message import key_of
from palaver.records.escaping import shown
from palaver.records.figures import Latency

WIDTH: Final = 300
LEFT: Final = 112
"""Where bars and squares begin; names stand left of it."""
ROW: Final = 26
MOST_BARS: Final = 12
MOST_NAMES: Final = 8


def share(parts: Mapping[str, float], hues: Mapping[str, int]) -> str:
    """Bars of the words' shares, largest first; empty where nobody spoke."""
    ranked = sorted(parts.items(), key=lambda part: -part[1])[:MOST_BARS]
    most = max((part for _, part in ranked), default=0.0) or 1.0
    rows = [(name, part / most, 0.0, f"{part:.0%}") for name, part in ranked]
    return _bars(rows, hues, "Share of words: " + ", ".join(f"{name} {part:.0%}" for name, part in ranked))


def latency(waited: Mapping[str, Latency], hues: Mapping[str, int]) -> str:
    """Bars of the median times to answer, with a mark where 95 % of them lie below."""
    ranked = list(waited.items())[:MOST_BARS]
    most = max((each.p95 for _, each in ranked), default=0.0) or 1.0
    rows = [(name, max(0.0, each.p50) / most, max(0.0, each.p95) / most, _spoken(each.p50)) for name, each in ranked]
    told = ", ".join(f"{name} {_spoken(each.p50)}, 95 % within {_spoken(each.p95)}" for name, each in ranked)
    return _bars(rows, hues, f"Median time to answer: {told}")


def follows(table: Mapping[str, Mapping[str, int]], names: Sequence[str]) -> str:
    """Squares, darker the more often the column's name spoke directly after the row's; empty below two names."""
    names = names[:MOST_NAMES]
    most = max((count for row in table.values() for count in row.values()), default=0)
    if len(names) < 2 or not most:
        return ""
    cell, top = min(34, (WIDTH - LEFT) // len(names)), 66
    drawn = []
    for place, name in enumerate(names):
        x = LEFT + place * cell + cell / 2
        drawn.append(_text(x, top - 6, _short(name, 10), f'transform="rotate(-45 {x:g} {top - 6})"'))
        drawn.append(_text(LEFT - 8, top + place * cell + cell / 2 + 4, _short(name, 15), 'text-anchor="end"'))
    for row, before in enumerate(names):
        for column, after in enumerate(names):
            count = table.get(before, {}).get(after, 0)
            drawn.append(_square(LEFT + column * cell, top + row * cell, cell, count, most))
    pairs = sorted(((table[one][two], one, two) for one in table for two in table[one]), reverse=True)[:5]
    told = ", ".join(f"{two} after {one} {count} times" for count, one, two in pairs)
    return _svg(top + cell * len(names), f"Who follows whom: {told}", drawn)


def _bars(rows: Sequence[tuple[str, float, float, str]], hues: Mapping[str, int], title: str) -> str:
    if not rows:
        return ""
    drawn = []
    for place, (name, part, mark, value) in enumerate(rows):
        y = place * ROW
        drawn.append(_text(LEFT - 8, y + 15, _short(name, 15), 'text-anchor="end"'))
        drawn.append(f'<rect class="track" x="{LEFT}" y="{y + 4}" width="120" height="14" rx="4"/>')
        hue = hues.get(key_of(name), 0)
        wide = max(2.0, 120 * part)
        drawn.append(
            f'<rect class="bar" style="--hue:{hue}" x="{LEFT}" y="{y + 4}" width="{wide:g}" height="14" rx="4"/>'
        )
        if mark:
            drawn.append(f'<rect class="mark" x="{LEFT - 1 + 120 * mark:g}" y="{y + 2}" width="2" height="18"/>')
        drawn.append(_text(LEFT + 128, y + 15, value, 'class="value"'))
    return _svg(len(rows) * ROW, title, drawn)


def _square(x: float, y: float, cell: int, count: int, most: int) -> str:
    strength = 0.2 + 0.8 * count / most if count else 0.0
    box = f'x="{x + 1:g}" y="{y + 1:g}" width="{cell - 2}" height="{cell - 2}" rx="4"'
    drawn = f'<rect class="track" {box}/>'
    if count:
        bright = ' class="on"' if strength > 0.6 else ""
        drawn += f'<rect class="heat" opacity="{strength:.2f}" {box}/>'
        drawn += _text(x + cell / 2, y + cell / 2 + 4, str(count), f'text-anchor="middle"{bright}')
    return drawn


def _text(x: float, y: float, text: str, more: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" {more}>{shown(text)}</text>'


def _svg(height: int, title: str, drawn: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{shown(title)}">'
    return head + "".join(drawn) + "</svg>"


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _spoken(waited: float) -> str:
    return f"{waited * 1000:.0f} ms" if waited < 1 else f"{waited:.1f} s"
