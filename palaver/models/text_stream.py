"""A reply that is walked piece by piece and is whole in the end."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Generic, TypeVar

Response = TypeVar("Response")


class TextStream(Generic[Response]):
    """`async for piece in stream`, and then `stream.response`.

    The request begins with the loop, and leaving the loop early closes it. It can be walked once.
    """

    def __init__(self, ask: Callable[[Callable[[str], None]], Coroutine[Any, Any, Response]]) -> None:
        self._ask = ask
        self._response: Response | None = None

    @property
    def response(self) -> Response:
        """The whole reply, or the failure as data; raises RuntimeError until the loop has come to its end."""
        if self._response is None:
            raise RuntimeError("there is no response: the stream was not walked to its end")
        return self._response

    async def __aiter__(self) -> AsyncGenerator[str]:
        pieces: asyncio.Queue[str | None] = asyncio.Queue()  # holds one reply at most
        task = asyncio.create_task(self._ask(pieces.put_nowait))
        task.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            self._response = await task
        finally:
            task.cancel()
