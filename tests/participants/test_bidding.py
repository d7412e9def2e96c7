"""Bids under the policy `bid`."""

import pytest

from palaver.core.message import Message
from palaver.core.protocol import FloorView
from palaver.models.scripted import ScriptedModel
from palaver.participants.bidding import reopened, urgency
from tests.hubs import joined, running
from tests.participants.test_hub_model import seated


def said(content: str, role: str = "model") -> Message:
    return Message(room="main", seq=1, id="1", sender="Ada", role=role, content=content, timestamp="")  # type: ignore[arg-type]  # a Role


def test_being_addressed_counts_most_then_people_then_questions() -> None:
    bids = [
        urgency(said("Zen Sage, go on"), "Zen Sage"),
        urgency(said("go on", "moderator"), "Zen Sage"),
        urgency(said("is it?"), "Zen Sage"),
        urgency(said("it is"), "Zen Sage"),
    ]
    assert bids == sorted(bids, reverse=True)
    assert len(set(bids)) == 4


@pytest.mark.parametrize(
    ("before", "now", "again"),
    [
        (None, FloorView(epoch=1, paused=False, policy="bid"), True),
        (FloorView(epoch=1, paused=True, policy="bid"), FloorView(epoch=2, paused=False, policy="bid"), True),
        (FloorView(epoch=1, paused=False, policy="open"), FloorView(epoch=2, paused=False, policy="bid"), True),
        (FloorView(epoch=1, paused=False, policy="bid"), FloorView(epoch=1, paused=False, policy="bid"), False),
        (None, FloorView(epoch=1, paused=True, policy="bid"), False),
        (None, FloorView(epoch=1, paused=False, policy="open"), False),
    ],
)
def test_bids_are_made_anew_when_bidding_begins_or_goes_on(before: FloorView, now: FloorView, again: bool) -> None:
    assert reopened(before, now) is again


async def test_whoever_is_addressed_gets_the_floor() -> None:
    async with (
        running() as hub,
        joined(hub.url, "Ann") as ann,
        seated(hub.url, "One", ScriptedModel(["one speaks"])),
        seated(hub.url, "Two", ScriptedModel(["two speaks"])),
    ):
        for name in ("One", "Two"):
            await ann.until("presence", name=name)
        await ann.command("/policy bid threshold=0.8")
        await ann.say("Two, what do you think?")
        assert (await ann.until("message", role="model"))["from"] == "Two"
        assert "highest" in (await ann.command("/why 2"))["text"]
