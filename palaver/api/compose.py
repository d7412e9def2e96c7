"""The composition root of the conversation server: a config becomes models, evaluators, a hub and an application."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from palaver import plugins
from palaver.api.plan import Runner
from palaver.api.service import ConversationSettings, HubSettings, Service, ServiceSettings
from palaver.api.shapes import ConversationRequest
from palaver.api.shelf import Entry
from palaver.api.staging import Stage
from palaver.api.store import INTERRUPTED
from palaver.config import ConfigManager, ServerConfig
from palaver.core.errors import ConfigError, PalaverError
from palaver.core.limits import Limits
from palaver.core.policies import POLICIES
from palaver.core.state import RoomState
from palaver.evaluation import PluginManager
from palaver.hub.tls import server_tls
from palaver.models.registry import create_model
from palaver.scenes.episode import EpisodeLog

if TYPE_CHECKING:
    from fastapi import FastAPI


class ConversationFailed(PalaverError):
    """A conversation that did not come to its end; the text says why."""


def service_of(config: ServerConfig, *, hub: HubSettings | None = None, runner: Runner | None = None) -> Service:
    """The service that a config describes; `hub` says otherwise where and over which log. Raises `ConfigError`."""
    plugins.import_modules(config.plugins)
    return Service(
        entries_of(config),
        runner or runner_of(config),
        ServiceSettings(
            hub=hub or hub_of(config),
            conversations=ConversationSettings(
                max_turns=config.max_turns,
                action_order=config.action_order,
                speaking_order=tuple(config.speaking_order or ()),
                actions=config.available_action_types,
            ),
            shown=config.public(),
            evaluators=[evaluator.type for evaluator in config.evaluators if evaluator.enabled],
            waits=config.sync_mode,
        ),
        default_model=config.default_model,
    )


def entries_of(config: ServerConfig) -> dict[str, Entry]:
    """The models of a config; what is shown of each holds no key."""
    shown = config.public()["models"]
    return {
        ident: Entry(
            name=model.name,
            kind=model.type,
            make=partial(create_model, model),
            settings={key: value for key, value in shown[ident].items() if key not in ("name", "type", "api_key")},
        )
        for ident, model in config.models.items()
    }


def hub_of(config: ServerConfig) -> HubSettings:
    """Where the hub listens and keeps its log. Raises `ConfigError`."""
    hub = config.hub
    if hub.policy not in POLICIES:
        raise ConfigError(f"hub.policy: floor policy {hub.policy!r} is unknown; known: {', '.join(POLICIES)}")

    def defaults(state: RoomState) -> None:
        state.floor.policy = hub.policy
        state.floor.hop_limit = hub.hop_limit
        state.floor.lease = hub.lease

    kept = hub.audit_log if hub.audit_log is not None else f"{hub.data_dir}/audit.jsonl"
    return HubSettings(
        host=hub.host,
        port=hub.port,
        folder=Path(hub.data_dir),
        fsync=hub.fsync,
        transcripts=Path(hub.transcripts) if hub.transcripts else None,
        history=hub.history,
        max_rooms=hub.max_rooms,
        token=hub.token,
        moderator_token=hub.moderator_token,
        secret=hub.secret,
        limits=Limits(**hub.limits.model_dump()),
        tls=server_tls(hub.tls_cert, hub.tls_key),
        audit=Path(kept) if kept else None,
        origins=hub.origins,
        defaults=defaults,
    )


def application_of(config: ServerConfig, service: Service, *, local_only: bool = False) -> "FastAPI":
    """The HTTP application that a config describes. Raises `MissingExtra` where FastAPI is not installed."""
    from palaver.api.access import RateLimit
    from palaver.api.app import create_app

    rate = config.api.rate()
    return create_app(
        service,
        metrics=config.enable_metrics,
        cors_origins=config.api.cors_origins,
        limit=RateLimit(*rate) if rate else None,
        local_only=local_only,
    )


class ConversationServer:
    """Conversations from Python, over the same hub and the same rules as over HTTP."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def run_conversation(
        self,
        agent_configs: Sequence[Mapping[str, Any]],
        scenario: str = "",
        model_name: str | None = None,
        max_turns: int | None = None,
        **options: Any,
    ) -> EpisodeLog:
        """Hold a conversation and give its `EpisodeLog`; `options` are further fields of `POST /conversations`.

        Raises `ConfigError` for a request that makes no sense, `ConversationFailed` where it does not come to its end.
        Cancelling it cancels the conversation.
        """
        fields = {"scenario": scenario, "model_name": model_name, "max_turns": max_turns, **options}
        try:
            request = ConversationRequest.model_validate({"agent_configs": list(agent_configs), **fields})
        except ValidationError as error:
            raise ConfigError(_told(error)) from None
        record, episode = await self.service.run(request)
        if episode is None or record.status != "completed":
            why = record.error or record.reasoning or INTERRUPTED
            raise ConversationFailed(f"conversation {record.id} {record.status}: {why}")
        return episode


def _told(error: ValidationError) -> str:
    texts = ((each["loc"], each["msg"].removeprefix("Value error, ")) for each in error.errors())
    return "; ".join(": ".join(filter(None, (".".join(map(str, where)), text))) for where, text in texts)


@asynccontextmanager
async def create_server(
    config: ServerConfig | Path | str | None = None, *, data_dir: Path | None = None
) -> AsyncIterator[ConversationServer]:
    """A conversation server for `async with`, on a free port of this machine.

    `config` is a config or its file (`None`: the first of the search path, else the defaults). The log is in memory
    unless `data_dir` is given.
    """
    if not isinstance(config, ServerConfig):
        config = ConfigManager(config).load_config()
    usual = hub_of(config)
    hub = HubSettings(
        folder=data_dir,
        fsync=usual.fsync,
        transcripts=usual.transcripts,
        history=usual.history,
        max_rooms=usual.max_rooms,
        defaults=usual.defaults,
    )
    async with service_of(config, hub=hub) as service:
        yield ConversationServer(service)


def runner_of(config: ServerConfig) -> Runner:
    """Who carries conversations out, with the config's evaluators. Raises `ConfigError` for one that cannot be made."""
    for number, evaluator in enumerate(config.evaluators):
        try:
            PluginManager.try_out(evaluator, config.models, config.default_model)
        except ConfigError as error:
            raise ConfigError(f"evaluators[{number}]: {error}") from error
    return Stage(config.evaluators, default_model=config.default_model)
