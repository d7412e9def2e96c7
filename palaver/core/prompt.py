"""A room as one participant sees it: the list of messages that becomes its prompt.

Its own words are `assistant`, everybody else's `user` with `Name: ` before them; neighbours are merged; whispers and
redactions that are not for it never enter. The same call with another name is a user simulator's or a judge's view.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from palaver.core.message import Message, Role, key_of, same_name

BLOCK: Final = 4
"""Trimming drops so many messages more than it must, so that the prompt's beginning (and an engine's cache of it)
lasts for some turns."""
PASS: Final = "[PASS]"
"""A reply of exactly this text is silence."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Messages for a model, and where they come from. `messages` hold `role` and `content`."""

    messages: list[dict[str, str]]
    saw_from: int
    """`seq` of the first room message in it, 0 for none."""
    saw_to: int
    trimmed: int
    """Room messages left out for length."""
    stop: tuple[str, ...]
    """Labels of the others at the start of a line: where the reply must end."""


def seen_by(
    name: str,
    messages: Sequence[Message],
    *,
    role: Role = "model",
    persona: str = "",
    history: int = 0,
    max_tokens: int = 0,
    count: Callable[[str], int] | None = None,
    names: Iterable[str] = (),
    labels: bool = True,
) -> Prompt:
    """What `name` is prompted with.

    `history` is how many messages it sees at most (0: all; between `history` and `history - 3`, cut in blocks of 4
    where it is above 4), `max_tokens` how many tokens by `count` (characters / 4 where none is given; 0: no limit).
    The last message is never left out. `names` are the others' names for stop strings, besides those that appear.
    Without `labels` the others' words bear no name and there are no stop strings: for a talk between two.
    """
    mine = [message for message in messages if message.redacted is None and message.is_for(name, role)]
    kept = _within(mine, history)
    kept = _within_tokens(kept, persona, max_tokens, count or _estimate)
    turns: list[dict[str, str]] = [{"role": "system", "content": persona}] if persona else []
    for message in kept:
        own = same_name(message.sender, name)
        text = message.content if own or not labels else f"{message.sender}: {message.content}"
        speaker = "assistant" if own else "user"
        if turns and turns[-1]["role"] == speaker:
            turns[-1]["content"] += "\n" + text
        else:
            turns.append({"role": speaker, "content": text})
    others = dict.fromkeys([*names, *(message.sender for message in kept)])
    stop = tuple(f"\n{other}:" for other in others if labels and not same_name(other, name))
    return Prompt(
        turns,
        kept[0].seq if kept else 0,
        kept[-1].seq if kept else 0,
        len(mine) - len(kept),
        stop,
    )


def _within(mine: list[Message], history: int) -> list[Message]:
    if not history or len(mine) <= history:
        return mine
    step = BLOCK if history > BLOCK else 1
    surplus = len(mine) - history
    return mine[-(-surplus // step) * step :]


def _within_tokens(kept: list[Message], persona: str, max_tokens: int, count: Callable[[str], int]) -> list[Message]:
    if not max_tokens or not kept:
        return kept
    costs = [count(f"{message.sender}: {message.content}") + 4 for message in kept]
    total = count(persona) + sum(costs)
    first = 0
    while total > max_tokens and first < len(kept) - 1:
        for _ in range(min(BLOCK, len(kept) - 1 - first)):
            total -= costs[first]
            first += 1
    return kept[first:]


def _estimate(text: str) -> int:
    return len(text) // 4 + 1


def own_words(text: str, name: str, others: Iterable[str]) -> tuple[str, bool]:
    """What of a reply is the participant's own: its label taken off, the text after another's label cut.

    The second value says whether something was cut (`spoke_for_other`).
    """
    text = text.strip()
    label = re.escape(name)
    own = re.match(rf"(?:\*\*{label}\s*:\*{{0,2}}|(?:\*\*)?{label}(?:\*\*)?\s*:)\s*", text, re.IGNORECASE)
    if own:
        text = text[own.end() :]
    labels = [other for other in others if key_of(other) != key_of(name)]
    if not labels:
        return text.strip(), False
    pattern = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
    foreign = re.search(rf"^[ \t]*(?:\*\*)?(?:{pattern})(?:\*\*)?\s*:", text, re.IGNORECASE | re.MULTILINE)
    if foreign is None:
        return text.strip(), False
    return text[: foreign.start()].strip(), True
