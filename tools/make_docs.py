"""Writes docs/protocol.md and the tables of other pages from what the code says: `python tools/make_docs.py`."""

import ast
import inspect
import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import msgspec

from palaver.core.commands import COMMANDS, Spec
from palaver.core.floor_states import STATES, mermaid
from palaver.core.names import MAX_NAME
from palaver.core.policies import POLICIES, Policy
from palaver.core.protocol import (
    MAX_CONTENT,
    MAX_FRAME,
    NACKS,
    Close,
    FloorView,
    Holder,
    HubFrame,
    Join,
    MemberFrame,
    Seat,
)
from palaver.core.provenance import NAMES

DOCS = Path(__file__).resolve().parent.parent / "docs"

CLOSE_MEANINGS = {
    Close.GOING_AWAY: "the hub stops; come back",
    Close.SLOW: "the connection did not read what it was sent; come back and catch up",
    Close.TAKEN_OVER: "the same session joined on another connection",
    Close.LOG_UNAVAILABLE: "the log cannot take entries at present",
    Close.TOO_MANY: "more connections or joins than the hub takes from one address",
    Close.BAD_FRAME: "the first frame is no `join`, or frames are not JSON text",
    Close.NAME_TAKEN: "somebody else sits under that name (letter case does not count)",
    Close.ACCESS_DENIED: "token, role or origin are not admitted, or the hub opens no more rooms",
    Close.KICKED: "a moderator removed this participant",
    Close.BANNED: "a moderator keeps this name out",
    Close.ROOM_ENDED: "the conversation has ended",
    Close.JOIN_TIMEOUT: "no `join` came in time",
    Close.TOKEN_EXPIRED: "the token that was joined with has come to its end",
    Close.FLOOD: "the member went on sending although it was refused for sending too much",
}

HEAD = f"""# The protocol

*Generated from `palaver/core/protocol.py` and `palaver/core/commands.py` by `tools/make_docs.py`.*

JSON text frames over a websocket, one object each, `type` first. A client needs no more than this page.

1. Connect, send `join`. The answer is `welcome`, or `error` and a close code from the table below.
2. Frames of the hub carry `room` and `timestamp` (UTC, ISO 8601, milliseconds). Skip types and fields that you do not
   know.
3. Messages have a `seq` without gaps. Remember the last one; join again with it as `after` and what you missed comes
   again, with the same `session` to keep your seat.
4. People (`moderator`) speak when they like. Agents (`model`, `user_sim`) wait for a `grant` and say one `message` with
   its `turn`, or `pass`, within `lease` seconds; after `revoke` they stop at once and answer `cancelled`.
5. `message` and `command` carry an `id` of your own; the answer is `ack` or `nack` with that `id`. Sent again, they
   count once. An `ack` without `seq` says that the message is safe and waits: for the others' under `simultaneous`, or
   for the moderator's approval; a second `ack` brings its `seq`, or a `nack` says that it was dropped.

A frame has at most {MAX_FRAME // 1024} KiB, a text {MAX_CONTENT // 1024} Ki characters, a name {MAX_NAME} characters.

```json
{{"type":"join","name":"Zen Sage","role":"model","room":"main"}}
{{"type":"grant","turn":9,"epoch":2,"lease":120.0,"context":16,"policy":"open","reason":"open: has something new"}}
{{"type":"message","id":"a1","content":"Yes.","turn":9}}
{{"type":"ack","id":"a1","seq":17}}
```
"""
RETURNING = "4000 to 4499: come back, with `after`. 4500 to 4999: stay away until something changes."
COMMANDING = """The `text` of a `command` frame, as typed at a console. Names may be whole, quoted or a unique prefix.
Commands marked *console* are carried out there and never sent. A destructive one is asked about once at a terminal."""

# --- tables ----------------------------------------------------------------------------------------------------------


def table(titles: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    titles = list(titles)
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows))


def close_codes() -> str:
    """The close codes."""
    lines = [[str(int(code)), code.name, "yes" if code.may_return else "no", CLOSE_MEANINGS[code]] for code in Close]
    return table(["code", "name", "come back", "meaning"], lines)


def commands() -> str:
    """The commands."""

    def marks(spec: Spec) -> str:
        return ", ".join([spec.where] * (spec.where == "console") + ["destructive"] * spec.destructive)

    lines = [[f"`{spec.usage}`", spec.summary, marks(spec)] for spec in COMMANDS.values()]
    return table(["command", "what it does", ""], lines)


def policies() -> str:
    """The floor policies."""

    def line(policy: Policy) -> list[str]:
        params = ", ".join(f"`{name}={json.dumps(value)}`" for name, value in policy.defaults.items())
        told = " ".join((policy.decide.__doc__ or policy.summary).split())
        return [f"`{policy.name}`", told, params or "none", "yes" if policy.takes_hands else "no"]

    return table(["policy", "who gets the floor", "parameters", "hands first"], map(line, POLICIES.values()))


def states() -> str:
    """The states of the floor and their diagram."""
    meanings = table(["state", "meaning"], [[f"`{state}`", meaning] for state, meaning in STATES.items()])
    return f"{meanings}\n\n```mermaid\n{mermaid()}\n```"


# --- frames ----------------------------------------------------------------------------------------------------------


def schemas(kinds: list[type[Any]]) -> dict[str, Any]:
    """JSON Schema of these frames and all that they hold, by name."""
    return msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")[1]


def direction(kinds: list[type[Any]]) -> str:
    """All frames of one direction, then the objects that stand in their fields."""
    components = schemas(kinds)
    parts = [f"### `{tag(kind)}`\n\n{described(kind, components)}\n" for kind in kinds]
    for kind in (Seat, Holder):
        if kind.__name__ in components:
            parts.append(f"### {kind.__name__}\n\n{described(kind, components)}\n")
    return "\n".join(parts)


def tag(kind: type[Any]) -> str:
    """A frame's `type`."""
    return str(kind.__struct_config__.tag)


def described(kind: type[Any], components: dict[str, Any]) -> str:
    """What an object is for and its fields; `room` and `timestamp` are every frame's of the hub."""
    schema, told = components[kind.__name__], notes(kind)
    hidden = {"type"} if kind in (Join, Seat, Holder) else {"type", "room", "timestamp"}
    lines = [
        [f"`{name}`", type_of(field), default_of(field, name in schema["required"]), told.get(name, "")]
        for name, field in schema["properties"].items()
        if name not in hidden
    ]
    return f"{inspect.getdoc(kind)}\n\n{table(['field', 'type', 'default', ''], lines)}"


def notes(kind: type[Any]) -> dict[str, str]:
    """What stands below a field in its class, by field."""
    definition = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(definition, ast.ClassDef)
    return {
        line.target.id: " ".join(str(ast.literal_eval(below.value)).split())
        for line, below in pairwise(definition.body)
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(below, ast.Expr)
    }


def type_of(schema: dict[str, Any]) -> str:
    """A field's type in a few words, e.g. `text (at most 128) or null`."""
    if "anyOf" in schema:
        return " or ".join(map(type_of, schema["anyOf"]))
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[1]
        return f"as `{tag(FloorView)}`" if name == FloorView.__name__ else name
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    words = {"string": "text", "integer": "whole number", "array": "list", "boolean": "true or false"}
    kind = words.get(schema.get("type", ""), str(schema.get("type", "anything")))
    kind += f" of {type_of(schema['items'])}" if schema.get("items") else ""
    return kind + (f" (at most {schema['maxLength']})" if "maxLength" in schema else "")


def default_of(field: dict[str, Any], required: bool) -> str:
    """A field's default as JSON, or that it must be there."""
    return "required" if required else f"`{json.dumps(field.get('default'))}`"


def whole_schema(kinds: list[type[Any]]) -> str:
    """JSON Schema of one direction."""
    either = [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds]
    return json.dumps({"anyOf": either, "$defs": schemas(kinds)}, indent=1, sort_keys=True)


# --- pages -----------------------------------------------------------------------------------------------------------


def protocol_page() -> str:
    """docs/protocol.md."""
    from_members, from_hub = [Join, *get_args(MemberFrame)], list(get_args(HubFrame))
    nacks = table(["code", "meaning"], [[f"`{code}`", meaning] for code, meaning in NACKS.items()])
    sections = {
        "From members": direction(from_members),
        "From the hub": direction(from_hub),
        "Close codes": f"{RETURNING}\n\n{close_codes()}",
        "Codes of `nack`": nacks,
        "Commands": f"{COMMANDING}\n\n{commands()}",
        "JSON Schema of what members send": f"```json\n{whole_schema(from_members)}\n```",
        "JSON Schema of what the hub sends": f"```json\n{whole_schema(from_hub)}\n```",
    }
    return HEAD + "".join(f"\n## {title}\n\n{text.rstrip()}\n" for title, text in sections.items())


def floor_page(text: str) -> str:
    """docs/floor.md with what is between its markers made anew."""
    return _between(_between(text, "policies", policies()), "states", states())


def provenance_page(text: str) -> str:
    """docs/provenance.md with its table made anew."""
    lines = [[f"`{key}`", name.meaning, name.otel and f"`{name.otel}`"] for key, name in NAMES.items()]
    return _between(text, "names", table(["key", "what it tells", "OpenTelemetry"], lines))


def _between(text: str, marker: str, made: str) -> str:
    before, opening, rest = text.partition(f"<!-- {marker} -->\n")
    return before + opening + made + "\n" + rest[rest.index("<!-- end -->") :]


if __name__ == "__main__":
    (DOCS / "protocol.md").write_text(protocol_page(), encoding="utf-8")
    for name, made in (("floor.md", floor_page), ("provenance.md", provenance_page)):
        page = DOCS / name
        page.write_text(made(page.read_text(encoding="utf-8")), encoding="utf-8")
