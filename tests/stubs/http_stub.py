"""F6: a stub of somebody's own HTTP endpoints, for workflow providers: `/generate`, `/score`, whatever a test adds.

`python -m tests.stubs.http_stub --port 0` runs it as a process and prints its URL.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tests.stubs.server import Answer, Request, StubServer, serve_from_command_line

Route = Callable[[Any], Any]
"""The JSON body of a POST in, the document to answer with out (a str is sent as it is)."""


def generate(body: Any) -> Any:
    """`{"output": …}` for one prompt; `{"generations": […]}` where several are asked for."""
    wanted = body.get("num_return_sequences")
    if wanted is None:
        return {"output": f"reply to {body['prompt']}"}
    return {"generations": [f"candidate {number}" for number in range(wanted)]}


def score(body: Any) -> Any:
    """`{"scores": […]}`: the middle candidate is the best one."""
    count = len(body["responses"])
    return {"scores": [1.0 - abs(number - count // 2) / count for number in range(count)]}


class HTTPStub(StubServer):
    """Answers each path by its route; an unknown one gets 404."""

    def __init__(
        self,
        routes: Mapping[str, Route] | None = None,
        *,
        latency: float = 0.0,
        hang: bool = False,
        port: int = 0,
    ) -> None:
        super().__init__(latency=latency, hang=hang, port=port)
        self.routes: dict[str, Route] = {"/generate": generate, "/score": score, **(routes or {})}

    async def answer(self, request: Request, answer: Answer) -> None:
        """Route one request."""
        route = self.routes.get(request.path.partition("?")[0])
        if route is None:
            await super().answer(request, answer)
        else:
            answer.whole(200, route(request.json if request.body else {}))


if __name__ == "__main__":
    serve_from_command_line(
        lambda args: HTTPStub(latency=args.latency, port=args.port), "A stub of somebody's own HTTP endpoints."
    )
