"""The stateless completion layer (seed 3), against a stub of Ollama and one of OpenAI on real sockets."""

import asyncio
import itertools
import json
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from palaver import completion
from palaver.completion import (
    LLMResponse,
    Prompt,
    generate_completion_async,
    generate_completion_sync,
    generate_completion_with_messages_async,
    generate_completion_with_messages_sync,
    generate_completions_async,
    generate_completions_sync,
    stream_completion,
)
from palaver.models.cache import MemoryCache, SqliteCache
from palaver.models.model import Cancel
from tests.patience import within
from tests.stubs import OllamaStub, OpenAIStub

MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Hello!"},
    {"role": "assistant", "content": "Hi there!"},
    {"role": "user", "content": "How are you?"},
]


@pytest.fixture(autouse=True)
def a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LLM_MODEL_NAME", "LLM_TEMPERATURE", "LLM_MAX_TOKENS", "LLM_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(completion, "settings", completion.Settings())


def at(stub: OllamaStub, monkeypatch: pytest.MonkeyPatch) -> OllamaStub:
    """Make the stub the Ollama of this test."""
    monkeypatch.setenv("OLLAMA_HOST", stub.url)
    return stub


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch, ollama_stub: OllamaStub) -> OllamaStub:
    return at(ollama_stub, monkeypatch)


async def string_sync(**settings: Any) -> LLMResponse:
    return await asyncio.to_thread(generate_completion_sync, "Hello, how are you?", **settings)


async def string_async(**settings: Any) -> LLMResponse:
    return await generate_completion_async("Hello, how are you?", **settings)


async def messages_sync(**settings: Any) -> LLMResponse:
    return await asyncio.to_thread(generate_completion_with_messages_sync, MESSAGES, **settings)


async def messages_async(**settings: Any) -> LLMResponse:
    return await generate_completion_with_messages_async(MESSAGES, **settings)


Complete = Callable[..., Awaitable[LLMResponse]]
all_four = pytest.mark.parametrize("complete", [string_sync, string_async, messages_sync, messages_async])


@all_four
async def test_each_function_gives_a_whole_response(complete: Complete, ollama: OllamaStub) -> None:
    """A3.1"""
    response = await complete(model_name="llama3.2")
    words = sum(len(message["content"].split()) for message in ollama.posts[0]["messages"])
    assert (response.success, response.error) == (True, None)
    assert response.content == "Hello from the stub."
    assert response.tokens_used == words + 4
    assert response.response_time > 0
    assert response.model_used == ollama.posts[0]["model"] == "llama3.2"


def test_a_response_has_the_documented_fields_first() -> None:
    """A3.1"""
    response = LLMResponse("text", 3, 0.5, "m", False, "why")
    assert (response.content, response.tokens_used, response.response_time) == ("text", 3, 0.5)
    assert (response.model_used, response.success, response.error) == ("m", False, "why")
    assert LLMResponse(content="", tokens_used=0, response_time=0.1, model_used="m", success=True).error is None


@all_four
async def test_what_is_left_out_comes_from_the_settings(
    complete: Complete, ollama: OllamaStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A3.2"""
    await complete()
    monkeypatch.setenv("LLM_TEMPERATURE", "0.2")
    monkeypatch.setenv("LLM_MODEL_NAME", "from-environment")
    await complete()
    completion.settings.LLM_MODEL_NAME = "from-settings"
    await complete(temperature=0)
    assert [sent["model"] for sent in ollama.posts] == ["llama3.2", "from-environment", "from-settings"]
    assert [sent["options"]["temperature"] for sent in ollama.posts] == [0.7, 0.2, 0]
    assert [sent["options"]["num_predict"] for sent in ollama.posts] == [500, 500, 500]


@all_four
async def test_no_tokens_at_all_is_refused(complete: Complete, ollama: OllamaStub) -> None:
    """A3.2"""
    response = await complete(max_tokens=0)
    assert ollama.posts == []
    assert not response.success
    assert "max_tokens must be at least 1" in (response.error or "")


@all_four
async def test_the_options_are_on_the_wire(complete: Complete, ollama: OllamaStub) -> None:
    """A3.3"""
    await complete(temperature=0.3, max_tokens=42)
    await complete(top_p=0.5, repeat_penalty=1.0, stop=["END"], seed=7, options={"num_ctx": 4096, "keep_alive": "30m"})
    expected = {"temperature": 0.3, "num_predict": 42, "top_p": 0.9, "repeat_penalty": 1.1}
    assert ollama.posts[0]["options"] == expected
    second = ollama.posts[1]
    assert second["options"]["top_p"] == 0.5
    assert second["options"]["repeat_penalty"] == 1.0
    assert (second["options"]["stop"], second["options"]["seed"]) == (["END"], 7)
    assert second["options"]["num_ctx"] == 4096
    assert second["keep_alive"] == "30m"
    assert "keep_alive" not in second["options"]


def is_clean_failure(response: LLMResponse, *words: str) -> bool:
    """Seed 3's error format, with words that help."""
    empty = (response.success, response.content, response.tokens_used) == (False, "", 0)
    return empty and response.response_time >= 0 and all(word in (response.error or "") for word in words)


@all_four
async def test_a_refused_port_is_data(complete: Complete) -> None:
    """A3.4"""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        response = await complete(model_name="llama3.2", base_url=url)
    assert is_clean_failure(response, "cannot connect", url)
    assert response.model_used == "llama3.2"


@all_four
async def test_a_model_that_is_not_there_is_data(complete: Complete, monkeypatch: pytest.MonkeyPatch) -> None:
    """A3.4"""
    with OllamaStub(models=["llama3.2"]) as stub:
        at(stub, monkeypatch)
        assert is_clean_failure(await complete(model_name="nope"), "404", "'nope' not found", "ollama pull nope")


@all_four
async def test_missing_counts_are_0(complete: Complete, monkeypatch: pytest.MonkeyPatch) -> None:
    """A3.4"""
    with OllamaStub(counts=False) as stub:
        at(stub, monkeypatch)
        response = await complete()
    assert (response.success, response.content, response.tokens_used) == (True, "Hello from the stub.", 0)


@all_four
async def test_silence_is_data(complete: Complete, monkeypatch: pytest.MonkeyPatch) -> None:
    """A3.4"""
    with OllamaStub(hang=True) as stub:
        at(stub, monkeypatch)
        response = await complete(timeout=0.1)
        monkeypatch.setenv("LLM_TIMEOUT", "0.1")
        assert is_clean_failure(await complete(), "timeout")
    assert is_clean_failure(response, "timeout")
    assert response.stop_reason == "timeout"


@all_four
@pytest.mark.parametrize("content", [None, 17, ["a"], {"text": "a"}])
async def test_bad_content_is_data(complete: Complete, content: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A3.4"""
    with OllamaStub() as stub:
        at(stub, monkeypatch)
        stub.fail(200, body={"message": {"role": "assistant", "content": content}, "done": True})
        assert is_clean_failure(await complete(), "chat reply")
        stub.fail(200, body="<html>")
        assert is_clean_failure(await complete(), "<html>")


@all_four
@pytest.mark.parametrize("name", ["LLM_TEMPERATURE", "LLM_MAX_TOKENS", "LLM_TIMEOUT"])
async def test_a_bad_environment_is_data(
    complete: Complete, name: str, ollama: OllamaStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A3.4"""
    monkeypatch.setenv(name, "warm")
    assert is_clean_failure(await complete(), f"{name}='warm'")


@all_four
@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"temperature": "hot"}, "temperature='hot'"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"max_tokens": "many"}, "max_tokens='many'"),
        ({"max_tokens": 10.7}, "10.7"),
        ({"max_tokens": float("inf")}, "inf"),
        ({"timeout": -1}, "timeout must be more than 0, not -1"),
        ({"attempts": 0}, "attempts must be more than 0, not 0"),
        ({"model_name": 5}, "a model's name is text, not int"),
        ({"topp": 0.5}, "'topp' is unknown"),
        ({"base_url": "nonsense://x"}, "nonsense"),
        ({"model_name": "openai/gpt-4o-mini"}, "OPENAI_API_KEY"),
        ({"model_name": "hf/no/such/folder"}, "no/such/folder"),
    ],
)
async def test_a_bad_parameter_is_data(
    complete: Complete, settings: dict[str, Any], word: str, ollama: OllamaStub
) -> None:
    """A3.4"""
    assert is_clean_failure(await complete(**settings), word)


async def test_twelve_calls_of_a_second_take_a_second_and_the_loop_keeps_ticking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A3.5"""
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            ticks.append(time.perf_counter())
            await asyncio.sleep(0.01)

    with OllamaStub(latency=1.0) as stub:
        at(stub, monkeypatch)
        await generate_completion_async("warm up", base_url=stub.url, timeout=5)
        ticking, started = asyncio.create_task(tick()), time.perf_counter()
        responses = await asyncio.gather(*(generate_completion_async("Hello") for _ in range(12)))
        took = time.perf_counter() - started
        ticking.cancel()
    assert all(response.success for response in responses)
    assert took < within(2.0)
    longest = max(later - before for before, later in itertools.pairwise(ticks))
    assert longest < within(0.25)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([{"role": "wizard", "content": "Hi"}], ("message 0", "'wizard'")),
        ([{"role": "user", "content": "Hi"}, {"role": "assistant"}], ("message 1", "'content'")),
        ([{"content": "Hi"}], ("message 0", "'role'")),
        ([{"role": "user", "content": None}], ("message 0", "NoneType")),
        ([], ("no messages",)),
        (["Hi"], ("message 0 is str",)),
        (None, ("messages", "NoneType")),
        (5, ("messages", "int")),
        ({"role": "user", "content": "Hi"}, ("a list of messages, not dict",)),
    ],
)
async def test_messages_that_are_none_are_data(messages: Any, words: tuple[str, ...], ollama: OllamaStub) -> None:
    """A3.6"""
    assert is_clean_failure(await generate_completion_with_messages_async(messages), *words)
    assert is_clean_failure(generate_completion_with_messages_sync(messages), *words)
    assert ollama.posts == []


async def test_messages_may_come_from_a_generator(ollama: OllamaStub) -> None:
    messages: Any = ({"role": "user", "content": word} for word in ("Hi", "there"))
    assert (await generate_completion_with_messages_async(messages)).success
    assert [message["content"] for message in ollama.posts[0]["messages"]] == ["Hi", "there"]


class MyAgent:
    """The document's integration pattern."""

    def __init__(self) -> None:
        self.history: list[dict[str, str]] = []

    def build_conversation_context(self, user_message: str) -> list[dict[str, str]]:
        return [*self.history, {"role": "user", "content": user_message}]

    def update_conversation_history(self, user_message: str, content: str) -> None:
        self.history += [{"role": "user", "content": user_message}, {"role": "assistant", "content": content}]

    async def respond(self, user_message: str) -> str:
        messages = self.build_conversation_context(user_message)
        response = await generate_completion_with_messages_async(messages)
        if response.success:
            self.update_conversation_history(user_message, response.content)
            return response.content
        return "Sorry, I encountered an error."


async def test_an_agent_keeps_its_history_clean_when_a_call_fails(ollama: OllamaStub) -> None:
    """A3.7"""
    agent = MyAgent()
    assert await agent.respond("Hello") == "Hello from the stub."
    ollama.fail(500)
    assert await agent.respond("And now?") == "Sorry, I encountered an error."
    assert await agent.respond("Again?") == "Hello from the stub."
    assert [message["content"] for message in ollama.posts[-1]["messages"]] == [
        "Hello",
        "Hello from the stub.",
        "Again?",
    ]
    assert len(agent.history) == 4


@all_four
async def test_the_same_functions_reach_an_openai_endpoint(complete: Complete, openai_stub: OpenAIStub) -> None:
    """A3.8"""
    response = await complete(model_name="openai/gpt-4o-mini", base_url=openai_stub.base_url, temperature=0, top_p=0.8)
    assert (response.success, response.content) == (True, "Hello from the stub.")
    assert response.tokens_used > 4
    assert response.model_used == "openai/gpt-4o-mini"
    sent = openai_stub.posts[0]
    assert (sent["model"], sent["temperature"], sent["max_tokens"], sent["top_p"]) == ("gpt-4o-mini", 0, 500, 0.8)


async def test_the_same_failures_reach_one_from_an_openai_endpoint(openai_stub: OpenAIStub) -> None:
    """A3.8"""
    openai_stub.fail(500, times=2)
    response = await generate_completion_async("Hi", "vllm/m", base_url=openai_stub.base_url)
    assert is_clean_failure(response, "500")
    assert (await generate_completion_async("Hi", "vllm/m", base_url=openai_stub.base_url, attempts=2)).success


async def test_cancelling_a_call_closes_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with OllamaStub(hang=True) as stub:
        at(stub, monkeypatch)
        call = asyncio.ensure_future(generate_completion_async("Hi"))
        await asyncio.to_thread(stub.wait_for_requests)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(stub.wait_for_hang_up)


async def test_a_stop_button_ends_a_call_with_what_had_come(monkeypatch: pytest.MonkeyPatch) -> None:
    cancel, heard = Cancel(), asyncio.Event()
    with OllamaStub(["one two three"], stop_after=1) as stub:
        at(stub, monkeypatch)
        call = asyncio.ensure_future(generate_completion_async("Hi", on_text=lambda _: heard.set(), cancel=cancel))
        await heard.wait()
        cancel.press()
        assert ((await call).content, (await call).stop_reason) == ("one", "cancelled")
        await asyncio.to_thread(stub.wait_for_hang_up)


@pytest.mark.parametrize("at_openai", [False, True])
async def test_a_reply_can_be_walked_as_it_comes(at_openai: bool, ollama: OllamaStub, openai_stub: OpenAIStub) -> None:
    name = {"model_name": "openai/m", "base_url": openai_stub.base_url} if at_openai else {}
    stream = stream_completion("Hi", **name)  # type: ignore[arg-type]  # one dict for two keywords
    pieces = [piece async for piece in stream]
    assert pieces == ["Hello", " from", " the", " stub."]
    assert stream.response.content == "Hello from the stub."
    assert stream.response.tokens_used == 5


async def test_leaving_a_stream_early_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with OllamaStub(["one two three"], stop_after=1) as stub:
        at(stub, monkeypatch)
        walk = aiter(stream_completion("Hi"))
        assert await anext(walk) == "one"
        await walk.aclose()
        await asyncio.to_thread(stub.wait_for_hang_up)


async def test_a_stream_that_fails_ends_with_the_failure(ollama: OllamaStub) -> None:
    ollama.fail(503)
    stream = stream_completion("Hi")
    assert [piece async for piece in stream] == []
    assert is_clean_failure(stream.response, "503")


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_batch_keeps_the_order_and_its_failures(blocking: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with OllamaStub(lambda body: f"re: {body['messages'][-1]['content']}") as stub:
        at(stub, monkeypatch)
        prompts: list[Prompt] = ["one", [{"role": "elf", "content": "two"}], [{"role": "user", "content": "three"}]]
        if blocking:
            responses = await asyncio.to_thread(generate_completions_sync, prompts)
        else:
            responses = await generate_completions_async(prompts)
    assert [response.content for response in responses] == ["re: one", "", "re: three"]
    assert [response.success for response in responses] == [True, False, True]


async def test_a_batch_keeps_to_its_concurrency(monkeypatch: pytest.MonkeyPatch) -> None:
    with OllamaStub(latency=0.05) as stub:
        at(stub, monkeypatch)
        await generate_completions_async([str(number) for number in range(9)], concurrency=3)
    assert len(stub.requests) == 9
    assert len({request.connection for request in stub.requests}) == 3


@pytest.mark.parametrize("kind", ["memory", "file", "shared"])
async def test_only_the_very_same_request_is_answered_from_the_cache(
    kind: str, ollama: OllamaStub, tmp_path: Path
) -> None:
    cache: Any = {"memory": MemoryCache(), "file": SqliteCache(tmp_path / "replies.db"), "shared": True}[kind]
    first = await generate_completion_async("Hi", "m", cache=cache, seed=1)
    again = await generate_completion_async("Hi", "m", cache=cache, seed=1)
    assert len(ollama.posts) == 1
    assert (again.content, again.tokens_used, again.provenance["cached"]) == (first.content, first.tokens_used, True)
    others: list[dict[str, Any]] = [
        {"model_name": "other"},
        {"temperature": 0.1},
        {"max_tokens": 9},
        {"seed": 2},
        {"stop": ["x"]},
        {"top_p": 0.1},
        {"options": {"num_ctx": 1}},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
    ]
    for other in others:
        await generate_completion_async("Hi", **{"model_name": "m", "cache": cache, "seed": 1, **other})
    assert len(ollama.posts) == 1 + len(others)


async def test_a_reply_that_broke_off_is_a_failure_without_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """A3.4"""
    pieces: list[str] = []
    with OllamaStub(["one two"], stop_after=1) as stub:
        at(stub, monkeypatch)
        response = await generate_completion_async("Hi", on_text=pieces.append, timeout=1)
    assert pieces == ["one"]
    assert is_clean_failure(response, "timeout")


async def test_a_stop_string_closes_the_stream_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with OllamaStub(["one END two"], stop_after=2) as stub:
        at(stub, monkeypatch)
        response = await generate_completion_async("Hi", on_text=lambda _: None, stop=["END"])
        await asyncio.to_thread(stub.wait_for_hang_up)
    assert (response.content, response.stop_reason, response.success) == ("one ", "stop", True)


async def test_one_stop_string_is_one_and_not_its_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    with OllamaStub(["one Nor END two"]) as stub:
        at(stub, monkeypatch)
        response = await generate_completion_async("Hi", stop="END")
    assert response.content == "one Nor " and response.tokens_used > 0
    assert stub.posts[0]["options"]["stop"] == ["END"]


def test_a_single_prompt_is_no_batch() -> None:
    with pytest.raises(ValueError, match="prompts is a list, not one str"):
        generate_completions_sync("Hi")


async def test_a_cache_that_fails_costs_nobody_the_reply(ollama: OllamaStub) -> None:
    class Full(MemoryCache):
        def put(self, key: str, response: LLMResponse) -> None:
            raise OSError("no space left on device")

    assert (await generate_completion_async("Hi", cache=Full())).success


async def test_a_failure_is_not_kept(ollama: OllamaStub) -> None:
    cache = MemoryCache()
    ollama.fail(500)
    assert not (await generate_completion_async("Hi", cache=cache)).success
    assert (await generate_completion_async("Hi", cache=cache)).success


async def test_tools_are_passed_through_in_openais_form(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = {"type": "function", "function": {"name": "dice", "parameters": {}}}
    call = {"function": {"name": "dice", "arguments": {"sides": 6}}}
    with OllamaStub([{"content": "", "tool_calls": [call]}]) as stub:
        at(stub, monkeypatch)
        asked = await generate_completion_async("Roll", tools=[tool])
        answer = {"role": "assistant", "content": None, "tool_calls": list(asked.tool_calls)}
        result = {"role": "tool", "content": "4", "tool_call_id": asked.tool_calls[0]["id"]}
        then = await generate_completion_with_messages_async([*MESSAGES, answer, result])
    assert stub.posts[0]["tools"] == [tool]
    assert asked.tool_calls[0]["function"]["name"] == "dice"
    assert json.loads(asked.tool_calls[0]["function"]["arguments"]) == {"sides": 6}
    assert then.success
    assert stub.posts[1]["messages"][-2]["tool_calls"][0]["function"]["arguments"] == {"sides": 6}


async def test_blocking_calls_work_within_a_running_loop_and_from_many_threads(ollama: OllamaStub) -> None:
    assert generate_completion_sync("in a running loop").success
    responses = await asyncio.gather(
        *(asyncio.to_thread(generate_completion_sync, f"thread {number}") for number in range(8))
    )
    assert all(response.success for response in responses)


def test_blocking_calls_share_their_connections(ollama: OllamaStub) -> None:
    for _ in range(4):
        assert generate_completion_sync("Hi").success
    assert len({request.connection for request in ollama.requests}) == 1


async def test_names_with_a_slash_that_is_no_providers_are_ollamas(ollama: OllamaStub) -> None:
    await generate_completion_async("Hi", "hf.co/someone/model-GGUF")
    await generate_completion_async("Hi", "ollama/library/llama3.2")
    assert [sent["model"] for sent in ollama.posts] == ["hf.co/someone/model-GGUF", "library/llama3.2"]
