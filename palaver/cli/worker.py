"""A worker of the conversation server: `python -m palaver.cli.worker FD`, started by it and by nobody else."""

import asyncio
import logging
import signal
import socket
import sys

from palaver.cli import end_with
from palaver.cli.common import keep_libraries_quiet, let_the_collector_rest, run_async, set_up_tracing


async def _work(descriptor: int) -> int:
    from palaver.api.channel import Hello, receive
    from palaver.api.working import Teller, Worker

    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    hello = await receive(reader)
    if not isinstance(hello, Hello):  # the server is gone already
        return 0
    logging.basicConfig(level=hello.config.logging.level, handlers=[Teller(writer)], force=True)
    keep_libraries_quiet()
    set_up_tracing(hello.trace, "palaver-api")
    let_the_collector_rest()
    await Worker(hello.config, reader, writer).run()
    return 0


def main() -> int:
    """Work until the server is gone, which sees to Ctrl-C for both."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return run_async(_work(int(sys.argv[1])))


if __name__ == "__main__":
    end_with(main)
