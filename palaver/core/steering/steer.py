"""Commands on the floor: silence, expulsion, who is next, limits."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from palaver.core import floor, seats, views
from palaver.core.commands import pairs_text
from palaver.core.effects import FLOOR_CHANGED, Disconnect, Hearing
from palaver.core.errors import CommandError
from palaver.core.message import key_of
from palaver.core.policies import POLICIES
from palaver.core.protocol import Close
from palaver.core.state import FOREVER, RoomState
from palaver.core.steering.turn import Outcome, Turn, able, agent, like

# --- silence -----------------------------------------------------------------------------------------------------


def _pause(turn: Turn) -> Outcome:
    listed: list[str] = turn.parsed.values.get("names", [])
    if listed:
        return _each(turn, listed, FOREVER)
    was_paused, before = turn.state.floor.paused, list(turn.state.floor.paused_by)
    if not floor.pause(turn.state, turn.out, "paused by the moderator", by=turn.entry.name):
        return Outcome("already paused")
    if was_paused:
        return Outcome("paused already, and now by you too", {"paused by": [before, turn.state.floor.paused_by[:]]})
    return Outcome("paused", {"paused": [False, True]})


def _resume(turn: Turn) -> Outcome:
    listed: list[str] = turn.parsed.values.get("names", [])
    if listed:
        return _each(turn, listed, 0.0)
    if not floor.resume(turn.state, turn.out):
        return Outcome("not paused; the counters of agent messages begin anew")
    return Outcome("resumed", {"paused": [True, False]})


def _each(turn: Turn, listed: Iterable[str], until: float) -> Outcome:
    for name in listed:
        agent(turn, name)
    outcomes = [_mute_until(turn, name, until) for name in listed]
    changed = {key: value for outcome in outcomes for key, value in (outcome.changed or {}).items()}
    return Outcome("; ".join(outcome.text for outcome in outcomes), changed or None)


def _step(turn: Turn) -> Outcome:
    count = int(turn.parsed.values.get("number", 1))
    if count < 1:
        raise CommandError(f"/step takes a number of at least 1, not {count}")
    epoch, now = turn.parsed.values.get("epoch"), turn.state.floor.epoch
    if epoch is not None and epoch != now:
        raise CommandError(f"the room was steered since epoch {epoch:.0f}: it is at {now}")
    was_paused = turn.state.floor.paused
    floor.resume(turn.state, turn.out)
    turn.state.floor.steps = count
    changed = {"paused": [was_paused, f"after {count}"]}
    return Outcome(f"{count} agent message(s), then pause", changed, silent=epoch is not None)


def _stop(turn: Turn) -> Outcome:
    key, record = agent(turn, turn.parsed.values["name"])
    if key not in turn.state.floor.grants:
        return Outcome(f"{record.name} does not have the floor")
    record.heard = turn.state.seq  # else it would be given the floor again at once
    floor.use_up(turn.state.floor, key, record)
    floor.unreserve(turn.state, key)
    floor.bump(turn.state)
    floor.revoke(turn.state, turn.out, key, "stopped by the moderator")
    return Outcome(f"{record.name} stopped", {"floor": [record.name, None]})


def _mute(turn: Turn) -> Outcome:
    duration = turn.parsed.values.get("duration")
    until = FOREVER if duration is None else turn.state.now + float(duration)
    return _mute_until(turn, turn.parsed.values["name"], until)


def _timeout(turn: Turn) -> Outcome:
    seconds = float(turn.parsed.values.get("number", 60))
    if not 0 < seconds <= 1e9:
        raise CommandError(f"/timeout takes seconds above 0, not {seconds:g}")
    return _mute_until(turn, turn.parsed.values["name"], turn.state.now + seconds)


def _unmute(turn: Turn) -> Outcome:
    return _mute_until(turn, turn.parsed.values["name"], 0.0)


def _mute_until(turn: Turn, name: str, until: float) -> Outcome:
    key, record = agent(turn, name)
    state = turn.state
    was, will = record.is_muted(state.now), until > state.now
    if will == was and (not will or record.muted_until == until):
        return Outcome(f"{record.name} is {'already' if will else 'not'} muted")
    record.muted_until = until
    if will:
        floor.silence(state, turn.out, key, "muted by the moderator")
    turn.out.append(FLOOR_CHANGED)
    how_long = "" if until >= FOREVER or not will else f" for {until - state.now:.0f} s"
    text = f"{record.name} {'muted' + how_long if will else 'unmuted'}"
    return Outcome(text, {f"{record.name} muted": [was, will]})


def _deafen(turn: Turn) -> Outcome:
    key, record = agent(turn, turn.parsed.values["name"])
    deaf = turn.parsed.values.get("toggle", "on") == "on"
    if record.deafened == deaf:
        return Outcome(f"{record.name} {'hears nothing already' if deaf else 'hears already'}")
    record.deafened = deaf
    state = turn.state
    if deaf:
        record.deaf.append([state.seq + 1, 0])
    else:
        if record.deaf[-1][0] > state.seq:  # nothing was said meanwhile
            record.deaf.pop()
        else:
            record.deaf[-1][1] = state.seq
        record.heard = state.seq
    if (member := state.members.get(key)) is not None:
        turn.out.append(Hearing(member.session, deaf))
    return Outcome(
        f"{record.name} {'hears nothing more' if deaf else 'hears again'}",
        {f"{record.name} deafened": [not deaf, deaf]},
    )


# --- out of the room ---------------------------------------------------------------------------------------------


def _kick(turn: Turn) -> Outcome:
    return _expel(turn, Close.KICKED, "kicked", turn.parsed.values.get("reason", ""))


def _ban(turn: Turn) -> Outcome:
    state, name, duration = turn.state, turn.parsed.values["name"], turn.parsed.values.get("duration")
    until = FOREVER if duration is None else state.now + float(duration)
    before = state.banned.get(key_of(name), 0.0)
    state.banned[key_of(name)] = until
    expelled = _expel(turn, Close.BANNED, "banned", "" if duration is None else f"for {duration:.0f} s")
    changed = {f"{name} banned": [before > state.now, True]} if before != until else {}
    return Outcome(expelled.text, {**(expelled.changed or {}), **changed} or None)


def _expel(turn: Turn, code: Close, verb: str, why: str) -> Outcome:
    state = turn.state
    name: str = turn.parsed.values["name"]
    key = key_of(name)
    text = f"{name} {verb}" + (f": {why}" if why else "")
    member = state.members.get(key)
    if member is None:
        return Outcome(text if code is Close.BANNED else f"{name} is not here")
    floor.silence(state, turn.out, key, verb)
    for ticket in [ticket for ticket, words in state.held.items() if key_of(words.name) == key]:
        del state.held[ticket]
    turn.out.append(Disconnect(member.session, code, f"{verb} by {turn.entry.name}" + (f": {why}" if why else "")))
    seats.remove(state, key, text, turn.out)
    if key in state.records:
        state.records[key].left = -FOREVER  # nobody waits for it
    return Outcome(text, {f"{name} here": [True, False]})


def _unban(turn: Turn) -> Outcome:
    word, state = turn.parsed.values["name"].strip('"@'), turn.state
    banned = [key for key, until in state.banned.items() if until > state.now]
    matches = [key for key in banned if key == key_of(word)] or [key for key in banned if key.startswith(key_of(word))]
    if len(matches) != 1:
        listed = ", ".join(matches or banned) or "nobody"
        raise CommandError(f"{word!r} is {'ambiguous' if matches else 'not banned; banned'}: {listed}")
    state.banned = {key: until for key, until in state.banned.items() if until > state.now and key != matches[0]}
    return Outcome(f"{matches[0]} may come back", {f"{matches[0]} banned": [True, False]})


# --- who is next -------------------------------------------------------------------------------------------------


def _policy(turn: Turn) -> Outcome:
    now = turn.state.floor
    word = turn.parsed.values.get("policy")
    if word is None:
        known = "\n".join(f"  {policy.name}: {policy.summary}" for policy in POLICIES.values())
        return Outcome(f"policy {_told(now.policy, views.floor_view(turn.state).params)}; known:\n{known}")
    if word not in POLICIES:
        raise CommandError(f"floor policy {word!r} is unknown; known: {', '.join(POLICIES)}")
    policy = POLICIES[word]
    pairs = turn.parsed.values.get("pairs", {})
    params = check_params(word, pairs)
    if word == now.policy:  # what is not named stays as it is
        params = {**now.params, **params}
    slow = like("delay", pairs.get("delay", now.slow), 1.0)
    before = _told(now.policy, now.params)
    if (now.policy, now.params, now.slow) == (word, params, slow):
        return Outcome(f"policy is {word} already")
    if now.policy != word or now.params.get("phases") != params.get("phases"):
        _begin_anew(turn, f"policy is now {word}")
    now.policy, now.params = word, params
    floor.pace(turn.state, turn.out, slow)
    text = f"policy {word}: {policy.summary}{_note(turn.state, word, params)}"
    return Outcome(text, {"policy": [before, _told(word, params)]})


def _note(state: RoomState, policy: str, params: Mapping[str, Any]) -> str:
    """What a moderator may not have meant: names that no agent here has had."""
    if policy == "selector" and not params.get("by"):
        return "; by=NAME says who chooses, until then the longest silent speaks"
    phases = params.get("phases", ())
    named = [*params.get("order", ()), *(name for phase in phases for name in phase.get("speakers", ()))]
    named = [str(name) for name in [*named, *filter(None, [params.get("by")])]]
    missing = [name for name in dict.fromkeys(named) if key_of(name) not in state.records]
    return f"; no model or user simulator here has been called {', '.join(missing)}" if missing else ""


def _told(policy: str, params: Mapping[str, Any]) -> str:
    return f"{policy} {pairs_text(params)}".rstrip()


def _begin_anew(turn: Turn, reason: str) -> None:
    """What another policy gave and remembered is void."""
    now = turn.state.floor
    now.memory, now.reserved_turns = {}, 0
    floor.bump(turn.state)
    for key in list(now.grants):
        floor.revoke(turn.state, turn.out, key, reason)


def check_params(policy: str, pairs: dict[str, Any]) -> dict[str, Any]:
    """The parameters that `pairs` set; raises `CommandError` for unknown ones and for values of another type."""
    defaults = POLICIES[policy].defaults
    params = {}
    for name, value in pairs.items():
        if name == "delay":
            like(name, value, 1.0)
            continue
        if name not in defaults:
            known = ", ".join([*defaults, "delay"])
            raise CommandError(f"policy {policy} has no parameter {name!r}; known: {known}")
        params[name] = like(name, value, defaults[name])
        if name == "phases":
            _check_phases(params[name])
    if policy == "mention" and params.get("fallback", "open") not in set(POLICIES) - {"mention", "simultaneous"}:
        raise CommandError(f"fallback {params['fallback']!r} is no policy that mention can fall back on")
    return params


_PHASE = {"name": str, "speakers": list, "turns": int}


def _check_phases(phases: list[Any]) -> None:
    for number, phase in enumerate(phases, 1):
        if not isinstance(phase, dict) or not phase.keys() <= _PHASE.keys():
            fields = ", ".join(_PHASE)
            raise CommandError(
                f"phase {number} of the debate must be a mapping of {fields}, not {phase!r}; write phases='[…]' in "
                "single quotes, or file=FILE.yaml"
            )
        for field, value in phase.items():
            if type(value) is not _PHASE[field]:
                raise CommandError(f"phase {number}: {field}={value!r} must be a {_PHASE[field].__name__}")
        if not all(isinstance(name, str) for name in phase.get("speakers", ())):
            raise CommandError(f"phase {number}: speakers must be names, not {phase['speakers']!r}")
        if not 1 <= phase.get("turns", 1) <= 1_000_000:
            raise CommandError(f"phase {number}: turns must be 1 to 1000000, not {phase['turns']}")


def _floor(turn: Turn) -> Outcome:
    count = turn.parsed.values.get("count", "for 1").removeprefix("for").strip()
    if re.fullmatch("[1-9][0-9]{0,5}", count) is None:
        raise CommandError(f"usage: {turn.parsed.spec.usage}, e.g. /floor Sage for 3")
    return _hand_over(turn, turn.parsed.values["name"], int(count))


def _hand_over(turn: Turn, name: str, count: int) -> Outcome:
    state = turn.state
    key, record = able(turn, name)
    holders = [given.name for given in state.floor.grants.values()]
    reserved = state.floor.reserved_turns if state.floor.reserved == key else 0
    state.floor.reserved, state.floor.reserved_turns = key, count
    if holders == [record.name]:
        changed = {f"turns kept for {record.name}": [reserved, count]} if reserved != count else None
        return Outcome(f"{record.name} has the floor already", changed)
    floor.hand_over(state, turn.out, key, f"floor: given by {turn.entry.name}")
    return Outcome(f"{record.name} has the floor", {"floor": [holders, [record.name]]})


def _grant(turn: Turn) -> Outcome:
    return _hand_over(turn, turn.parsed.values["name"], 1)


def _deny(turn: Turn) -> Outcome:
    key = key_of(turn.parsed.values["name"])
    hands = turn.state.floor.hands
    turn.state.floor.hands = [hand for hand in hands if key_of(hand.name) != key]
    if len(turn.state.floor.hands) == len(hands):
        return Outcome(f"{turn.parsed.values['name']} has not raised a hand")
    turn.out.append(FLOOR_CHANGED)
    return Outcome(f"{turn.parsed.values['name']}: not now", {"hand": [turn.parsed.values["name"], None]})


RULES: dict[str, Callable[[Turn], Outcome]] = {
    "pause": _pause,
    "resume": _resume,
    "step": _step,
    "stop": _stop,
    "mute": _mute,
    "unmute": _unmute,
    "timeout": _timeout,
    "deafen": _deafen,
    "kick": _kick,
    "ban": _ban,
    "unban": _unban,
    "policy": _policy,
    "floor": _floor,
    "grant": _grant,
    "deny": _deny,
}
