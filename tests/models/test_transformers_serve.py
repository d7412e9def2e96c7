"""Our client of OpenAI-compatible endpoints against one that somebody else wrote: `transformers serve`, a real one."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from palaver.completion import generate_completion_async
from palaver.models.model import Cancel, ChatMessage
from palaver.models.openai_api import OpenAIModel
from palaver.models.tiny import path

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

PROMPT: list[ChatMessage] = [{"role": "user", "content": "Hello, who are you?"}]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The server on the tiny model; gives its base URL."""
    for needed in ("fastapi", "uvicorn"):
        pytest.importorskip(needed, reason="transformers serve needs it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(path())]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env={**os.environ, **offline}) as server:
        try:
            _wait_until_healthy(f"http://127.0.0.1:{port}/health", server)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes]) -> None:
    """The server tells nobody when it is ready, so it is asked."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise AssertionError(f"transformers serve ended with {server.returncode}")
        try:
            direct.open(url, timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError("transformers serve did not come up")


async def test_it_answers_whole_and_streamed_with_the_same_words(endpoint: str) -> None:
    model = OpenAIModel(str(path()), base_url=endpoint)
    whole = await model.complete(PROMPT, temperature=0, max_tokens=20)
    pieces: list[str] = []
    streamed = await model.complete(PROMPT, temperature=0, max_tokens=20, on_text=pieces.append)
    assert whole.success, whole.error
    assert streamed.success, streamed.error
    assert whole.content == streamed.content == "".join(pieces)
    assert whole.content.strip()
    assert whole.usage.completion_tokens > 0


async def test_a_cancelled_stream_leaves_the_server_free_for_the_next(endpoint: str) -> None:
    model, cancel = OpenAIModel(str(path()), base_url=endpoint), Cancel()
    cut = await model.complete(PROMPT, max_tokens=500, on_text=lambda piece: cancel.press(), cancel=cancel)
    assert cut.stop_reason == "cancelled"
    assert (await model.complete(PROMPT, max_tokens=5)).success


async def test_the_completion_layer_reaches_it_by_name(endpoint: str) -> None:
    response = await generate_completion_async("Hello", f"openai/{path()}", 0, 10, base_url=endpoint)
    assert response.success, response.error
    assert response.tokens_used > 0
