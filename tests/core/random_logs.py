"""Random entries for the property tests: what members, moderators, clocks and adversaries may put into a log."""

from typing import Any

from hypothesis import strategies as st

from palaver.core.commands import COMMANDS
from palaver.core.entry import Elapsed, Entry, HubBack, HubLost, HubStarted, Joined, Left
from palaver.core.message import Role
from palaver.core.policies import POLICIES
from palaver.core.protocol import Cancelled, Command, FloorRequest, Pass, Say, Status

NAMES = ("Ada", "Bob", "Zen Sage", "Uma", "Mod", "Eve")
ROLES: dict[str, Role] = {
    "Ada": "model",
    "Bob": "model",
    "Zen Sage": "model",
    "Uma": "user_sim",
    "Mod": "moderator",
    "Eve": "observer",
}
START = 1_700_000_000.0

names = st.sampled_from(NAMES)
turns = st.none() | st.integers(0, 40)
short = st.text(max_size=12)
numbers = st.one_of(st.integers(-3, 60), st.sampled_from([0.5, 1e9, 1e11, -0.0, 10**15]))
values = st.one_of(
    numbers.map(str),
    st.sampled_from(["on", "off", "nan", "inf", "-1", "²", "[]", "{}", '[{"speakers":["Ada"],"turns":2}]', "[1]"]),
)
keys = st.sampled_from(
    [
        *("max_in_a_row", "delay", "fallback", "by", "phases", "tokens", "messages", "seconds", "cost"),
        *("temperature", "model", "history", "overlap", "window", "pause", "on", "text", "kind", "name"),
    ]
)
pairs = st.lists(st.tuples(keys, values), max_size=3).map(lambda items: " ".join(f"{k}='{v}'" for k, v in items))
policies = st.sampled_from(
    [
        *POLICIES,
        "open max_in_a_row=2",
        "open delay=3",
        "mention fallback=pooled",
        "selector by=Ada",
        "simultaneous max_in_a_row=3",
        """debate phases='[{"speakers":["Ada","Bob"],"turns":2},{}]'""",
    ]
)
prefixes = st.sampled_from(["Ada", "ada", "Bo", "Zen", '"Zen Sage"', "Zen Sage", "Uma", "Mod", "Eve", "all", '""', "@"])


def _line(verb: str) -> st.SearchStrategy[str]:
    whole: dict[str, st.SearchStrategy[str]] = {
        "policy": policies,
        "step": st.sampled_from(["", "1", "2", "7"]),
        "hops": st.sampled_from(["0", "1", "3", "40"]),
        "slow": st.sampled_from(["off", "2", "0.5"]),
        "approve": st.sampled_from(["on", "off"]),
        "ok": st.sampled_from(["all", "1", "2", "3"]),
        "drop": st.sampled_from(["all", "1", "2", "3"]),
        "budget": st.tuples(prefixes, pairs).map(" ".join),
        "floor": st.tuples(prefixes, st.sampled_from(["", "for 2", "for 3"])).map(" ".join),
    }
    anything = st.lists(
        st.one_of(prefixes, values, pairs, st.sampled_from(["on", "off", "30s", "5m", "1", "2", "text"]), short),
        max_size=3,
    ).map(" ".join)
    return whole.get(verb, anything).map(lambda rest: f"/{verb} {rest}".strip())


likely_commands = st.one_of([_line(verb) for verb in sorted(COMMANDS) if COMMANDS[verb].where == "hub"])
commands = st.one_of(likely_commands, likely_commands, likely_commands, st.text(max_size=30))
meta = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": numbers,
        "completion_tokens": st.one_of(numbers, st.booleans(), short),
        "cost": numbers,
        "saw_from": numbers,
        "saw_to": numbers,
        "spoke_for_other": st.booleans() | numbers,
    },
)
contents = st.one_of(
    st.sampled_from(["hello", "Ada, Bob: well?", "@all", "I think so too", "Bob", "one two three four five", " "]),
    short,
)
idents = st.sampled_from(["", "i1", "i2", "i3", "i4"]) | st.uuids().map(str)

says = st.builds(
    Say,
    content=contents,
    id=idents,
    to=st.none() | st.none() | names,
    reply_to=st.none() | st.integers(0, 5),
    turn=turns,
    meta=meta,
)
agent_frames = st.one_of(
    says,
    says,
    st.builds(Pass, turn=st.integers(0, 40), reason=short, failed=st.booleans()),
    st.builds(Cancelled, turn=st.integers(0, 40), latency=st.floats(0, 1e300), tokens=st.integers(0, 2**53)),
    st.builds(FloorRequest, urgency=st.floats(0, 1), reason=short),
    st.builds(Status, state=st.sampled_from(["loading", "ready", "ready"])),
)
hub_frames = st.one_of(
    st.builds(
        Elapsed,
        key=st.one_of(st.sampled_from(["wake", "gone"]), st.integers(0, 40).map(lambda turn: f"lease:{turn}"), short),
    ),
    st.builds(HubStarted, hub=st.sampled_from(["h", "other"])),
    st.builds(HubLost, hub=st.sampled_from(["h", "other"])),
    st.builds(HubBack, hub=st.sampled_from(["h", "other"])),
)
joins = st.builds(Joined, hub=st.just("h"), ready=st.booleans() | st.just(True), seed=st.integers(0, 2**63 - 1))


class Step:
    """One thing to happen, whose turn numbers and connection ids are filled in when it does."""

    def __init__(self, name: str, frame: Any, wait: float, honest: bool) -> None:
        self.name, self.frame, self.wait, self.honest = name, frame, wait, honest

    def __repr__(self) -> str:
        return f"Step({self.name!r}, {self.frame!r}, wait={self.wait}, honest={self.honest})"


waits = st.sampled_from([0.0, 0.0, 0.001, 0.4, 3.0, 130.0, 4000.0])


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """Mostly an agent that speaks when it may; else a person, a command, coming, going, or the clock."""
    kind = draw(st.sampled_from(["agent"] * 7 + ["command"] * 4 + ["person"] * 2 + ["join"] * 2 + ["left", "hub"]))
    wait = draw(waits)
    if kind == "agent":
        return Step(draw(st.sampled_from(NAMES[:4])), draw(agent_frames), wait, draw(st.booleans() | st.just(True)))
    if kind == "command":
        ident = draw(st.sampled_from(["k1", "k2"]) | st.uuids().map(str))
        return Step("Mod", Command(id=ident, text=draw(commands)), wait, True)
    if kind == "person":
        return Step(draw(st.sampled_from(["Mod", "Eve"])), draw(says), wait, False)
    if kind == "join":
        return Step(draw(names), draw(joins), wait, True)
    if kind == "left":
        return Step(draw(names), Left(connection="", reason=draw(short)), wait, True)
    return Step("hub", draw(hub_frames), wait, True)


logs = st.lists(steps(), max_size=40)

# --- anything at all: decodable, but nothing that an honest hub would log -------------------------------------------

_any_frame = st.one_of(
    agent_frames,
    hub_frames,
    joins,
    st.builds(Left, connection=short, reason=short),
    st.builds(Command, id=short, text=commands),
)
wild_entries = st.builds(
    Entry,
    id=short,
    room=short,
    session=st.sampled_from(["s-ada", "s-mod", "", "x"]) | short,
    name=names | short,
    role=st.sampled_from(["model", "user_sim", "moderator", "observer"]),
    time=st.floats(0, 253_402_300_799) | st.sampled_from([0.0, START, START + 1]),
    frame=_any_frame,
)
