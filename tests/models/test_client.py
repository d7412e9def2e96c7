"""`LLMClient` (seed 1), against real servers and scripted models."""

import asyncio
import io
import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from palaver import APIResponse, Conversation, LLMClient, Message
from palaver.core.errors import ModelError, PalaverError
from palaver.models.cache import MemoryCache, SqliteCache
from palaver.models.model import Cancel, LLMResponse
from palaver.models.prices import Price
from palaver.models.progress import Progress
from palaver.models.scripted import ScriptedModel
from tests.models.clock import FakeClock
from tests.stubs import Failure, OpenAIStub, Request


def client_at(stub: OpenAIStub, model: Any = "gpt-4o-mini", **settings: Any) -> LLMClient:
    """A client of the stub whose waits take no time."""
    clock = settings.setdefault("clock", FakeClock())
    return LLMClient(model, base_url=stub.base_url, **{"sleep": clock.sleep, "chance": lambda: 0.5, **settings})


async def ask(client: LLMClient, *prompts: Any, **settings: Any) -> list[APIResponse]:
    return await client.process_prompts_async(prompts, show_progress=False, **settings)


@pytest.fixture(autouse=True)
def no_keys_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)


async def test_the_whole_history_goes_with_every_request() -> None:
    """A1.3"""
    with OpenAIStub() as stub:
        client, conversation = client_at(stub), Conversation.system("Be brief.")
        for number in range(3):
            conversation.add(Message.user(f"question {number}"))
            response = (await ask(client, conversation))[0]
            assert response.completion is not None
            conversation.add(Message.ai(response.completion))
    assert [len(sent["messages"]) for sent in stub.posts] == [2, 4, 6]
    assert stub.posts[2]["messages"] == conversation.to_openai()[:-1]


async def test_settings_are_on_the_wire() -> None:
    """A1.4"""
    with OpenAIStub() as stub:
        await ask(
            client_at(stub, max_new_tokens=500, temperature=0.7, stop=["END"], seed=5, extra={"top_p": 0.5}), "hi"
        )
        await ask(client_at(stub, temperature=0), "hi")
    sent = stub.posts[0]
    assert (sent["max_tokens"], sent["temperature"]) == (500, 0.7)
    assert (sent["stop"], sent["seed"], sent["top_p"]) == (["END"], 5, 0.5)
    assert (stub.posts[1]["max_tokens"], stub.posts[1]["temperature"]) == (512, 0)


async def test_the_61st_call_in_a_minute_waits() -> None:
    """A1.4"""
    clock = FakeClock()
    with OpenAIStub() as stub:
        client = client_at(stub, max_requests_per_minute=60, clock=clock)
        await ask(client, *map(str, range(60)))
        assert clock.waits == []
        await ask(client, "the 61st")
    assert clock.waits == [60.0]


async def test_responses_come_in_order_and_one_failure_spares_the_others() -> None:
    """A1.5"""

    def answer(body: Any) -> str:
        return f"re: {body['messages'][-1]['content']}"

    def fail(request: Request) -> Failure | None:
        return Failure(400) if b"bad" in request.body else None

    with OpenAIStub(answer) as stub:
        stub.fail_when(fail)
        responses = await ask(client_at(stub), "one", "bad", "three")
    assert [response.completion for response in responses] == ["re: one", None, "re: three"]
    assert [response.is_error for response in responses] == [False, True, False]


async def test_a_refused_key_is_an_error_with_its_message() -> None:
    """A1.5"""
    with OpenAIStub(api_key="right") as stub:
        conversation = Conversation.user("hi")
        response = (await ask(client_at(stub, api_key="wrong"), conversation))[0]
    assert (response.is_error, response.completion, response.status_code) == (True, None, 401)
    assert "Incorrect API key" in (response.error_message or "")
    assert conversation.messages == [Message.user("hi")]


async def test_two_failures_then_a_reply_take_three_calls_with_growing_waits() -> None:
    """A1.6"""
    clock = FakeClock()
    with OpenAIStub() as stub:
        stub.fail(500, times=2)
        response = (await ask(client_at(stub, clock=clock), "hi"))[0]
    assert (response.completion, response.attempts, len(stub.requests)) == ("Hello from the stub.", 3, 3)
    assert 0 < clock.waits[0] < clock.waits[1]


async def test_retry_after_is_honoured_by_all_requests_of_the_model() -> None:
    """A1.6"""
    clock = FakeClock()
    with OpenAIStub() as stub:
        stub.fail(429, retry_after="2")
        began = clock.now
        response = (await ask(client_at(stub, clock=clock), "hi"))[0]
    assert not response.is_error
    assert clock.now - began >= 2.0


async def test_after_a_429_the_next_prompt_keeps_the_silence_too() -> None:
    clock = FakeClock()
    with OpenAIStub() as stub:
        stub.fail(429, retry_after="7")
        client = client_at(stub, clock=clock, max_attempts=1)
        assert (await ask(client, "first"))[0].is_error
        assert not (await ask(client, "second"))[0].is_error
    assert clock.waits == [7.0]


async def test_a_model_that_asks_for_an_hour_is_left_out_for_an_hour() -> None:
    clock = FakeClock()
    with OpenAIStub() as stub:
        stub.fail(429, retry_after="3600")
        client = client_at(stub, ["A", "B"], clock=clock)
        assert [(await ask(client, "hi"))[0].model_used for _ in range(2)] == ["B", "B"]
        clock.now += 3601
        assert (await ask(client, "hi"))[0].model_used == "A"
    assert clock.waits == []


async def test_counted_tokens_take_the_place_of_the_estimated_ones() -> None:
    clock = FakeClock()
    with OpenAIStub() as stub:
        client = client_at(stub, max_new_tokens=600, max_tokens_per_minute=1000, clock=clock)
        await ask(client, "one")
        await ask(client, "two")
        assert clock.waits == []
        client = client_at(stub, max_new_tokens=600, max_tokens_per_minute=1000, clock=clock)
        await ask(client, "one", "two")
        assert clock.waits == [60.0], "at the same time only the estimates are known"


async def test_an_endpoint_that_always_fails_is_asked_so_often_and_no_more() -> None:
    """A1.6"""
    with OpenAIStub() as stub:
        stub.fail(500, times=99)
        response = (await ask(client_at(stub, max_attempts=4), "hi"))[0]
    assert (len(stub.requests), response.attempts) == (4, 4)
    assert (response.is_error, response.completion, response.status_code) == (True, None, 500)


def only_model(name: str, status: int) -> Any:
    """Every other model fails."""
    return lambda request: None if request.json["model"] == name else Failure(status)


async def test_a_model_that_is_not_there_is_skipped_until_its_time_is_over() -> None:
    """A1.7"""
    clock = FakeClock()
    with OpenAIStub() as stub:
        stub.fail_when(only_model("B", 404))
        client = client_at(stub, ["A", "B"], clock=clock, block_seconds=300)
        responses = [(await ask(client, "hi"))[0] for _ in range(3)]
        assert [sent["model"] for sent in stub.posts] == ["A", "B", "B", "B"]
        clock.now += 301
        stub.fail_when(lambda request: None)
        responses += await ask(client, "hi")
    assert [response.model_used for response in responses] == ["B", "B", "B", "A"]
    assert clock.waits == []


async def test_when_every_model_is_blocked_the_reason_is_told() -> None:
    with OpenAIStub(api_key="right") as stub:
        client = client_at(stub, ["A", "B"])
        first, second = [(await ask(client, "hi"))[0] for _ in range(2)]
    assert len(stub.requests) == 2
    assert first.status_code == 401
    assert "Incorrect API key" in (second.error_message or "")


async def test_an_overloaded_model_gives_way_to_the_next_without_a_wait() -> None:
    clock = FakeClock()
    with OpenAIStub() as stub:
        stub.fail_when(only_model("B", 503))
        response = (await ask(client_at(stub, ["A", "B"], clock=clock), "hi"))[0]
    assert (response.model_used, response.attempts) == ("B", 2)
    assert clock.waits == []


async def test_a_sticky_conversation_stays_with_its_model() -> None:
    """A1.7"""
    draws = itertools.cycle([0.1, 0.9, 0.6, 0.3])
    with OpenAIStub() as stub:
        weighted = {"model_weights": [1, 1], "chance": lambda: next(draws)}
        sticky, fickle = (
            client_at(stub, ["A", "B"], prefer_model="last", **weighted),
            client_at(stub, ["A", "B"], **weighted),
        )
        used: dict[str, set[str]] = {}
        for name, client in (("sticky", sticky), ("fickle", fickle)):
            conversation = Conversation()
            for _ in range(10):
                response = (await ask(client, conversation.user("hi")))[0]
                conversation = Conversation.from_log(conversation.add_response(response).to_log())
                used.setdefault(name, set()).add(response.model_used)
    assert len(used["sticky"]) == 1
    assert used["fickle"] == {"A", "B"}


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_only_the_identical_request_hits_the_cache(kind: str, tmp_path: Path) -> None:
    """A1.9"""
    cache = MemoryCache() if kind == "memory" else SqliteCache(tmp_path / "replies.db")
    with OpenAIStub() as stub:
        first = (await ask(client_at(stub, "A", cache=cache), "hi"))[0]
        for settings in ({"temperature": 0.1}, {"model": "B"}, {"max_new_tokens": 5}, {"seed": 1}):
            other = (await ask(client_at(stub, **{"model": "A", "cache": cache, **settings}), "hi"))[0]
            assert not other.cached
        assert len(stub.requests) == 5
        client = client_at(stub, "A", cache=cache)
        hit = (await ask(client, "hi"))[0]
    assert len(stub.requests) == 5
    assert (hit.cached, hit.completion, hit.cost) == (True, first.completion, 0.0)
    assert (client.totals.cached, client.totals.prompt_tokens) == (1, 0)


async def test_cost_and_tokens_are_counted_for_each_and_in_all() -> None:
    """A1.10"""
    with OpenAIStub(["four words of reply"]) as stub:
        client = client_at(stub, prices={"gpt-4o-mini": Price(prompt=1.0, completion=10.0)})
        responses = await ask(client, "two words", "here are four words")
    assert [response.tokens_used for response in responses] == [6, 8]
    assert [response.cost for response in responses] == pytest.approx([42e-6, 44e-6])
    assert client.totals.cost == pytest.approx(86e-6)
    assert (client.totals.requests, client.totals.prompt_tokens, client.totals.completion_tokens) == (2, 6, 8)


async def test_missing_usage_counts_as_nothing_and_an_unknown_price_as_unknown() -> None:
    """A1.10"""
    with OpenAIStub(usage=False) as stub:
        silent = (await ask(client_at(stub), "hi"))[0]
    assert (silent.tokens_used, silent.cost, silent.completion) == (0, 0.0, "Hello from the stub.")
    with OpenAIStub() as stub:
        assert (await ask(client_at(stub, "somebody's-own"), "hi"))[0].cost is None


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("gpt-4o-mini", "OPENAI_API_KEY"),
        ("claude-4-sonnet", "ANTHROPIC_API_KEY"),
        ("gemini-2.0-flash", "GEMINI_API_KEY"),
        ("llama-3.3-70b", "TOGETHER_API_KEY"),
        ("groq/x", "GROQ_API_KEY"),
    ],
)
def test_a_missing_key_is_said_at_once_with_its_variable(
    model: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A1.13"""
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ModelError, match=variable):
        LLMClient(model)
    monkeypatch.setenv(variable, "sk-test")
    assert LLMClient(model).models == [model]


async def test_a_prompt_larger_than_the_minutes_tokens_fails_at_once() -> None:
    """A1.13"""
    clock = FakeClock()
    with OpenAIStub() as stub:
        response = (await ask(client_at(stub, max_tokens_per_minute=100, clock=clock), "hi"))[0]
    assert (stub.requests, clock.waits) == ([], [])
    assert "tokens per minute" in (response.error_message or "")


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("m", {"max_new_tokens": 0}),
        ("m", {"temperature": -1}),
        ("m", {"max_concurrent_requests": 0}),
        ("m", {"max_requests_per_minute": 0}),
        ([], {}),
        (["a", "b"], {"model_weights": [1]}),
        (["a", "b"], {"model_weights": [2, -1]}),
        (["a", "b"], {"model_weights": [0, 0]}),
        ("m", {"temperature": "hot"}),
        ("m", {"max_new_tokens": "many"}),
        ("m", {"request_timeout": 0}),
    ],
)
def test_a_setting_that_cannot_be_is_refused(model: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|at least"):
        LLMClient(model, base_url="http://127.0.0.1:9", **settings)


def test_a_model_to_stay_with_must_be_one_of_them() -> None:
    with pytest.raises(ValueError, match="prefer_model 'c' is none of the models: a, b"):
        LLMClient(["a", "b"], base_url="http://127.0.0.1:9", prefer_model="c")


def test_what_is_no_model_is_refused_with_what_would_be_one() -> None:
    with pytest.raises(TypeError, match="int is no model: give a model's name"):
        LLMClient(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("prompts", ["hello", Conversation.user("hello"), {"role": "user", "content": "hello"}])
def test_a_single_prompt_is_not_taken_apart(prompts: Any) -> None:
    script = ScriptedModel(["hi"], cycle=True)
    with pytest.raises(ValueError, match=r"prompts is a list, not one \w+: for a single one, \[prompt\]"):
        LLMClient(script).process_prompts_sync(prompts, show_progress=False)
    assert not script.prompts


@pytest.mark.parametrize("wrong", [None, 5, {"role": "user", "content": "hello"}, [Message.user("hello")]])
async def test_what_is_no_prompt_is_told_before_anything_is_sent(wrong: Any) -> None:
    script = ScriptedModel(["hi"], cycle=True)
    with pytest.raises(ValueError, match=r"(a conversation|a message) is a .*, not"):
        await ask(LLMClient(script), "hello", wrong)
    assert not script.prompts


async def test_a_model_that_breaks_spares_the_other_prompts(caplog: pytest.LogCaptureFixture) -> None:
    """A1.5"""

    def script(prompt: Any) -> str:
        return {"a": "one", "b": "two"}[prompt[-1]["content"]]

    responses = await ask(LLMClient(ScriptedModel(script)), "a", "c", "b")
    assert [response.completion for response in responses] == ["one", None, "two"]
    assert responses[1].error_message == "KeyError: 'c'" and "Traceback" in caplog.text


async def test_what_cannot_be_sent_as_json_is_an_error_response() -> None:
    with OpenAIStub() as stub:
        for cache in (None, MemoryCache()):
            (response,) = await ask(client_at(stub, extra={"metadata": {1}}, cache=cache), "hi")
            assert response.error_message == "TypeError: Object of type set is not JSON serializable"
    assert not stub.requests


@pytest.mark.parametrize("fails", ["get", "put"])
async def test_a_cache_that_fails_costs_nobody_an_answer(fails: str, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(MemoryCache):
        def get(self, key: str) -> LLMResponse | None:
            if fails == "get":
                raise KeyError("usage")
            return super().get(key)

        def put(self, key: str, response: LLMResponse) -> None:
            raise sqlite3.OperationalError("database or disk is full")

    client = LLMClient(ScriptedModel(["one", "two"]), cache=Failing())
    assert [response.completion for response in await ask(client, "a", "b")] == ["one", "two"]
    assert "OperationalError: database or disk is full" in caplog.text
    assert ("KeyError" in caplog.text) == (fails == "get")


def test_a_cache_that_cannot_be_opened_names_its_file(tmp_path: Path) -> None:
    SqliteCache(tmp_path / "new" / "replies.db").close()
    (tmp_path / "notes.txt").write_text("no database, as is plain to see from its first line")
    for path in (tmp_path, tmp_path / "notes.txt", tmp_path / "notes.txt" / "replies.db"):
        with pytest.raises(PalaverError, match=f"cannot keep replies in {path}: "):
            SqliteCache(path)


async def test_one_stop_string_is_one_and_not_its_letters() -> None:
    client = LLMClient(ScriptedModel(["To be. Nor END. END"]), stop=" END")
    assert (await ask(client, "a"))[0].completion == "To be. Nor"


def test_starting_without_a_loop_leaves_nothing_behind() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        LLMClient(ScriptedModel([])).start("hi")


def test_a_name_that_leads_nowhere_is_refused_with_the_names_that_do() -> None:
    with pytest.raises(ModelError, match="openai, anthropic"):
        LLMClient("nobody's-model")


async def test_any_model_object_will_do() -> None:
    client = LLMClient(ScriptedModel(["one", ModelError("out of memory")], name="script"))
    good, bad = await ask(client, "a", "b")
    assert (good.completion, good.model_used) == ("one", "script")
    assert (bad.is_error, bad.error_message) == (True, "out of memory")


async def test_a_local_failure_falls_back_too() -> None:
    broken = ScriptedModel([ModelError("out of memory")], name="local", cycle=True)
    client = LLMClient([broken, ScriptedModel(["here"], name="spare")])
    assert (await ask(client, "a"))[0].model_used == "spare"


async def test_tools_for_a_model_that_takes_none_are_an_error() -> None:
    client = LLMClient(ScriptedModel(["x"]))
    response = (await ask(client, "a", tools=[{"type": "function"}]))[0]
    assert "takes no tools" in (response.error_message or "")


async def test_tools_are_passed_through() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "dice", "arguments": "{}"}}
    tool = {"type": "function", "function": {"name": "dice"}}
    with OpenAIStub([{"content": None, "tool_calls": [call]}]) as stub:
        response = (await ask(client_at(stub), "roll", tools=[tool]))[0]
    assert stub.posts[0]["tools"] == [tool]
    assert (response.completion, list(response.tool_calls)) == (None, [call])


async def test_no_more_requests_than_allowed_are_under_way() -> None:
    with OpenAIStub(latency=0.02) as stub:
        await ask(client_at(stub, max_concurrent_requests=3), *map(str, range(12)))
    assert len({request.connection for request in stub.requests}) == 3


async def test_prompts_may_be_endless_and_are_taken_as_there_is_room() -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"prompt {taken}"

    model = ScriptedModel(lambda messages: messages[-1]["content"])
    answers = LLMClient(model, max_concurrent_requests=4).iter_prompts_async(endless())
    got = [response.completion async for _, response in _first(answers, 20)]
    await answers.aclose()
    assert sorted(got) == sorted(f"prompt {number}" for number in range(1, 21))
    assert taken <= 20 + 4


async def test_leaving_the_answers_early_closes_what_is_under_way() -> None:
    with OpenAIStub(hang=True) as stub:
        answers = client_at(stub).iter_prompts_async(["one", "two"])
        walking = asyncio.ensure_future(anext(answers))
        await asyncio.to_thread(stub.wait_for_requests, 2)
        walking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await walking
        await asyncio.to_thread(stub.wait_for_hang_up, 2)


async def _first(answers: Any, count: int) -> Any:
    for _ in range(count):
        yield await anext(answers)


async def test_started_prompts_are_given_out_once_in_any_order() -> None:
    with OpenAIStub(lambda body: f"re: {body['messages'][0]['content']}") as stub:
        async with client_at(stub) as client:
            first, second, third = (client.start(word) for word in ("one", "two", "three"))
            assert (await client.wait_for(second)).completion == "re: two"
            rest = {number: response.completion async for number, response in client.as_completed()}
            assert rest == {first: "re: one", third: "re: three"}
            with pytest.raises(KeyError):
                await client.wait_for(first)
            fourth = client.start("four")
            assert [response.completion for response in await client.wait_for_all()] == ["re: four"]
            with pytest.raises(KeyError):
                await client.wait_for(fourth)


async def test_what_was_started_and_never_waited_for_is_cancelled_on_close() -> None:
    with OpenAIStub(hang=True) as stub:
        async with client_at(stub) as client:
            client.start("one")
            number = client.start("two")
            await asyncio.to_thread(stub.wait_for_requests, 2)
            client.cancel(number)
            await asyncio.to_thread(stub.wait_for_hang_up)
        await asyncio.to_thread(stub.wait_for_hang_up, 2)


async def test_an_answer_can_be_walked_as_it_comes() -> None:
    with OpenAIStub() as stub:
        client = client_at(stub)
        stream = client.stream(Conversation.system("s").user("hi"))
        assert [piece async for piece in stream] == ["Hello", " from", " the", " stub."]
    assert stream.response.completion == "Hello from the stub."
    assert client.totals.requests == 1


async def test_a_stream_is_not_begun_again_after_its_first_word() -> None:
    with OpenAIStub(stop_after=1) as stub:
        stream = client_at(stub, ["A", "B"], request_timeout=1.0).stream("hi")
        assert [piece async for piece in stream] == ["Hello"]
        assert len(stub.requests) == 1
    assert stream.response.is_error


async def test_a_stop_button_ends_a_stream_with_what_had_come() -> None:
    cancel = Cancel()
    with OpenAIStub(stop_after=2) as stub:
        stream = client_at(stub).stream("hi", cancel=cancel)
        async for piece in stream:
            if piece == " from":
                cancel.press()
        await asyncio.to_thread(stub.wait_for_hang_up)
    assert (stream.response.completion, stream.response.stop_reason) == ("Hello from", "cancelled")


async def test_a_stop_button_also_ends_the_wait_between_attempts() -> None:
    cancel = Cancel()

    async def sleep(seconds: float) -> None:
        cancel.press()
        await asyncio.Event().wait()

    with OpenAIStub() as stub:
        stub.fail(503, times=9)
        stream = client_at(stub, sleep=sleep).stream("hi", cancel=cancel)
        assert [piece async for piece in stream] == []
        assert len(stub.requests) == 1


def test_the_blocking_twin_gives_the_same_and_one_client_serves_several_loops() -> None:
    with OpenAIStub() as stub:
        client = client_at(stub)
        blocking = client.process_prompts_sync(["hi"], show_progress=False)
        for _ in range(2):
            assert [r.completion for r in asyncio.run(ask(client, "hi"))] == [r.completion for r in blocking]


def test_the_progress_bar_is_one_line_at_the_end_where_there_is_no_terminal() -> None:
    clock, file = FakeClock(), io.StringIO()
    with Progress(4, file=file, clock=clock) as bar:
        for ok in (True, True, False, True):
            clock.now += 0.5
            bar.step(ok)
    assert file.getvalue() == "prompts [########################] 4/4, 2.0/s, 1 failed\n"


async def test_progress_is_shown_unless_told_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    client = LLMClient(ScriptedModel(["x"], cycle=True))
    await client.process_prompts_async(["a", "b"])
    assert "2/2" in capsys.readouterr().err
    await ask(client, "a")
    assert capsys.readouterr().err == ""


def test_importing_palaver_loads_no_model_library() -> None:
    script = (
        "import sys, palaver; from palaver import LLMClient, Conversation, Message; import palaver.completion;"
        "heavy = {'openai', 'torch', 'transformers', 'httpx2', 'aiohttp'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
