"""`palaver api`: the conversation server, over HTTP and with a hub in the same process."""

import argparse
import contextlib
import functools
import importlib.util
import logging
import logging.handlers
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from palaver.cli.common import (
    Parser,
    add_trace_flag,
    keep_libraries_quiet,
    let_the_collector_rest,
    run_async,
    set_up_tracing,
)
from palaver.cli.numbers import port, whole
from palaver.cli.server import hindrance
from palaver.config import ConfigManager, LoggingConfig, ServerConfig
from palaver.core.errors import ConfigError, LogUnavailable, MissingExtra, PalaverError
from palaver.hub.auth import is_loopback

if TYPE_CHECKING:
    from palaver.api.service import Service

logger = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The flags of the conversation server."""
    flags = Parser(prog="python -m palaver.api", description="Conversations between models over HTTP, with a hub.")
    flags.add_argument("command", nargs="?", choices=("serve",), default="serve", help="the one thing that it does")
    flags.add_argument("-c", "--config", type=Path, metavar="FILE", help="config file (none: the first that is found)")
    flags.add_argument("--host", help="address of the HTTP API (127.0.0.1)")
    flags.add_argument("--port", type=port, help="its port (8000); 0 takes a free one")
    flags.add_argument("--hub-host", metavar="HOST", help="address of the hub (127.0.0.1)")
    flags.add_argument("--hub-port", type=port, metavar="PORT", help="its port (8765); 0 takes a free one")
    flags.add_argument("--data-dir", metavar="DIR", help="where log and records lie (data)")
    flags.add_argument("--metrics-port", type=port, metavar="PORT", help="further port for /metrics (9090)")
    flags.add_argument(
        "--workers",
        type=whole(1),
        metavar="N",
        help="processes that carry conversations out (1: the server itself does)",
    )
    flags.add_argument("--reload", action="store_true", default=None, help="start anew when the code changes")
    flags.add_argument("-v", "--verbose", action="store_true", help="log all there is, and every request")
    add_trace_flag(flags)
    return flags


def main(argv: Sequence[str]) -> int:
    """Serve until SIGINT or SIGTERM; exit code 0 then."""
    # `-c FILE serve` and `serve -c FILE` are both understood.
    arguments = parser().parse_intermixed_args(argv)
    try:
        for package in ("fastapi", "uvicorn"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtra(package, "api")
        config = configured(arguments)
        set_up_logging(config.logging)
        set_up_tracing(arguments.trace, "palaver-api")
    except PalaverError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    if config.api.reload:
        return _serve_reloading(config, [flag for flag in argv if flag != "--reload"])
    return run_async(_serve(config, verbose=arguments.verbose, trace=arguments.trace))


def configured(arguments: argparse.Namespace) -> ServerConfig:
    """The config with the flags over it; raises `ConfigError`."""
    flags = {
        "api.host": arguments.host,
        "api.port": arguments.port,
        "api.workers": arguments.workers,
        "api.reload": arguments.reload,
        "hub.host": arguments.hub_host,
        "hub.port": arguments.hub_port,
        "hub.data_dir": arguments.data_dir,
        "metrics_port": arguments.metrics_port,
        "logging.level": "DEBUG" if arguments.verbose else None,
    }
    return ConfigManager(arguments.config).load_config(flags)


def set_up_logging(settings: LoggingConfig) -> None:
    """Log as the config says, to the console and into a file that begins anew at its size. Raises `ConfigError`."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if settings.file_path is not None:
        path = Path(settings.file_path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handlers.append(
                logging.handlers.RotatingFileHandler(
                    path, maxBytes=settings.max_file_size, backupCount=settings.backup_count, encoding="utf-8"
                )
            )
        except OSError as error:
            raise ConfigError(f"logging.file_path {path}: {error.strerror}") from error
    logging.basicConfig(level=settings.level, format=settings.format, handlers=handlers, force=True)
    keep_libraries_quiet()


def is_for_this_machine(config: ServerConfig) -> bool:
    """Whether HTTP is; raises `ConfigError` where the hub would be open to everybody."""
    if config.hub.token is not None or config.hub.secret is not None or config.hub.insecure:
        return False
    if not is_loopback(config.hub.host):
        raise ConfigError(
            f"hub.host {config.hub.host} is open to other machines: set PALAVER_TOKEN or PALAVER_SECRET, "
            "or hub.insecure if you mean it"
        )
    return True


async def _serve(config: ServerConfig, *, verbose: bool, trace: str | None) -> int:
    from palaver.api.serving import stopped

    try:
        async with _running(config, verbose=verbose, trace=trace):
            await stopped()
            logger.info("stopping")
    except LogUnavailable as error:
        raise ConfigError(str(error)) from error
    return 0


@contextlib.asynccontextmanager
async def _running(config: ServerConfig, *, verbose: bool, trace: str | None) -> AsyncIterator[None]:
    from palaver.api.compose import application_of, service_of
    from palaver.api.serving import bound, listening, url_of
    from palaver.api.workers import Workers

    local_only = is_for_this_machine(config)
    if local_only and not is_loopback(config.api.host):
        logger.warning("no token is set: requests from other machines are refused; set PALAVER_TOKEN to let them in")
    workers = Workers(config, config.api.workers, trace=trace) if config.api.workers > 1 else None
    service = service_of(config, runner=workers)
    let_the_collector_rest()
    async with contextlib.AsyncExitStack() as stack:
        if workers is not None:
            await stack.enter_async_context(workers.telling(service.shelf.replied))
        listener = stack.enter_context(bound(config.api.host, config.api.port))
        hub = config.hub
        try:
            await stack.enter_async_context(service)
        except OSError as error:
            raise ConfigError(f"cannot listen on {hub.host}:{hub.port}: {hindrance(error, '--hub-port')}") from error
        app = application_of(config, service, local_only=local_only)
        tls = (hub.tls_cert, hub.tls_key) if hub.tls_cert and hub.tls_key else None
        await stack.enter_async_context(listening(app, listener, access_log=verbose, tls=tls))
        print(f"Palaver hub: {service.url}", flush=True)
        if config.enable_metrics:
            await _serve_metrics(stack, config, service)
        stack.callback(service.stop)
        print(f"Palaver API: {url_of(listener, 'https' if tls else 'http')}", flush=True)
        yield


async def _serve_metrics(stack: contextlib.AsyncExitStack, config: ServerConfig, service: "Service") -> None:
    """Metrics on their own port, unless something else has it: that is told, and ends nothing."""
    from palaver.api.serving import bound, listening, metrics_app, url_of

    try:
        listener = stack.enter_context(bound(config.api.host, config.metrics_port))
    except ConfigError as error:
        logger.warning("metrics are on the API's port only: %s", error)
        return
    await stack.enter_async_context(listening(metrics_app(service), listener))
    print(f"Palaver metrics: {url_of(listener)}/metrics", flush=True)


def _serve_reloading(config: ServerConfig, argv: list[str]) -> int:
    """Serve in a process of its own, which is started anew when a Python file below this folder changes."""
    import uvicorn
    from uvicorn.supervisors import ChangeReload

    watched = uvicorn.Config("palaver.api.app:create_app", reload=True, log_config=None)
    ChangeReload(watched, target=functools.partial(_serve_until_changed, argv), sockets=[]).run()
    return 0


def _serve_until_changed(argv: list[str], sockets: object) -> None:
    os.environ["PALAVER_API_RELOAD"] = "false"  # whatever the file says: this process is the one that is started anew
    sys.exit(main(argv))
