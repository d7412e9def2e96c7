"""Floor policies: from a situation to who speaks next and why. Pure and seeded; they see the situation, not the room.

A policy chooses among candidates: present, ready, unmuted agents without the floor. Conversation analysis names the
two ways a turn passes on: the current speaker selects the next (`mention`), or the next selects itself (`open`,
`bid`); see Sacks, Schegloff and Jefferson 1974. The chair is that of RFC 8855.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from palaver.core.mentions import mentioned
from palaver.core.message import AGENTS, Message, key_of, same_name
from palaver.core.situation import Candidate, Situation, splitmix64


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Who gets the floor now, and why; nobody is an answer too."""

    speakers: tuple[str, ...] = ()
    """Keys of candidates."""
    reason: str = ""
    select: str = ""
    """A participant that is asked to name the next speaker, instead of `speakers`."""
    choices: tuple[str, ...] = ()


NOBODY = Decision()


@dataclass(frozen=True, slots=True)
class Policy:
    """A named policy. `concurrent` ones give floors while others are open; the others wait until the floor is free."""

    name: str
    decide: Callable[[Situation], Decision]
    summary: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    concurrent: bool = False
    sealed: bool = False
    """Messages are kept back until everybody who has the floor has spoken."""
    takes_hands: bool = True
    """Raised hands come before what it decides; otherwise it alone decides what becomes of them."""
    owing_only: bool = True
    """It gives the floor only to those who owe an answer, and remembers nothing while nobody does."""


def models_left(situation: Situation) -> int:
    """How many more messages of models `max_in_a_row` allows; without such a limit a million."""
    limit = int(situation.params.get("max_in_a_row", 0))
    return limit - situation.in_a_row if limit else 1_000_000


def _all_owing(situation: Situation, reason: str) -> Decision:
    """Everybody who has something new to answer; models as far as `max_in_a_row` allows, simulated users always."""
    left = models_left(situation)
    speakers: list[str] = []
    for one in situation.owing:
        if one.role != "model":
            speakers.append(one.key)
        elif left > 0:
            speakers.append(one.key)
            left -= 1
    if situation.owing and not speakers:
        reason = f"max_in_a_row={situation.params['max_in_a_row']} reached: waiting for a human"
    return Decision(tuple(speakers), reason)


def rotation(situation: Situation) -> list[Candidate]:
    """Who owes an answer, in rotation: those after the last speaker first, also where that one has left.

    Who is named in `order` comes in that order and before the others, who come in order of arrival.
    """
    named = dict.fromkeys(key_of(str(name)) for name in situation.params.get("order", ()))
    order = [key for key in named if key in situation.turns]
    order += [key for key in situation.turns if key not in named]
    start = order.index(situation.last) + 1 if situation.last in order else 0
    turn = {key: (position - start) % len(order) for position, key in enumerate(order)}
    return sorted(situation.owing, key=lambda candidate: turn[candidate.key])


def open_floor(situation: Situation) -> Decision:
    """Everybody who has something new to answer, after its own delay; bounded by `max_in_a_row`."""
    return _all_owing(situation, "open: has something new to answer")


def round_robin(situation: Situation) -> Decision:
    """Everybody in turn, one at a time: as `order` names them, then in order of arrival."""
    in_order = "the order given" if situation.params.get("order") else "order of arrival"
    order = rotation(situation)
    return Decision((order[0].key,), f"round_robin: next in {in_order}") if order else NOBODY


def random_order(situation: Situation) -> Decision:
    """One at a time, drawn from all who have something to answer; by `seed`, 0 for the room's own generator."""
    owing = situation.owing
    if not owing:
        return NOBODY
    drawn = owing[int(_draw(situation) * len(owing))]
    return Decision((drawn.key,), f"random: drawn from {len(owing)}")


def _draw(situation: Situation) -> float:
    seed = situation.params.get("seed", 0)
    if not seed:
        return situation.random()
    memory = situation.memory
    memory["generator"], drawn = splitmix64(memory.get("generator", seed))
    return drawn


def pooled(situation: Situation) -> Decision:
    """Drawn without putting back: everybody once in each round, in a new order each time."""
    owing = situation.owing
    if not owing:
        return NOBODY
    begun: dict[str, int] = situation.memory.setdefault("begun", {})
    for one in owing:
        begun.setdefault(one.key, situation.turns[one.key])
    pool = [one for one in owing if situation.turns[one.key] == begun[one.key]]
    if not pool:
        situation.memory["begun"], pool = dict(situation.turns), list(owing)
    drawn = pool[int(situation.random() * len(pool))]
    return Decision((drawn.key,), f"pooled: drawn from {len(pool)} left in this round")


def mention(situation: Situation) -> Decision:
    """Whoever was named and has not answered, first named first (people's word before agents'); else `fallback`."""
    here = {one.key: one for one in situation.everyone}
    able = {one.key for one in situation.candidates}
    named = [(key, seq) for key, seq in _named(situation) if key not in here or here[key].heard < seq]
    situation.memory["named"] = named
    for key, seq in named:
        if key in able:
            return Decision((key,), f"mention: named in message {seq}")
        if key in here and here[key].waits == "slow":
            return Decision(reason=f"mention: {here[key].name} was named in message {seq} and is slowed down")
    fallback = POLICIES[str(situation.params["fallback"])]
    decision = fallback.decide(situation.under(fallback.defaults))
    return Decision(
        decision.speakers[:1], f"mention: nobody named; {decision.reason}", decision.select, decision.choices
    )


def _named(situation: Situation) -> list[tuple[str, int]]:
    """Keys of whom messages named, each with the `seq` of the message."""
    public = [message for message in situation.history if message.to is None]
    read = situation.memory.get("read", public[-1].seq - 1 if public else 0)
    named = [(key, seq) for key, seq in situation.memory.get("named", ())]
    for message in public:
        if message.seq > read:
            situation.memory["read"] = message.seq
            fresh = [(key, message.seq) for key in _named_in(message, situation)]
            first, then = (named, fresh) if message.role in AGENTS else (fresh, named)
            known = {key for key, _ in first}
            named = first + [one for one in then if one[0] not in known]
    return named


def _named_in(message: Message, situation: Situation) -> list[str]:
    names = {one.key: one.name for one in situation.everyone if not same_name(one.name, message.sender)}
    return mentioned(message.content, names)


def chair(situation: Situation) -> Decision:
    """Nobody, until the moderator grants the floor; hands can be raised."""
    return Decision(reason="chair: the moderator grants the floor")


def bid(situation: Situation) -> Decision:
    """The highest urgency above `threshold`; ties go to the longest silent, then to order of arrival."""
    threshold = float(situation.params["threshold"])
    bids = [candidate for candidate in situation.candidates if (candidate.urgency or 0.0) >= threshold]
    bids = [candidate for candidate in bids if candidate.urgency is not None and candidate.owes]
    if not bids:
        return Decision(reason=f"bid: no bid of at least {threshold:g}")
    best = min(bids, key=lambda candidate: (-(candidate.urgency or 0.0), candidate.spoke))
    return Decision((best.key,), f"bid: urgency {best.urgency:g}, highest of {len(bids)}")


def simultaneous(situation: Situation) -> Decision:
    """Everybody at once, in rounds; what they say is sealed until all have spoken."""
    return _all_owing(situation, "simultaneous: sealed until all have spoken")


def selector(situation: Situation) -> Decision:
    """The participant named by `by` chooses; after `attempts` useless answers the longest silent speaks."""
    by = key_of(str(situation.params["by"]))
    choices = _selectable(situation, by)
    if not choices:
        return NOBODY
    chosen = situation.memory.pop("chosen", None)
    if chosen in {candidate.key for candidate in choices}:
        situation.memory["failed"] = 0
        return Decision((str(chosen),), f"selector: chosen by {situation.params['by']}")
    if len(choices) == 1:
        return Decision((choices[0].key,), "selector: the only one who can")
    able = {candidate.key for candidate in situation.candidates}
    if by in able and situation.memory.get("failed", 0) < int(situation.params["attempts"]):
        return Decision((), "selector: asked for the next speaker", by, tuple(one.name for one in choices))
    situation.memory["failed"] = 0
    silent = min(choices, key=lambda candidate: candidate.spoke)
    return Decision((silent.key,), "selector: no usable answer; the longest silent speaks")


def _selectable(situation: Situation, by: str) -> list[Candidate]:
    owing = [candidate for candidate in situation.owing if candidate.key != by]
    others = [candidate for candidate in owing if candidate.key != situation.last]
    return others if situation.params["no_repeat"] and others else owing


def debate(situation: Situation) -> Decision:
    """Phases one after another, each with its speakers (without any: all who are here) and turns for each of them.

    Whoever is due most turns speaks next, in the order listed. A phase waits for speakers that have not arrived yet,
    are loading or slowed down, or lost their connection less than a lease ago. It goes on without those who are gone,
    muted, away or have spent their budget: the turns that they missed stay due, and are theirs when they can speak.
    """
    due: dict[str, int] = situation.memory.setdefault("due", {})
    _strike_off(situation, due)
    if not any(_comes(situation, key) for key in due) and not _enter_phase(situation, due):
        return Decision(reason="debate: all phases are over, or nobody is here who could speak")
    number = situation.memory["phase"]
    phase = f"debate: phase {number} ({situation.params['phases'][number - 1].get('name', 'unnamed')})"
    key = next(key for key in due_in_debate(situation) if _comes(situation, key))
    if key not in {one.key for one in situation.candidates}:
        return Decision(reason=f"{phase} waits for {key}")
    situation.memory["given"] = [key, situation.turns[key]]
    return Decision((key,), phase)


def _strike_off(situation: Situation, due: dict[str, int]) -> None:
    """The last turn given is no longer due where it was used; where it was taken back, it is."""
    key, turns = situation.memory.pop("given", ("", 0))
    if key in due and situation.turns[key] > turns:
        due[key] -= 1
        if not due[key]:
            del due[key]


def _enter_phase(situation: Situation, due: dict[str, int]) -> bool:
    """Go on to the next phase that somebody can take part in, those passed over included; False where there is none."""
    memory, phases = situation.memory, situation.params["phases"]
    everyone = [one.key for one in situation.everyone]
    speakers = [[key_of(name) for name in phase.get("speakers", ())] or everyone for phase in phases]
    for number in range(memory.get("phase", 0), len(phases)):
        if any(_comes(situation, key) for key in speakers[number]):
            for entered in range(memory.get("phase", 0), number + 1):
                for key in speakers[entered]:
                    due[key] = due.get(key, 0) + phases[entered].get("turns", 1)
            memory["phase"] = number + 1
            return True
    return False


def _comes(situation: Situation, key: str) -> bool:
    """Whether somebody can speak, or is worth waiting for."""
    here = next((one for one in situation.everyone if one.key == key), None)
    if here is None:
        return key in situation.missing or key not in situation.turns
    return bool(here.waits) or here in situation.candidates


def debate_waits(situation: Situation) -> str:
    """What a debate waits for that does not come by itself, in words for people; empty where it goes on."""
    phases = situation.params["phases"]
    if not phases:
        return "the debate has no phases: /policy debate file=FILE.yaml gives it some"
    here = {one.key for one in situation.everyone}
    if key := next((key for key in due_in_debate(situation) if _comes(situation, key)), ""):
        speakers = {key_of(name): name for phase in phases for name in phase.get("speakers", ())}
        return "" if key in here else f"the debate waits for {speakers.get(key, key)}, who is not here"
    if situation.memory.get("phase", 0) == len(phases):
        return "all phases of the debate are over: /policy NAME lets them talk on"
    return "nobody is here who could speak in the debate's next phase" if here else ""


def due_in_debate(situation: Situation) -> list[str]:
    """Keys of those who have turns left in this phase or missed some, next first."""
    due: dict[str, int] = situation.memory.get("due", {})
    return sorted(due, key=lambda key: -due[key])


POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy("open", open_floor, "everyone, after its own delay", {"max_in_a_row": 8}, concurrent=True),
        Policy("round_robin", round_robin, "in order of arrival, or as `order` names them", {"order": []}),
        Policy("random", random_order, "drawn from all who have something to answer", {"seed": 0}),
        Policy("pooled", pooled, "everyone once in each round, in random order"),
        Policy("mention", mention, "whoever the last message names", {"fallback": "round_robin"}, owing_only=False),
        Policy("chair", chair, "whom the moderator grants it", takes_hands=False),
        Policy("bid", bid, "the highest bid", {"threshold": 0.1}, takes_hands=False),
        Policy(
            "simultaneous",
            simultaneous,
            "all at once, sealed until all have spoken",
            {"max_in_a_row": 8},
            sealed=True,
        ),
        Policy("selector", selector, "whom a model names", {"by": "", "attempts": 2, "no_repeat": True}),
        Policy(
            "debate", debate, "phases with speakers and limits", {"phases": []}, takes_hands=False, owing_only=False
        ),
    )
}
