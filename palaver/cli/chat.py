"""`palaver chat`: talk to one model from this terminal, without a room of your own."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from palaver.cli.common import Parser, add_tls_ca_flag, room, set_up_logging, tls_of
from palaver.cli.numbers import amount, whole

if TYPE_CHECKING:
    from palaver.models.client import LLMClient


def parser() -> argparse.ArgumentParser:
    """The flags of a chat."""
    flags = Parser(prog="palaver chat", description="Talk to one model: history, clear and quit are commands.")
    flags.add_argument(
        "model",
        nargs="?",
        default="tiny",
        help="gpt-4o-mini, anthropic/…, ollama/llama3.2, hf/microsoft/phi-2, a model's folder (default: tiny, which "
        "comes along)",
    )
    flags.add_argument("--model", dest="named", metavar="MODEL", help="the same, as the other commands have it")
    flags.add_argument("--simple", action="store_true", help="the plain loop, without commands")
    flags.add_argument("--system", help="the system message")
    flags.add_argument("--api-base", metavar="URL", help="an OpenAI-compatible endpoint that has the model")
    flags.add_argument("--server", metavar="URL", help="talk to a model in a room of this hub; needs --to")
    flags.add_argument("--to", metavar="NAME", help="the model's name in the room")
    flags.add_argument("--room", type=room, default="main", help="the room, with --server")
    add_tls_ca_flag(flags)
    flags.add_argument("--name", default="Guest", help="your name in the room, with --server")
    flags.add_argument("--max-new-tokens", type=whole(1), default=500, metavar="N", help="tokens of an answer at most")
    flags.add_argument("--temperature", type=amount, default=0.7, help="of sampling; 0 always takes the likeliest")
    flags.add_argument("--max-requests-per-minute", type=amount, default=60, metavar="N", help="requests a minute")
    return flags


def main(argv: Sequence[str]) -> int:
    """Talk until `quit` or Ctrl-C; exit code 1 where the model cannot be had."""
    arguments = parser().parse_args(argv)
    if bool(arguments.server) != bool(arguments.to):
        parser().error("--server and --to go together")
    arguments.model = _routed(arguments.named or arguments.model)
    set_up_logging("WARNING")
    from palaver.core.errors import PalaverError
    from palaver.models import chat_loop

    if not arguments.simple:
        system = arguments.system or chat_loop.ENHANCED_SYSTEM
        return 0 if chat_loop.enhanced_chat(lambda: _client(arguments), system=system) else 1
    try:
        client = _client(arguments)
    except (PalaverError, ValueError) as error:
        print(f"Failed to initialize client: {error}", file=sys.stderr)
        return 1
    chat_loop.simple_chat(client, system=arguments.system or chat_loop.SIMPLE_SYSTEM)
    return 0


def _routed(model: str) -> str:
    """What lies on this machine, under the name that leads there."""
    return f"hf/{model}" if model == "tiny" or Path(model).expanduser().is_dir() else model


def _client(arguments: argparse.Namespace) -> "LLMClient":
    from palaver.models.client import LLMClient
    from palaver.participants.hub_model import HubModel

    model: str | HubModel = arguments.model
    if arguments.server:
        token, tls = os.environ.get("PALAVER_TOKEN") or None, tls_of(arguments)
        model = HubModel(
            arguments.server, arguments.to, room=arguments.room, asker=arguments.name, token=token, tls=tls
        )
    return LLMClient(
        model,
        base_url=arguments.api_base,
        max_new_tokens=arguments.max_new_tokens,
        temperature=arguments.temperature,
        max_requests_per_minute=arguments.max_requests_per_minute,
        max_attempts=1 if arguments.server else 5,
    )
