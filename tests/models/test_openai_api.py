"""Models behind OpenAI-compatible endpoints, against a real server on a real socket."""

import asyncio
import socket
from typing import Any

import pytest

from palaver.models.limits import RateLimit
from palaver.models.model import Cancel, ChatMessage, LLMResponse, Model
from palaver.models.openai_api import OpenAIModel
from palaver.models.retry import RetryPolicy
from tests.models.clock import FakeClock
from tests.stubs import Failure, OpenAIStub
from tests.stubs.server import Answer, Request

PROMPT: list[ChatMessage] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello there"}]


def model_at(stub: OpenAIStub, **settings: Any) -> OpenAIModel:
    """A model at the stub whose waits take no time."""
    clock = settings.setdefault("clock", FakeClock())
    return OpenAIModel(
        "stub-model", base_url=stub.base_url, **{"sleep": clock.sleep, "chance": lambda: 0.5, **settings}
    )


@pytest.fixture(params=["whole", "streamed"])
def listener(request: pytest.FixtureRequest) -> list[str] | None:
    """Both roads: nobody listens, or the list gets the pieces."""
    return [] if request.param == "streamed" else None


async def ask(model: Model, listener: list[str] | None = None, **settings: Any) -> LLMResponse:
    """Complete `PROMPT` on the listener's road."""
    return await model.complete(PROMPT, on_text=listener.append if listener is not None else None, **settings)


@pytest.fixture(autouse=True)
def no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


async def test_a_reply_comes_with_its_usage_and_provenance(listener: list[str] | None) -> None:
    with OpenAIStub(["A fine day to you."]) as stub:
        reply = await ask(model_at(stub), listener, seed=7)
    assert (reply.content, reply.success, reply.error, reply.stop_reason) == ("A fine day to you.", True, None, "end")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.tokens_used) == (4, 5, 9)
    assert reply.model_used == "stub-model"
    assert reply.provenance["endpoint"] == stub.base_url
    assert reply.provenance["seed"] == 7
    if listener is not None:
        assert listener == ["A", " fine", " day", " to", " you."]


async def test_what_was_asked_is_on_the_wire_and_a_temperature_of_0_stays_0(listener: list[str] | None) -> None:
    with OpenAIStub() as stub:
        model = model_at(stub, extra={"top_p": 0.9, "repetition_penalty": 1.1})
        await ask(model, listener, temperature=0, max_tokens=17, stop=["Bob:", "Eve:"], seed=3)
    sent = stub.posts[0]
    assert sent["messages"] == PROMPT
    assert (sent["temperature"], sent["max_tokens"], sent["seed"], sent["stop"]) == (0, 17, 3, ["Bob:", "Eve:"])
    assert (sent["top_p"], sent["repetition_penalty"]) == (0.9, 1.1)
    assert ("stream_options" in sent) == (listener is not None)


async def test_missing_usage_counts_as_0(listener: list[str] | None) -> None:
    with OpenAIStub(usage=False) as stub:
        reply = await ask(model_at(stub), listener)
    assert reply.success
    assert reply.tokens_used == 0


async def test_a_reply_cut_by_the_token_limit_says_length(listener: list[str] | None) -> None:
    with OpenAIStub(["one two three four"]) as stub:
        reply = await ask(model_at(stub), listener, max_tokens=2)
    assert (reply.content, reply.stop_reason) == ("one two", "length")


async def test_stop_strings_beyond_the_four_that_openai_takes_are_found_on_our_side(listener: list[str] | None) -> None:
    names = ["Ann:", "Bob:", "Cy:", "Dan:", "Eve:"]
    with OpenAIStub(["I agree. Eve: so do I"]) as stub:
        reply = await ask(model_at(stub), listener, stop=names)
    assert stub.posts[0]["stop"] == names[:4]
    assert (reply.content, reply.stop_reason) == ("I agree. ", "stop")


async def test_the_key_comes_from_the_environment_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-mine")
    with OpenAIStub(api_key="sk-mine") as stub:
        assert (await ask(model_at(stub, key_env="MY_KEY"))).success
        assert (await ask(model_at(stub, key_env="MY_KEY"), [])).success


async def test_a_local_endpoint_needs_no_key() -> None:
    with OpenAIStub(api_key="EMPTY") as stub:
        assert (await ask(model_at(stub))).success


async def test_a_missing_key_is_a_failure_that_names_the_variable(listener: list[str] | None) -> None:
    """A1.13"""
    reply = await ask(OpenAIModel("gpt-4o-mini"), listener)
    assert not reply.success
    assert "OPENAI_API_KEY" in (reply.error or "")


async def test_a_refused_key_is_tried_once_and_the_error_tells_which(listener: list[str] | None) -> None:
    with OpenAIStub(api_key="right") as stub:
        reply = await ask(model_at(stub), listener)
    assert len(stub.requests) == 1
    assert (reply.success, reply.content, reply.stop_reason, reply.provenance["status"]) == (False, "", "error", 401)
    assert "Incorrect API key" in (reply.error or "")
    assert "OPENAI_API_KEY" in (reply.error or "")


async def test_two_failures_then_a_reply_take_three_calls_with_growing_waits(listener: list[str] | None) -> None:
    """A1.6"""
    clock = FakeClock()
    with OpenAIStub() as stub:
        stub.fail(500, times=2)
        reply = await ask(model_at(stub, clock=clock), listener)
    assert reply.success
    assert len(stub.requests) == 3
    assert 0 < clock.waits[0] < clock.waits[1]
    assert reply.provenance["attempts"] == 3


async def test_retry_after_is_honoured(listener: list[str] | None) -> None:
    """A1.6"""
    clock = FakeClock()
    with OpenAIStub() as stub:
        stub.fail(429, retry_after="2")
        reply = await ask(model_at(stub, clock=clock), listener)
    assert reply.success
    assert clock.waits[0] >= 2.0


async def test_an_endpoint_that_asks_for_an_hour_is_left_alone() -> None:
    with OpenAIStub() as stub:
        stub.fail(429, retry_after="3600")
        reply = await ask(model_at(stub))
    assert not reply.success
    assert len(stub.requests) == 1
    assert reply.provenance["retry_after"] == 3600.0


async def test_after_the_last_attempt_the_error_comes_back(listener: list[str] | None) -> None:
    """A1.6"""
    with OpenAIStub() as stub:
        stub.fail(500, times=9)
        reply = await ask(model_at(stub, retry=RetryPolicy(attempts=4)), listener)
    assert len(stub.requests) == 4
    assert not reply.success
    assert "500" in (reply.error or "")


async def test_a_bad_request_is_not_repeated(listener: list[str] | None) -> None:
    with OpenAIStub() as stub:
        stub.fail(400, times=3)
        reply = await ask(model_at(stub), listener)
    assert len(stub.requests) == 1
    assert reply.provenance["status"] == 400


@pytest.mark.parametrize(
    ("message", "changed"),
    [
        ("Unsupported parameter: use 'max_completion_tokens' instead.", "max_completion_tokens"),
        ("Unsupported value: 'temperature' does not support 0.7 with this model.", None),
    ],
)
async def test_an_endpoint_that_wants_it_otherwise_is_asked_otherwise(message: str, changed: str | None) -> None:
    def refuse(request: Any) -> Failure | None:
        old = "max_tokens" if changed else "temperature"
        return Failure(400, body={"error": {"message": message}}) if old in request.json else None

    with OpenAIStub() as stub:
        stub.fail_when(refuse)
        model = model_at(stub)
        assert (await ask(model)).success
        assert (await ask(model)).success
    assert len(stub.requests) == 3, "the second reply knows already"
    assert changed is None or stub.posts[-1][changed] == 100


async def test_a_connection_that_is_cut_is_tried_again(listener: list[str] | None) -> None:
    with OpenAIStub() as stub:
        stub.fail(0, times=1)
        reply = await ask(model_at(stub), listener)
    assert reply.success
    assert len(stub.requests) == 2


async def test_a_closed_port_is_a_failure_that_says_where(listener: list[str] | None) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        reply = await ask(OpenAIModel("m", base_url=url, retry=RetryPolicy(attempts=1)), listener)
    assert not reply.success
    assert f"cannot connect to {url}" in (reply.error or "")


async def test_silence_ends_in_a_timeout(listener: list[str] | None) -> None:
    with OpenAIStub(hang=True) as stub:
        reply = await ask(model_at(stub, timeout=0.1, retry=RetryPolicy(attempts=1)), listener)
    assert (reply.success, reply.stop_reason) == (False, "timeout")
    assert "0.1 s" in (reply.error or "")


async def test_a_page_in_place_of_an_answer_is_a_failure_that_shows_it(listener: list[str] | None) -> None:
    with OpenAIStub() as stub:
        stub.fail(200, times=2, body="<html>Welcome</html>")
        reply = await ask(model_at(stub, retry=RetryPolicy(attempts=1)), listener)
    assert not reply.success
    assert "/v1" in (reply.error or "") or "Welcome" in (reply.error or "")


class Streaming(OpenAIStub):
    """Streams what it is given as it is, and counts no request as wrong."""

    def __init__(self, sent: str, kind: str = "text/event-stream") -> None:
        super().__init__()
        self._sent = sent, kind

    async def answer(self, request: Request, answer: Answer) -> None:
        sent, kind = self._sent
        answer.begin(kind)
        answer.piece(sent)
        answer.end()


@pytest.mark.parametrize(
    "chunk",
    [
        '{"choices": "abc"}',
        '{"choices": [{"delta": null}]}',
        '{"choices": [{"delta": {"content": {"a": 1}}}]}',
        '{"choices": [{"delta": {"content": "a", "tool_calls": 5}}]}',
        '{"choices": [{"delta": {"content": "a"}, "logprobs": 5}]}',
        '{"choices": [], "usage": "many"}',
        "[1, 2]",
        "{no json}",
    ],
)
async def test_a_stream_of_anything_else_is_a_failure_that_shows_it(chunk: str) -> None:
    with Streaming(f"data: {chunk}\n\ndata: [DONE]\n\n") as stub:
        reply = await ask(model_at(stub), [])
    assert (reply.success, reply.stop_reason, reply.provenance["status"]) == (False, "error", 422)
    assert "did not answer with a stream of chat completion chunks" in (reply.error or "")


async def test_counts_that_are_none_are_0() -> None:
    text = '{"choices": [{"delta": {"content": "hi"}}]}'
    usage = (
        '{"choices": [], "usage": {"prompt_tokens": "lots", "completion_tokens": null, "prompt_tokens_details": []}}'
    )
    with Streaming(f"data: {text}\n\ndata: {usage}\n\ndata: [DONE]\n\n") as stub:
        reply = await ask(model_at(stub), [])
    assert (reply.content, reply.success, reply.tokens_used) == ("hi", True, 0)


async def test_an_endpoint_that_does_not_stream_is_understood() -> None:
    document = '{"choices": [{"message": {"content": "all at once"}}], "usage": {"completion_tokens": 3}}'
    pieces: list[str] = []
    with Streaming(document, "application/json") as stub:
        reply = await ask(model_at(stub), pieces)
    assert (reply.content, pieces, reply.usage.completion_tokens) == ("all at once", ["all at once"], 3)


async def test_half_a_surrogate_pair_does_not_get_into_a_reply(listener: list[str] | None) -> None:
    with OpenAIStub(["half \ud83d emoji, whole \U0001f600"]) as stub:
        reply = await ask(model_at(stub), listener)
    assert reply.content == "half \ufffd emoji, whole \U0001f600"


async def test_an_endpoint_that_quotes_the_key_does_not_get_it_into_the_error(
    listener: list[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    with OpenAIStub() as stub:
        stub.fail(401, times=1, body={"error": {"message": "Invalid token: Bearer sk-mine"}})
        reply = await ask(model_at(stub, api_key="sk-mine"), listener)
    assert "Invalid token: Bearer (the key)" in (reply.error or "")
    assert "sk-mine" not in caplog.text + str(reply)


async def test_a_password_in_the_address_is_shown_to_nobody(
    listener: list[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    with OpenAIStub() as stub:
        stub.fail(500, times=9)
        url = stub.base_url.replace("//", "//me:hidden@")
        reply = await ask(OpenAIModel("m", base_url=url, retry=RetryPolicy(attempts=1)), listener)
    assert stub.base_url in (reply.error or "")
    assert "hidden" not in caplog.text + str(reply)


async def test_cancel_closes_the_stream_at_once_and_keeps_what_had_come() -> None:
    cancel, heard = Cancel(), asyncio.Event()
    with OpenAIStub(["one two three four"], stop_after=2) as stub:
        pieces: list[str] = []

        def listen(piece: str) -> None:
            pieces.append(piece)
            if len(pieces) == 2:
                heard.set()

        reply = asyncio.ensure_future(model_at(stub).complete(PROMPT, on_text=listen, cancel=cancel))
        await heard.wait()
        await asyncio.to_thread(cancel.press, "paused")
        answer = await asyncio.wait_for(reply, 2)
        await asyncio.to_thread(stub.wait_for_hang_up)
    assert (answer.content, answer.stop_reason, answer.success) == ("one two", "cancelled", True)
    assert answer.usage.completion_tokens == 2
    assert answer.provenance["tokens"] == "estimated"


async def test_cancel_also_ends_the_wait_before_another_attempt() -> None:
    cancel, waiting = Cancel(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    with OpenAIStub() as stub:
        stub.fail(503, times=9)
        reply = asyncio.ensure_future(model_at(stub, sleep=sleep).complete(PROMPT, cancel=cancel))
        await waiting.wait()
        cancel.press()
        assert (await reply).stop_reason == "cancelled"


async def test_cancelling_the_task_closes_the_connection_too() -> None:
    with OpenAIStub(hang=True) as stub:
        reply = asyncio.ensure_future(ask(model_at(stub)))
        await asyncio.to_thread(stub.wait_for_requests)
        reply.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reply
        await asyncio.to_thread(stub.wait_for_hang_up)


async def test_a_stop_string_closes_the_stream_behind_it() -> None:
    with OpenAIStub(["one Bob: " + "x " * 50], stop_after=3) as stub:
        stub_ignores_stop = model_at(stub, extra={"stop": None})
        reply = await ask(stub_ignores_stop, [], stop=["Bob:"])
        await asyncio.to_thread(stub.wait_for_hang_up)
    assert (reply.content, reply.stop_reason) == ("one ", "stop")


async def test_a_stream_that_broke_after_its_first_word_is_not_said_twice() -> None:
    pieces: list[str] = []
    with OpenAIStub(["one two"], stop_after=1) as stub:
        reply = await model_at(stub, timeout=1.0).complete(PROMPT, on_text=pieces.append)
    assert pieces == ["one"]
    assert len(stub.requests) == 1
    assert (reply.success, reply.content, reply.stop_reason) == (False, "one", "timeout")


async def test_log_probabilities_are_passed_through(listener: list[str] | None) -> None:
    with OpenAIStub(["a b"]) as stub:
        reply = await ask(model_at(stub, extra={"logprobs": True, "top_logprobs": 2}), listener)
    assert stub.posts[0]["top_logprobs"] == 2
    assert [token["token"] for token in reply.logprobs["content"]] == ["a", " b"]


async def test_tool_calls_are_passed_through(listener: list[str] | None) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "dice", "arguments": '{"sides": 6}'}}
    tools = [{"type": "function", "function": {"name": "dice"}}]
    with OpenAIStub([{"content": None, "tool_calls": [call]}]) as stub:
        reply = await ask(model_at(stub).with_extra({"tools": tools}), listener)
    assert stub.posts[0]["tools"] == tools
    assert list(reply.tool_calls) == [call]
    assert (reply.content, reply.success) == ("", True)


async def test_the_61st_request_in_a_minute_waits_for_its_turn() -> None:
    """A1.4"""
    clock = FakeClock()
    with OpenAIStub() as stub:
        model = model_at(stub, clock=clock, limit=RateLimit(requests_per_minute=60))
        for _ in range(60):
            await ask(model)
        assert clock.waits == []
        reply = await ask(model)
    assert clock.waits == [60.0]
    assert reply.usage.queue_seconds == 60.0


async def test_counted_tokens_take_the_place_of_the_estimated_ones() -> None:
    clock = FakeClock()
    with OpenAIStub() as stub:
        model = model_at(stub, clock=clock, limit=RateLimit(tokens_per_minute=200))
        for _ in range(3):
            assert (await ask(model, max_tokens=150)).success
    assert clock.waits == []


async def test_messages_that_are_not_text_are_a_failure(listener: list[str] | None) -> None:
    with OpenAIStub() as stub:
        on_text = listener.append if listener is not None else None
        reply = await model_at(stub).complete([{"role": "user", "content": "half a pair: \ud83d"}], on_text=on_text)
    assert not reply.success
    assert "UTF-8" in (reply.error or "")


async def test_a_request_larger_than_the_minutes_tokens_fails_at_once() -> None:
    """A1.13"""
    with OpenAIStub() as stub:
        reply = await ask(model_at(stub, limit=RateLimit(tokens_per_minute=50)), max_tokens=100)
    assert stub.requests == []
    assert not reply.success
    assert "tokens per minute" in (reply.error or "")


async def test_connections_are_kept_from_one_reply_to_the_next(listener: list[str] | None) -> None:
    with OpenAIStub() as stub:
        for _ in range(5):
            assert (await ask(model_at(stub), listener)).success
    assert len({request.connection for request in stub.requests}) == 1


def test_one_model_serves_several_event_loops() -> None:
    with OpenAIStub() as stub:
        model = model_at(stub)
        for _ in range(3):
            assert asyncio.run(ask(model)).success
            assert asyncio.run(ask(model, [])).success


async def test_a_proxy_in_the_environment_is_not_asked_for_a_local_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with OpenAIStub() as stub:
        assert (await ask(model_at(stub, retry=RetryPolicy(attempts=1)))).success


async def test_a_hundred_replies_at_once_overlap() -> None:
    with OpenAIStub(latency=0.2) as stub:
        model, started = model_at(stub), asyncio.get_running_loop().time()
        replies = await asyncio.gather(*(ask(model) for _ in range(100)))
        took = asyncio.get_running_loop().time() - started
    assert all(reply.success for reply in replies)
    assert took < 5.0, "one after another would take 20 s"
