"""The conversation server without HTTP: a hub that listens, models, records and running conversations, in one loop."""

import asyncio
import contextlib
import logging
import secrets
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from websockets.asyncio.server import Server

from palaver.api.conversations import Conversations
from palaver.api.counting import Counters
from palaver.api.errors import BadRequest, Refusal
from palaver.api.plan import Plan, Runner
from palaver.api.shapes import AgentRequest, ConversationRequest
from palaver.api.shelf import Entry, Shelf
from palaver.api.store import Record, Store, Unfinished
from palaver.api.watching import WatchedArchive
from palaver.core.errors import ConfigError
from palaver.core.limits import Limits
from palaver.core.message import Message, timestamp
from palaver.core.state import RoomState
from palaver.hub.audit import AuditLog, told
from palaver.hub.auth import Rights, Why, is_loopback
from palaver.hub.hub import Hub
from palaver.hub.metrics import Metrics
from palaver.hub.server import listening, one_more_door
from palaver.hub.sqlite_file import Fsync
from palaver.hub.sqlite_log import SqliteLog
from palaver.hub.tokens import auth_of
from palaver.hub.transcripts import Transcripts
from palaver.scenes.actions import TYPES, ActionType
from palaver.scenes.episode import EpisodeLog
from palaver.scenes.progress import Progress
from palaver.scenes.scene import ActionOrder, Agent, Scene

logger = logging.getLogger(__name__)

PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Where the hub listens and keeps its log (`None`: in memory)."""

    host: str = "127.0.0.1"
    port: int = 0
    folder: Path | None = None
    fsync: Fsync = "everysec"
    transcripts: Path | None = None
    history: int = 50
    max_rooms: int = 1000
    token: str | None = None
    moderator_token: str | None = None
    secret: str | None = None
    """Signs tokens; see `palaver.hub.tokens`."""
    origins: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    tls: ssl.SSLContext | None = None
    audit: Path | None = None
    """Where moderators' commands are kept."""
    defaults: Callable[[RoomState], None] = lambda state: None


@dataclass(frozen=True, slots=True)
class ConversationSettings:
    """What a conversation is where its request does not say."""

    max_turns: int = 20
    action_order: ActionOrder = "round-robin"
    speaking_order: Sequence[int] = ()
    actions: Sequence[ActionType] = TYPES


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """All that a service is made of besides its models and its runner. `shown` is the configuration without secrets."""

    hub: HubSettings = field(default_factory=HubSettings)
    conversations: ConversationSettings = field(default_factory=ConversationSettings)
    shown: Mapping[str, Any] = field(default_factory=dict)
    evaluators: Sequence[str] = ()
    waits: bool = False
    """Whether `POST /conversations` answers at the end unless it says otherwise (`sync_mode`)."""


class Service:
    """Enter it to open the hub and all that stands on it; leaving closes them in reverse order."""

    def __init__(
        self,
        entries: Mapping[str, Entry],
        runner: Runner,
        settings: ServiceSettings | None = None,
        *,
        default_model: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings or ServiceSettings()
        at = self.settings.hub
        self._own_token = secrets.token_urlsafe(32)
        self.auth = auth_of(at.token, moderator=at.moderator_token, secret=at.secret, own=self._own_token)
        self.audit = AuditLog(at.audit) if at.audit is not None else None
        self.metrics = Metrics()
        self.counters = Counters(self.metrics.registry)
        self.shelf = Shelf(entries, default=default_model, counters=self.counters)
        self.store = Store(self.settings.hub.folder, durable=self.settings.hub.fsync == "always")
        self.url = ""
        """Where the hub listens, once it does."""
        self.stopping = asyncio.Event()
        self.hub: Hub
        self.archive: WatchedArchive
        self.conversations: Conversations
        self._log: SqliteLog
        self._runner = runner
        self._clock = clock
        self._stack = contextlib.AsyncExitStack()
        self._over: set[str] = set()
        """Conversations that are over and whose rooms may still be open."""
        self._retiring: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            self._make_hub()
            at = self.settings.hub
            server = await stack.enter_async_context(
                listening(self.hub, self.auth, host=at.host, port=at.port, origins=at.origins, tls=at.tls)
            )
            self.url = f"{'wss' if at.tls else 'ws'}://{_reachable(at.host)}:{_port_of(server)}"
            own_url = self.url
            # A certificate bears a name, and its own members call it by none; what others reach has limits for them.
            if at.tls is not None or not is_loopback(_reachable(at.host).strip("[]")):
                inner = one_more_door(self.hub, self.auth, host="127.0.0.1", port=0)
                own_url = f"ws://127.0.0.1:{_port_of(await stack.enter_async_context(inner))}"
            unfinished = await self.store.open(self._clock())  # the hub holds the folder now: nobody else works in it
            stack.push_async_callback(self.store.close)
            self.shelf.open()
            stack.push_async_callback(self.shelf.close)
            self.conversations = Conversations(
                store=self.store,
                shelf=self.shelf,
                runner=self._runner,
                counters=self.counters,
                url=own_url,
                token=self._own_token,
                clock=self._clock,
                on_end=self._ended,
            )
            stack.push_async_callback(self._retired)
            stack.push_async_callback(self.conversations.close)
            for one in unfinished:
                await self._take_up(one)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()
        await self._stack.aclose()

    def denied(self, why: Why, client: str) -> None:
        """Count and log a caller of the API who was not admitted."""
        self.metrics.denied.labels(why).inc()
        logger.warning("a caller from %s was not let in: %s", client, why)

    def note(self, rights: Rights, client: str, room: str, command: str, outcome: str) -> None:
        """Keep who steered over HTTP; the hub keeps what its own seat did for them."""
        if self.audit is not None:
            self.audit.note(
                {
                    "time": timestamp(time.time()),
                    "room": room,
                    "via": "http",
                    "token": rights.ident,
                    "address": client,
                    "command": told(command, ()),
                    "outcome": outcome,
                }
            )

    def stop(self) -> None:
        """Whoever watches is told to go; the rest ends when the block is left."""
        self.stopping.set()
        self.archive.wake_all()

    def _make_hub(self) -> None:
        at = self.settings.hub
        self._log = SqliteLog(
            at.folder, fsync=at.fsync, on_commit=lambda seconds, entries: self.metrics.commit.observe(seconds)
        )
        self.archive = WatchedArchive(self._log)
        self.hub = Hub(
            log=self._log,
            archive=self.archive,
            transcripts=Transcripts(at.transcripts) if at.transcripts else None,
            metrics=self.metrics,
            history=at.history,
            max_rooms=at.max_rooms,
            limits=at.limits,
            audit=self.audit,
            defaults=at.defaults,
        )

    def _ended(self, ident: str) -> None:
        self.archive.wake(ident)
        self._over.add(ident)
        task = asyncio.get_running_loop().create_task(self._retire_rooms())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _retire_rooms(self) -> None:
        """Take rooms that are over and empty out of the hub's memory; the log brings one back when it is asked for."""
        for ident in list(self._over):
            host = self.hub.rooms.get(ident)
            if host is not None and (host.state.members or host.outbox.sessions):
                continue  # somebody is still there: it is looked at again when the next conversation ends
            self._over.discard(ident)
            if host is not None:
                await host.close()
                self._log.untail(ident)
                self.hub.rooms.pop(ident, None)

    async def _retired(self) -> None:
        await asyncio.gather(*self._retiring)

    # --- conversations -----------------------------------------------------------------------------------------------

    async def _take_up(self, one: Unfinished) -> None:
        """Go on with what ran when the last process ended, if the server still has what it needs."""
        try:
            request = ConversationRequest.model_validate_json(one.asked)
            plan = replace(self.plan(request), id=one.record.id)
            if one.progress is not None:
                plan = replace(plan, so_far=msgspec.json.decode(one.progress, type=Progress))
        except (Refusal, ValueError) as error:
            await self.conversations.give_up(one.record, str(error))
        else:
            self.conversations.take_up(plan, one.record)

    def plan(self, request: ConversationRequest) -> Plan:
        """What a request asks for, with the server's defaults; raises `UnknownModel` or `BadRequest`."""
        usual = self.settings.conversations
        order = request.action_order or usual.action_order
        speaking = request.speaking_order if request.speaking_order is not None else usual.speaking_order
        if request.model_name is not None:
            self.shelf.check(request.model_name)
        try:
            scene = Scene(
                agents=[self._agent(agent, request.model_name) for agent in request.agent_configs],
                scenario=request.scenario,
                max_turns=request.max_turns or usual.max_turns,
                order=order,
                speaking_order=tuple(speaking) if order == "agent_id_based" else (),
                relationship=request.relationship,
                actions=usual.actions,
                seed=request.seed,
            )
        except ConfigError as error:
            raise BadRequest(str(error)) from error
        return Plan(self.conversations.new_id(), scene, judged=request.enable_evaluation)

    def _agent(self, agent: AgentRequest, model_name: str | None) -> Agent:
        if agent.type == "human":
            if agent.model is not None:
                raise BadRequest(f"agent {agent.name!r} is human and has no model")
            return Agent(agent.name, None, agent.goal, agent.secret, agent.profile, agent.speaking_id)
        ident = self.shelf.check(agent.model or model_name)
        made = Agent(agent.name, ident, agent.goal, agent.secret, agent.profile, agent.speaking_id)
        model = self.shelf.models.get(ident)
        return made if model is None else replace(made, temperature=model.temperature, max_tokens=model.max_tokens)

    async def start(self, request: ConversationRequest) -> Record:
        """Begin a conversation; raises a `Refusal`."""
        plan = self.plan(request)
        return await self.conversations.start(plan, _shown(request, plan), _asked(request, plan))

    async def run(self, request: ConversationRequest) -> tuple[Record, EpisodeLog | None]:
        """Begin a conversation and wait for its end."""
        plan = self.plan(request)
        return await self.conversations.run(plan, _shown(request, plan), _asked(request, plan))

    async def outcome(self, ident: str) -> Record:
        """The record of a conversation once it is over, or as it stands where the server stops before."""
        over = asyncio.create_task(self.conversations.finished(ident))
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait([over, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            stopping.cancel()
        return await self.conversations.get(ident)

    async def messages(self, ident: str, after: int = 0) -> list[Message]:
        """All that was said in it above `after`, for moderators' eyes."""
        found: list[Message] = []
        while page := await self.archive.messages(ident, found[-1].seq if found else after, PAGE):
            found += page
        return found


def _asked(request: ConversationRequest, plan: Plan) -> str:
    """What a conversation could be taken up from: the request with what the server's defaults made of it."""
    scene = plan.scene
    agents = [
        agent.model_copy(update={"model": one.model})
        for agent, one in zip(request.agent_configs, scene.agents, strict=True)
    ]
    orders = {"action_order": scene.order, "speaking_order": list(scene.speaking_order)}
    fixed = request.model_copy(update={"agent_configs": agents, "max_turns": scene.max_turns, **orders})
    return fixed.model_dump_json()


def _shown(request: ConversationRequest, plan: Plan) -> dict[str, Any]:
    """What of a conversation is shown: not the agents' goals and secrets."""
    scene = plan.scene
    agents = [{"name": one.name, "type": "llm" if one.model else "human", "model": one.model} for one in scene.agents]
    return {
        "scenario": scene.scenario,
        "relationship": scene.relationship,
        "max_turns": scene.max_turns,
        "action_order": scene.order,
        "model_name": request.model_name,
        "agents": agents,
    }


def _port_of(server: Server) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])


def _reachable(host: str) -> str:
    """An address at which this process reaches what listens on `host`."""
    if host in ("0.0.0.0", ""):
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host
