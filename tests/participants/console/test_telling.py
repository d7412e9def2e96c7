"""What frames read like."""

import pytest

from palaver.core.protocol import Error, Event, HubFrame, Presence, System
from palaver.participants.console.paint import Paint
from palaver.participants.console.telling import tell
from tests.participants.console.frames import TIME, floor, message, welcome

PLAIN = Paint(colour=False)


def read(frame: HubFrame) -> str | None:
    line = tell(frame, "Moderator")
    return line.rendered(PLAIN).removeprefix(line.at).strip() if line is not None else None


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (message(7, "Ada", "hello"), "#7 Ada: hello"),
        (message(7, "Ada", "psst", to="Bob"), "#7 Ada -> Bob (whisper): psst"),
        (message(7, "Ada", "hm", meta={"sent_as": True, "by": "Eve"}), "#7 Ada (written by Eve): hm"),
        (message(7, "Ada", "", redacted="private"), "#7 Ada: (redacted: private)"),
        (message(7, "A\x1b[2Jda", "x\x1b]0;t\x07y"), "#7 Ada: xy"),
        (System(content="the room is paused", level="warning"), "! the room is paused"),
        (System(content="hm"), "-- hm"),
        (System(content="Ada could not answer", level="error"), "!! Ada could not answer"),
        (Presence(name="Ada", role="model", state="joined", members=3), "-- Ada joined (model, 3 here)"),
        (Presence(name="Ada", role="model", state="left", text="Ada kicked: rude"), "-- Ada left: kicked: rude"),
        (Presence(name="Ada", role="model", state="left", text="left"), "-- Ada left"),
        (Presence(name="Ada", role="model", state="loading", text="phi-2"), "-- Ada is loading: phi-2"),
        (Presence(name="Ada", role="model", state="loading", text="phi-2", progress=0.5), None),
        (Presence(name="Ada", role="model", state="loading", text="reading phi-2", progress=0.0), None),
        (Presence(name="Ada", role="model", state="loading", text="loading its model"), "-- Ada is loading its model"),
        (Presence(name="Ada", role="model", state="ready", text="phi-2 is ready"), "-- Ada is ready: phi-2"),
        (Error(code="kicked", reason="kicked by Bob"), None),  # told as the reason for which the link ends
        (Error(code="bad_frame", reason="no JSON"), "!! the hub: no JSON"),
        (Presence(name="Moderator", role="moderator", state="joined"), None),
        (Event(kind="alarm", actor="Ada", text="Ada repeats itself"), "!! ALARM: Ada repeats itself"),
        (
            Event(kind="held", actor="Ada", text="held for approval as 3: /ok 3", data={"content": "a\nb"}),
            "! Ada held for approval as 3: /ok 3\n   a\n   b",
        ),
        (
            Event(kind="cancelled", actor="Ada", data={"latency": 0.0123, "tokens": 4}),
            "-- Ada stopped after 12 ms, 4 tokens",
        ),
        (Event(kind="pass", actor="Ada", text="nothing to add"), "-- Ada passes: nothing to add"),
        (Event(kind="command", actor="Eve", text="paused", data={"changed": {"paused": 1}}), "-- Eve: paused"),
        (Event(kind="command", actor="Moderator", text="paused", data={"changed": {"paused": 1}}), None),
        (Event(kind="command", actor="Eve", text="topic: x", data={"changed": {"topic": 1}}), None),
        (Event(kind="topic", actor="Eve", text="bridges"), "-- topic by Eve: bridges"),
        (Event(kind="setting", data={"name": "Ada", "settings": {}}), None),
        (Event(kind="something_new", actor="Eve", text="what"), "-- something_new: what"),
        (Error(code="bad", reason="no such thing"), "!! the hub: no such thing"),
        (welcome("Ada", "Bob"), "-- room main, you are Moderator; here: Ada, Bob"),
        (welcome(), "-- room main, you are Moderator; nobody else is here"),
        (floor(), None),
    ],
)
def test_a_frame_reads_like_one_line_or_nothing(frame: HubFrame, text: str | None) -> None:
    assert read(frame) == text


def test_ones_own_words_are_told_apart_from_those_of_others() -> None:
    own, other = (
        tell(message(1, "moderator", "x", timestamp=TIME), "Moderator"),
        tell(message(2, "Ada", "x"), "Moderator"),
    )
    assert own is not None
    assert other is not None
    assert (own.tone, other.tone) == ("own", "chat")
