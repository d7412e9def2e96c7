"""Requests that the OpenAPI document allows, and many that it does not: no 500, no undocumented status."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from palaver.models.scripted import ScriptedModel
from tests.api.talks import Server, entry, serving

_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
)
_KNOWN = st.sampled_from(
    ["Alice", "Bob", "system", "tiny", "llm", "human", "random", "agent_id_based", 0, 1, -1, 2**70]
)
_AGENT = st.fixed_dictionaries(
    {"name": _KNOWN | st.text(max_size=70)},
    optional={
        "type": _KNOWN,
        "model": st.sampled_from(["tiny", "other", None]),
        "profile": _JSON,
        "goal": _JSON,
        "speaking_id": _KNOWN,
        "odd": _JSON,
    },
)
_BODY = st.fixed_dictionaries(
    {"agent_configs": st.lists(_AGENT, max_size=3) | _JSON},
    optional={
        "scenario": st.text(max_size=50) | _JSON,
        "max_turns": st.sampled_from([0, 1, 2, 10**6, "3", None]),
        "action_order": _KNOWN,
        "speaking_order": st.lists(st.integers(), max_size=3) | _JSON,
        "relationship": _KNOWN | _JSON,
        "seed": _KNOWN,
        "enable_evaluation": _JSON,
    },
)
_SEGMENT = st.text(st.characters(codec="utf-8", exclude_characters="/?#"), min_size=1, max_size=20)
_GET = st.sampled_from(
    [
        "/conversations/{ident}",
        "/conversations/{ident}/transcript",
        "/conversations/{ident}/events",
        "/models/{name}",
        "/conversations",
        "/health",
        "/config",
    ]
)
_QUERY = st.dictionaries(
    st.sampled_from(["after", "limit", "offset", "status", "format", "as"]), st.text(max_size=20), max_size=3
)
_REQUEST: st.SearchStrategy[Any] = (
    st.tuples(st.just("POST"), st.just("/conversations"), _SEGMENT, _BODY | _JSON, st.just({}))
    | st.tuples(
        st.just("POST"),
        st.just("/conversations/{ident}/commands"),
        _SEGMENT,
        _JSON | st.just({"text": "/pause"}),
        st.just({}),
    )
    | st.tuples(st.just("GET"), _GET, _SEGMENT, st.none(), _QUERY)
    | st.tuples(st.just("DELETE"), st.just("/conversations/{ident}"), _SEGMENT, st.none(), st.just({}))
)
pytestmark = pytest.mark.system
_settings = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def test_no_request_is_answered_with_what_is_not_documented() -> None:
    loop = asyncio.new_event_loop()
    context = serving({"tiny": entry(lambda: ScriptedModel(["Yes."], cycle=True))})
    server = loop.run_until_complete(context.__aenter__())
    document = loop.run_until_complete(server.client.get("/openapi.json")).json()
    known: list[str] = []

    @_settings
    @example(("POST", "/conversations", "x", {"agent_configs": [{"name": "Alice"}, {"name": "Bob"}]}, {}))
    @given(_REQUEST)
    def fuzz(request: tuple[str, str, str, Any, dict[str, str]]) -> None:
        loop.run_until_complete(_check(server, document, known, request))

    try:
        fuzz()
        assert known, "at least one conversation was begun"
    finally:
        loop.run_until_complete(context.__aexit__(None, None, None))
        loop.close()


async def _check(server: Server, document: Any, known: list[str], request: tuple[str, str, str, Any, Any]) -> None:
    method, template, segment, body, query = request
    name = "name" if "{name}" in template else "ident"
    filled = template.replace(f"{{{name}}}", known[-1] if known and len(segment) % 2 else _quoted(segment))
    options: dict[str, Any] = {"json": body} if method == "POST" else {"params": query}
    answer = await server.client.request(method, filled, **options)
    documented = document["paths"][template][method.lower()]["responses"]
    assert str(answer.status_code) in documented, (answer.status_code, answer.text)
    if method == "POST" and template == "/conversations" and answer.status_code == 201:
        known.append(answer.json()["conversation_id"])
        await server.client.delete(f"/conversations/{known[-1]}")


def _quoted(segment: str) -> str:
    quoted = "".join(f"%{byte:02X}" for byte in segment.encode())
    return "x" if segment in (".", "..") else quoted
