"""Hold a conversation in this process: `python examples/run_demo.py --agents Alice Bob --model gpt-4o-mini`.

Models are those of the config file (`-c`, else the first that is found). Without a config the model that comes with
Palaver speaks.
"""

import argparse
import asyncio
import sys

from palaver.api import create_server
from palaver.core.errors import PalaverError


async def demo(arguments: argparse.Namespace) -> None:
    async with create_server(arguments.config) as server:
        episode_log = await server.run_conversation(
            agent_configs=[{"name": name, "type": "llm"} for name in arguments.agents],
            scenario=arguments.scenario,
            model_name=arguments.model,
            max_turns=arguments.turns,
        )
    for message in episode_log.messages:
        print(f"{message.sender}: {message.content}")
    print(f"\nConversation completed: {episode_log.reasoning}")


def main() -> int:
    flags = argparse.ArgumentParser(description="Hold a conversation in this process.")
    flags.add_argument("-c", "--config", metavar="FILE", help="config file")
    flags.add_argument("--agents", nargs="+", default=["Alice", "Bob"], metavar="NAME", help="who takes part")
    flags.add_argument("--model", metavar="ID", help="one of the config's models (default: its default_model)")
    flags.add_argument("--scenario", default="A casual conversation", help="what it is about (default: %(default)s)")
    flags.add_argument("--turns", type=int, default=5, metavar="N", help="rounds at most (default: %(default)s)")
    try:
        asyncio.run(demo(flags.parse_args()))
    except PalaverError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
