"""`palaver check`: whether a config can be used, without sending anything to anybody."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from palaver import plugins
from palaver.cli.api import is_for_this_machine
from palaver.cli.common import Parser
from palaver.config import SEARCH_PATH, ConfigManager, ServerConfig
from palaver.config.loading import KeyPath, dotted_path
from palaver.core.errors import ConfigError, PalaverError
from palaver.evaluation.manager import PluginManager
from palaver.hub.tls import server_tls
from palaver.hub.tokens import auth_of
from palaver.models.registry import create_model


def parser() -> argparse.ArgumentParser:
    """The flags of a check."""
    searched = ", ".join(map(str, SEARCH_PATH))
    flags = Parser(prog="palaver check", description="Say whether a config can be used. Nothing is sent to any model.")
    flags.add_argument("file", nargs="?", type=Path, help=f"the config; without one the first of {searched}")
    flags.add_argument("-c", "--config", type=Path, metavar="FILE", help="the same, as the server's flag has it")
    return flags


def main(argv: Sequence[str]) -> int:
    """Exit code 0 for a usable config, 1 where something cannot be made of it, 2 where the file is wrong."""
    arguments = parser().parse_args(argv)
    try:
        manager = ConfigManager(arguments.file or arguments.config)
        config = manager.load_config()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        plugins.import_modules(config.plugins)
    except ConfigError as error:
        print(f"{manager.origin('plugins')}: {error}", file=sys.stderr)
        return 2
    failures = dict(_failures(config))
    for line in _summary(manager, config, failures):
        print(line)
    for path, text in failures.items():
        print(f"{manager.origin(*path)}: {dotted_path(path)}: {text}", file=sys.stderr)
    return 1 if failures else 0


def _failures(config: ServerConfig) -> Iterator[tuple[KeyPath, str]]:
    """The models, evaluators and settings of the hub that nothing can be made of, and why."""
    hub = config.hub
    tried: dict[KeyPath, Callable[[], object]] = {
        ("hub", "host"): partial(is_for_this_machine, config),
        ("hub", "tls_cert"): partial(server_tls, hub.tls_cert, hub.tls_key),
        ("hub", "secret"): partial(auth_of, hub.token, moderator=hub.moderator_token, secret=hub.secret),
    }
    for name, model in config.models.items():
        tried["models", name] = partial(create_model, model)
    for number, evaluator in enumerate(config.evaluators):
        tried["evaluators", number] = partial(PluginManager.try_out, evaluator, config.models, config.default_model)
    for path, make in tried.items():
        try:
            make()
        except PalaverError as error:
            yield path, str(error)


def _summary(manager: ConfigManager, config: ServerConfig, failures: Mapping[KeyPath, str]) -> Iterator[str]:
    yield f"config: {manager.path or 'none found, so the defaults hold'}"
    for name, model in config.models.items():
        address = f" at {public}" if (public := config.public()["models"][name]["api_base"]) else ""
        state = "cannot be used" if ("models", name) in failures else "ok"
        default = " (default)" if name == config.default_model else ""
        yield f"model {name}{default}: {model.type} {model.name}{address}: {state}"
    for number, evaluator in enumerate(config.evaluators):
        state = "on" if evaluator.enabled else "off"
        state = "cannot be used" if ("evaluators", number) in failures else state
        yield f"evaluator {evaluator.type}: {state}{f', judged by {evaluator.model}' if evaluator.model else ''}"
    yield f"HTTP {config.api.host}:{config.api.port}, hub {config.hub.host}:{config.hub.port}"
