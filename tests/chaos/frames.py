"""Frames that nobody should send: valid ones with something wrong, and noise; seeded, as many as are wanted."""

import json
import random
from collections.abc import Iterator
from typing import Final

from palaver.core.protocol import (
    Cancelled,
    Command,
    Delta,
    FloorRequest,
    FromMember,
    Join,
    Leave,
    Pass,
    Say,
    Status,
    encode,
)

VALID: Final[tuple[FromMember, ...]] = (
    Join(name="Ann", role="moderator", room="main", after=3, session="s" * 20, token="t"),
    Join(name="Zen Sage", role="model", ready=False, about="tiny"),
    Say(
        content="hello",
        id="m1",
        to="Ann",
        reply_to=1,
        meta={"model": "tiny", "seconds": 0.5, "parts": [1, {"a": None}]},
    ),
    Say(content="words under a turn", id="m2", turn=1, meta={"saw_to": 3, "prompt_tokens": 7, "cost": 0.01}),
    Delta(turn=1, text="so "),
    Pass(turn=1, reason="nothing to add"),
    Cancelled(turn=1, latency=0.05, tokens=3, content="so far"),
    FloorRequest(urgency=0.5, reason="me"),
    Status(state="loading", text="half", progress=0.5),
    Command(id="c1", text="/mute Bob 5s"),
    Command(id="c2", text='/floor "Zen Sage" for 2'),
    Command(id="c3", text="/policy debate phases='[{}]'"),
    Command(id="c4", text="/set Bot temperature=0.5"),
    Leave(reason="bye"),
)
"""One of each, and more of what says most."""
SEEDS: Final = (
    *(encode(frame) for frame in VALID),
    b'{"name":"Ann","type":"human"}',
    b'{"type":"message","content":"hello","from":"Ann"}',
)
TOKENS: Final = (
    *(
        b"null",
        b"true",
        b"-1",
        b"0",
        b"1e999",
        b"-0.0",
        b"NaN",
        b"9007199254740993",
        b"1" + b"0" * 400,
        b"1" + b"0" * 5000,
    ),
    *(
        b'""',
        b'" "',
        b'"\\u0000"',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\xff"',
        b'"\xe2\x80\xae"',
        b'"' + b"x" * 70_000 + b'"',
    ),
    *(b"[]", b"{}", b"[" * 40 + b"]" * 40, b"[" * 990 + b"]" * 990, b"[" * 5000, b'{"a":' * 60 + b"1" + b"}" * 60),
    *(b'"message"', b'"join"', b'"moderator"', b'"Ann"', b'"hub"', b'"/end"', b'"/pause"', b'"/kick all"'),
)
"""What is put in the place of a value."""


def frames(seed: int, count: int) -> Iterator[bytes]:
    """So many, the same ones for the same seed."""
    dice = random.Random(seed)
    for _ in range(count):
        yield one(dice)


def one(dice: random.Random) -> bytes:
    """A valid frame, two of three with a few faults; sometimes noise."""
    if (what := dice.random()) < 0.05:
        return dice.randbytes(dice.randrange(60))
    frame = dice.choice(SEEDS)
    if what < 0.35:
        return frame
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        frame = dice.choice(FAULTS)(frame, dice)
    return frame


def _another_value(frame: bytes, dice: random.Random) -> bytes:
    """Some value of some field is another."""
    try:
        fields = json.loads(frame)
    except (ValueError, RecursionError):
        return frame
    if not isinstance(fields, dict) or not fields:
        return frame
    name = dice.choice(list(fields))
    pairs = [
        json.dumps(key).encode() + b":" + (dice.choice(TOKENS) if key == name else json.dumps(value).encode())
        for key, value in fields.items()
    ]
    return b"{" + b",".join(pairs) + b"}"


def _another_field(frame: bytes, dice: random.Random) -> bytes:
    names = (b"from", b"role", b"seq", b"turn", b"id", b"meta", b"type", b"content", b"\xc3\xa4", b"after")
    return frame[:-1] + b',"' + dice.choice(names) + b'":' + dice.choice(TOKENS) + b"}"


def _flipped(frame: bytes, dice: random.Random) -> bytes:
    changed = bytearray(frame)
    for _ in range(dice.randrange(1, 4)):
        if changed:
            changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def _cut(frame: bytes, dice: random.Random) -> bytes:
    return frame[: dice.randrange(len(frame) + 1)]


def _without(frame: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(frame) + 1)
    return frame[:start] + frame[start + dice.randrange(8) :]


def _doubled(frame: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(frame) + 1)
    return frame[:start] + frame[start : start + dice.randrange(30)] + frame[start:]


def _spliced(frame: bytes, dice: random.Random) -> bytes:
    other = dice.choice(SEEDS)
    return frame[: dice.randrange(len(frame) + 1)] + other[dice.randrange(len(other)) :]


FAULTS: Final = (_another_value, _another_value, _another_field, _flipped, _cut, _without, _doubled, _spliced)
