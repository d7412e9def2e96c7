"""Servers for tests of the API: real hub, real scenes, real sockets; models read from a script."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from palaver.api.access import RateLimit
from palaver.api.app import create_app
from palaver.api.plan import Runner
from palaver.api.service import HubSettings, Service, ServiceSettings
from palaver.api.serving import bound, listening, url_of
from palaver.api.shelf import Entry
from palaver.api.staging import Stage
from palaver.models.model import Model
from palaver.models.scripted import ScriptedModel

WAIT = 20.0


@dataclass
class Server:
    """A running server and a client of it."""

    service: Service
    url: str
    client: httpx2.AsyncClient

    async def begin(self, *names: str, **fields: Any) -> str:
        """Begin a conversation; its id."""
        agents = [{"name": name, "type": "llm"} for name in names or ("Alice", "Bob")]
        body = {"agent_configs": agents, "scenario": "Weekend plans", "max_turns": 4, **fields}
        answer = await self.client.post("/conversations", json=body)
        assert answer.status_code == 201, answer.text
        ident: str = answer.json()["conversation_id"]
        return ident

    async def over(self, ident: str) -> dict[str, Any]:
        """The conversation once it is over."""
        async with asyncio.timeout(WAIT):
            await self.service.conversations.finished(ident)
        view: dict[str, Any] = (await self.client.get(f"/conversations/{ident}")).json()
        return view

    async def events(self, ident: str, **options: Any) -> AsyncIterator[tuple[str, str, Any]]:
        """Kind, id and content of each event."""
        async with (
            asyncio.timeout(WAIT),
            self.client.stream("GET", f"/conversations/{ident}/events", **options) as answer,
        ):
            assert answer.status_code == 200
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                elif "data" in fields:
                    yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
                    fields = {}


def entry(model: Callable[[], Model], **settings: Any) -> Entry:
    """A model of a server."""
    return Entry("scripted", "scripted", model, settings)


def talker() -> ScriptedModel:
    """A model that never runs out of lines."""
    return ScriptedModel(["I see.", "Tell me more.", "And then?"], cycle=True)


@asynccontextmanager
async def serving(
    models: Mapping[str, Entry] | None = None,
    *,
    folder: Path | None = None,
    settings: ServiceSettings | None = None,
    token: str | None = None,
    moderator_token: str | None = None,
    runner: Runner | None = None,
    headers: Mapping[str, str] | None = None,
    limit: RateLimit | None = None,
    **app_options: Any,
) -> AsyncIterator[Server]:
    """A server on free ports."""
    entries = models if models is not None else {"tiny": entry(talker)}
    hub = HubSettings(folder=folder, token=token, moderator_token=moderator_token)
    first = next(iter(entries))
    runner = runner or Stage([], default_model=first)
    service = Service(entries, runner, settings or ServiceSettings(hub=hub), default_model=first)
    async with service:
        listener = bound("127.0.0.1", 0)
        url = url_of(listener)
        app = create_app(service, limit=limit, **app_options)
        async with (
            listening(app, listener),
            httpx2.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=30) as client,
        ):
            yield Server(service, url, client)
            service.stop()
