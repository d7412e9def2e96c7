"""Questions that a moderator asks; they change nothing."""

from collections.abc import Callable

from palaver.core import views
from palaver.core.commands import pairs_text
from palaver.core.message import AGENTS, key_of
from palaver.core.steering.content import at_hand, short
from palaver.core.steering.turn import Outcome, Turn


def _whois(turn: Turn) -> Outcome:
    state, name = turn.state, turn.parsed.values["name"]
    member, record = state.members.get(key_of(name)), state.records.get(key_of(name))
    lines = [f"{name}: " + (f"{member.role}, {'ready' if member.ready else 'loading'}" if member else "not here")]
    if member is not None and member.about:
        lines.append(f"  {member.about}")
    if record is not None:
        lines.append(f"  {record.messages} messages, {record.tokens} tokens, {record.seconds:.1f} s with the floor")
        settings = pairs_text({what: short(value) for what, value in (record.started | record.settings).items()})
        lines.append(f"  settings {settings or 'as started'}, budget {pairs_text(record.budget) or 'none'}")
        lines.append(f"  text cut that spoke for others: {record.cut}; scores {pairs_text(record.scores) or 'none'}")
        slow = "UNRESPONSIVE: " if record.unresponsive else ""
        lines.append(f"  {slow}cancel latency {latency_text(record.latencies)}")
    return Outcome("\n".join(lines))


def latency_text(latencies: list[float]) -> str:
    """p50 and p95 in milliseconds of the last revokes that were answered."""
    if not latencies:
        return "not measured yet"
    ordered = sorted(latencies)
    middle, high = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"p50 {middle * 1000:.0f} ms, p95 {high * 1000:.0f} ms of {len(ordered)}"


def _status(turn: Turn) -> Outcome:
    view = views.floor_view(turn.state)
    holders = ", ".join(f"{holder.name} (turn {holder.turn}: {holder.reason})" for holder in view.holders)
    waits = f"\n  {view.waits}" if view.waits else ""
    policy = f"{view.policy} {pairs_text(view.params)}".rstrip()
    return Outcome(
        f"{'ENDED' if view.ended else 'PAUSED' if view.paused else 'running'}, epoch {view.epoch}, policy {policy}\n"
        f"  floor: {holders or 'free'}; next: {', '.join(view.queue) or 'nobody'}\n"
        f"  {turn.state.seq} messages, {view.since_human} by agents since a human (limit {view.hop_limit or 'none'}), "
        f"slow {view.slow:g} s, approval {'on' if view.approval else 'off'}, held {view.held}{waits}"
    )


def _stats(turn: Turn) -> Outcome:
    records = [record for record in turn.state.records.values() if record.role in AGENTS]
    total = sum(record.messages for record in records) or 1
    lines = [
        f"  {record.name}: {record.messages} messages ({record.messages / total:.0%}), {record.tokens} tokens, "
        f"{record.seconds:.1f} s, cancel {latency_text(record.latencies)}"
        for record in records
    ]
    return Outcome("\n".join([f"{turn.state.seq} messages in {turn.state.name}", *lines]))


def _why(turn: Turn) -> Outcome:
    message = at_hand(turn, turn.parsed.values["seq"])
    if message.turn is None:
        by = (message.meta or {}).get("by")
        who = f"{by} said it as {message.sender}" if by else f"{message.sender} is human and needs no floor"
        return Outcome(f"message {message.seq}: {who}")
    reason = turn.state.decisions.get(message.turn, "not remembered any more")
    return Outcome(f"message {message.seq}: {message.sender} had turn {message.turn}: {reason}")


def _hands(turn: Turn) -> Outcome:
    hands = turn.state.floor.hands
    lines = [f"  {hand.name} (urgency {hand.urgency:g}) {hand.reason}".rstrip() for hand in hands]
    return Outcome("\n".join(["raised hands:", *lines]) if lines else "no hand is raised")


def _queue(turn: Turn) -> Outcome:
    view = views.floor_view(turn.state)
    told = f"next: {', '.join(view.queue)}" if view.queue else "nobody waits for the floor"
    return Outcome(f"{told}; {view.waits}" if view.waits else told)


RULES: dict[str, Callable[[Turn], Outcome]] = {
    "whois": _whois,
    "status": _status,
    "stats": _stats,
    "why": _why,
    "hands": _hands,
    "queue": _queue,
}
