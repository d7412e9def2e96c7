"""Somebody's own endpoints as models, against a real server."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import pytest

from palaver.core.errors import ConfigError
from palaver.core.protocol import Join
from palaver.models.model import Cancel, ChatMessage
from palaver.models.provider import GenerationFailed
from palaver.models.workflow import ModelResponse, RequestHandler, ResponseParser, WorkflowProvider, as_prompt
from palaver.participants.link import Link
from palaver.participants.participant import Participant
from palaver.participants.settings import Settings
from tests.hubs import joined, running
from tests.seeds import blocks, run, run_awaiting
from tests.stubs import HTTPStub

DOCUMENT: Mapping[str, Any] = {
    "Any": Any,
    "httpx": httpx2,
    "ModelResponse": ModelResponse,
    "RequestHandler": RequestHandler,
    "ResponseParser": ResponseParser,
}
"""What the document's blocks use without importing it."""


@pytest.fixture(autouse=True)
def registered_only_here() -> Iterator[None]:
    handlers, parsers = dict(WorkflowProvider._handlers), dict(WorkflowProvider._parsers)
    yield
    WorkflowProvider._handlers.clear()
    WorkflowProvider._handlers.update(handlers)
    WorkflowProvider._parsers.clear()
    WorkflowProvider._parsers.update(parsers)


def plain(stub: HTTPStub, path: str = "/generate", **settings: Any) -> WorkflowProvider:
    return WorkflowProvider("mine", {"endpoint": f"{stub.url}{path}"}, **settings)


def best_of(stub: HTTPStub, **config: Any) -> WorkflowProvider:
    names = {"request_handler": "sft_reward", "response_parser": "sft_reward"}
    addresses = {"sft_endpoint": f"{stub.url}/generate", "reward_endpoint": f"{stub.url}/score"}
    return WorkflowProvider("best", {**names, **addresses, **config})


# The default handler and parser


async def test_a_prompt_is_posted_and_its_answer_read(http_stub: HTTPStub) -> None:
    """A4.7, A4.9"""
    response = await plain(http_stub, temperature=0.0, max_tokens=7).generate("x")
    assert response.content == "reply to x"
    assert response.model == "mine"
    assert http_stub.posts == [{"prompt": "x", "temperature": 0.0, "max_tokens": 7}]


async def test_what_is_none_is_left_out(http_stub: HTTPStub) -> None:
    await plain(http_stub).generate("x", max_tokens=None, top_p=None, top_k=5)
    assert http_stub.posts == [{"prompt": "x", "temperature": 0.7, "top_k": 5}]


async def test_configured_headers_are_sent(http_stub: HTTPStub) -> None:
    headers = {"Authorization": "Bearer k", "X-Custom-Header": "value", "X-Number": 7}
    provider = WorkflowProvider("m", {"endpoint": f"{http_stub.url}/generate", "headers": headers})
    await provider.generate("x")
    sent = http_stub.requests[0].headers
    assert (sent["authorization"], sent["x-custom-header"], sent["x-number"]) == ("Bearer k", "value", "7")
    assert sent["content-type"] == "application/json"


@pytest.mark.parametrize(
    "answer",
    [
        {"output": "yes"},
        {"text": "yes"},
        {"response": "yes"},
        {"content": "yes"},
        '"yes"',
        {"output": None, "text": "yes"},
    ],
)
async def test_the_text_is_found_where_endpoints_put_it(answer: Any) -> None:
    with HTTPStub({"/generate": lambda body: answer}) as stub:
        assert (await plain(stub).generate("x")).content == "yes"


async def test_what_else_is_answered_is_usage_and_metadata() -> None:
    answer = {"output": "yes", "usage": {"total_tokens": 9}, "finish_reason": "length", "confidence": 0.5}
    with HTTPStub({"/generate": lambda body: answer}) as stub:
        response = await plain(stub).generate("x")
    assert response.usage == {"total_tokens": 9}
    assert response.finish_reason == "length"
    assert response.metadata == {"provider": "workflow", "confidence": 0.5}


@pytest.mark.parametrize("answer", [{"reply": "yes"}, {"output": 5}, {"output": {}}, [], "5", "null"])
async def test_an_answer_without_a_text_is_a_failure_and_not_a_reply(answer: Any) -> None:
    with (
        HTTPStub({"/generate": lambda body: answer}) as stub,
        pytest.raises(RuntimeError, match="no text under output, text, response, content"),
    ):
        await plain(stub).generate("x")


# What goes wrong


@pytest.mark.parametrize("handler", ["default", "sft_reward"])
async def test_an_error_status_is_a_runtime_error(http_stub: HTTPStub, handler: str) -> None:
    """A4.7"""
    http_stub.fail(500)
    provider = plain(http_stub) if handler == "default" else best_of(http_stub)
    with pytest.raises(RuntimeError, match="answered 500: scripted failure 500"):
        await provider.generate("x")


async def test_an_endpoint_that_is_down_is_a_runtime_error() -> None:
    """A4.9"""
    with HTTPStub() as stub:
        provider = plain(stub)
    with pytest.raises(RuntimeError, match=r"workflow 'mine': cannot connect to .* is the server running"):
        await provider.generate("x")


async def test_an_endpoint_that_hangs_is_a_runtime_error_in_time() -> None:
    with HTTPStub(hang=True) as stub:
        reply = await plain(stub, timeout=0.5).complete([{"role": "user", "content": "x"}])
    assert (reply.success, reply.stop_reason) == (False, "timeout")
    assert "0.5 s (timeout)" in (reply.error or "")


async def test_an_answer_that_is_no_json_is_a_runtime_error() -> None:
    with (
        HTTPStub({"/generate": lambda body: "<html>"}) as stub,
        pytest.raises(RuntimeError, match="did not answer with JSON but with '<html>'"),
    ):
        await plain(stub).generate("x")


async def test_an_error_shows_no_key_that_is_in_the_address(http_stub: HTTPStub) -> None:
    address = http_stub.url.replace("://", "://me:pw77@")
    provider = WorkflowProvider("m", {"endpoint": f"{address}/nowhere?key=sk-12345678"})
    with pytest.raises(RuntimeError, match=f"{http_stub.url}/nowhere answered 404") as caught:
        await provider.generate("x")
    assert http_stub.requests[0].path == "/nowhere?key=sk-12345678"
    assert "sk-1" not in str(caught.value).partition("answered")[0]
    assert "pw77" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"endpoint": "http://h", "request_handler": "defualt"},
            "request_handler 'defualt' is unknown; known: default",
        ),
        (
            {"endpoint": "http://h", "response_parser": "x"},
            "response_parser 'x' is unknown; known: default, sft_reward",
        ),
        ({}, "custom_config.endpoint is missing"),
        ({"request_handler": "sft_reward", "sft_endpoint": "http://h"}, "custom_config.reward_endpoint is missing"),
    ],
)
def test_a_config_that_cannot_work_is_refused(config: Mapping[str, Any], said: str) -> None:
    """A4.7"""
    with pytest.raises(ConfigError, match=said):
        WorkflowProvider("m", config)


async def test_whatever_a_custom_handler_raises_is_a_runtime_error() -> None:
    class Broken(RequestHandler):
        async def process(self, prompt: str, **kwargs: Any) -> Any:
            return kwargs["nothing"]

    WorkflowProvider.register_request_handler("broken", Broken)
    with pytest.raises(RuntimeError, match="KeyError: 'nothing'"):
        await WorkflowProvider("m", {"request_handler": "broken"}).generate("x")


# The best of several candidates


async def test_the_best_candidate_is_chosen(http_stub: HTTPStub) -> None:
    """A4.7"""
    response = await best_of(http_stub).generate("x", max_length=50)
    assert response.content == "candidate 5"
    assert response.metadata["provider"] == "workflow_sft_reward"
    assert response.metadata["selection_index"] == 5
    assert response.metadata["best_score"] == 1.0 == max(response.metadata["all_scores"])
    assert response.metadata["all_candidates"] == [f"candidate {number}" for number in range(10)]
    assert response.usage == {"candidates_generated": 10, "total_tokens": 0}
    first, second = http_stub.posts
    assert first == {"prompt": "x", "num_return_sequences": 10, "temperature": 0.7, "max_length": 50}
    assert second == {"prompt": "x", "responses": response.metadata["all_candidates"]}


async def test_what_was_not_said_is_not_sent_as_null(http_stub: HTTPStub) -> None:
    await best_of(http_stub, num_return_sequences=3).generate("x")
    assert http_stub.posts[0] == {"prompt": "x", "num_return_sequences": 3, "temperature": 0.7}


@pytest.mark.parametrize(
    ("generations", "scores", "said"),
    [
        ([], [], "sft_endpoint brought no candidates"),
        (None, [], "sft_endpoint answered without a list of generations"),
        (["a", "b"], [1.0], "2 candidates got the scores"),
        (["a", "b"], [1.0, None], "one number each is needed"),
        (["a"], None, "reward_endpoint answered without a list of scores"),
    ],
)
async def test_candidates_and_scores_that_do_not_fit_are_a_failure(generations: Any, scores: Any, said: str) -> None:
    routes = {"/generate": lambda body: {"generations": generations}, "/score": lambda body: {"scores": scores}}
    with HTTPStub(routes) as stub, pytest.raises(RuntimeError, match=said):
        await best_of(stub).generate("x")


# As a model in a conversation


ROOM: list[ChatMessage] = [
    {"role": "system", "content": "You are Bob."},
    {"role": "user", "content": "Alice: Hello\nCarol: Hi"},
    {"role": "assistant", "content": "Good day."},
    {"role": "user", "content": "Alice: What now?"},
]


def test_a_conversation_becomes_one_text() -> None:
    assert as_prompt(ROOM, ("\nAlice:", "\nCarol:")) == (
        "You are Bob.\n\nAlice: Hello\nCarol: Hi\n\nAssistant: Good day.\n\nAlice: What now?\n\nAssistant:"
    )
    assert as_prompt(ROOM[2:]) == "Assistant: Good day.\n\nUser: Alice: What now?\n\nAssistant:"
    assert as_prompt([{"role": "user", "content": "just this"}]) == "just this"


async def test_an_agent_gets_its_reply_from_the_workflow(http_stub: HTTPStub) -> None:
    """A4.7"""
    heard: list[str] = []
    reply = await best_of(http_stub).complete(ROOM, temperature=0.0, max_tokens=9, seed=3, on_text=heard.append)
    assert (reply.success, reply.content, reply.stop_reason) == (True, "candidate 5", "end")
    assert heard == ["candidate 5"]
    assert reply.provenance["metadata"]["selection_index"] == 5
    assert reply.provenance["request_handler"] == "sft_reward"
    sent = http_stub.posts[0]
    assert (sent["temperature"], sent["max_length"], sent["seed"]) == (0.0, 9, 3)
    assert sent["prompt"] == as_prompt(ROOM)


async def test_a_reply_ends_before_another_speaks_and_after_its_own_label() -> None:
    with HTTPStub({"/generate": lambda body: {"text": "Assistant: Yes.\nAlice: And I say no."}}) as stub:
        reply = await plain(stub).complete(ROOM, stop=("\nAlice:",))
    assert (reply.content, reply.stop_reason) == ("Yes.", "stop")


async def test_a_failure_in_a_conversation_is_data(http_stub: HTTPStub) -> None:
    http_stub.fail(503)
    reply = await plain(http_stub).complete(ROOM)
    assert (reply.success, reply.content, reply.stop_reason) == (False, "", "error")
    assert "answered 503" in (reply.error or "")
    assert reply.provenance["status"] == 503


async def test_usage_is_counted_as_the_endpoint_tells() -> None:
    usage = {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
    with HTTPStub({"/generate": lambda body: {"text": "yes", "usage": usage}}) as stub:
        reply = await plain(stub).complete(ROOM)
    assert (reply.tokens_used, reply.usage.prompt_tokens, reply.usage.completion_tokens) == (7, 4, 3)


async def test_a_pressed_cancel_hangs_up() -> None:
    cancel = Cancel()
    with HTTPStub(hang=True) as stub:

        def press() -> None:
            stub.wait_for_requests()
            cancel.press()

        thread = threading.Thread(target=press)
        thread.start()
        reply = await plain(stub).complete(ROOM, cancel=cancel)
        thread.join()
        assert (reply.stop_reason, reply.content) == ("cancelled", "")
        stub.wait_for_hang_up()


# The document's own handlers and parsers, word for word


async def test_the_documents_custom_processors_run() -> None:
    """A4.7, A4.20"""
    names = run(blocks("004")[2], DOCUMENT)
    assert WorkflowProvider._handlers["my_custom"] is names["MyCustomRequestHandler"]
    answer = {"generated_text": "made", "usage": {"total_tokens": 3}}
    with HTTPStub({"/v1/generate": lambda body: answer}) as stub:
        config = {"request_handler": "my_custom", "response_parser": "my_custom", "endpoint": f"{stub.url}/v1/generate"}
        response = await WorkflowProvider("custom-model", config, temperature=0.0, max_tokens=5).generate("Hello")
        assert stub.posts == [{"input_text": "Hello", "params": {"temperature": 0.0, "max_tokens": 5}}]
    assert (response.content, response.model, response.usage) == ("made", "my-custom", {"total_tokens": 3})


async def test_the_documents_ensemble_votes() -> None:
    """A4.8"""
    names = run(blocks("004")[3], DOCUMENT)
    WorkflowProvider.register_request_handler("ensemble", names["EnsembleRequestHandler"])
    WorkflowProvider.register_response_parser("ensemble", names["EnsembleResponseParser"])
    routes = {f"/{name}": lambda body, name=name, sure=sure: {"text": f"{name} says", "confidence": sure}
              for name, sure in (("a", 0.2), ("b", 0.9), ("c", 0.4))}  # fmt: skip
    with HTTPStub(routes) as stub:
        models = [{"name": name, "url": f"{stub.url}/{name}"} for name in "abc"]
        config = {"request_handler": "ensemble", "response_parser": "ensemble", "models": models}
        provider = WorkflowProvider("ensemble", config)
        response = await provider.generate("x")
        assert {post["prompt"] for post in stub.posts} == {"x"}
        reply = await provider.complete(ROOM)
    assert response.content == reply.content == "b says"
    assert response.model == "ensemble"
    assert response.metadata == {"ensemble_size": 3, "selected_model": "b", "confidence": 0.9}


async def test_the_documents_post_processing_runs() -> None:
    """A4.8"""
    names = run(blocks("004")[4], DOCUMENT)
    WorkflowProvider.register_request_handler("post", names["PostProcessingRequestHandler"])
    routes = {
        "/base": lambda body: {"text": f"teh {body['prompt']}"},
        "/check": lambda body: {"text": body["text"].replace("teh", "the"), "corrections": ["teh"]},
    }
    with HTTPStub(routes) as stub:
        endpoints = {"endpoint": f"{stub.url}/base", "post_process_endpoint": f"{stub.url}/check"}
        response = await WorkflowProvider("post", {"request_handler": "post", **endpoints}).generate("end")
    assert response.content == "the end"
    assert response.metadata["original"] == "teh end"
    assert response.metadata["corrections"] == ["teh"]


async def test_the_documents_error_handling_runs(http_stub: HTTPStub, capsys: pytest.CaptureFixture[str]) -> None:
    """A4.9, A4.20"""
    provider = plain(http_stub)
    await run_awaiting(blocks("004")[5], {"provider": provider})
    http_stub.fail(500)
    await run_awaiting(blocks("004")[5], {"provider": provider})
    first, second = capsys.readouterr().out.splitlines()
    assert first == "reply to Hello world"
    assert second.startswith("Generation failed: workflow 'mine': ")
    assert issubclass(GenerationFailed, RuntimeError)


# In a room


@pytest.mark.parametrize("kind", ["default", "sft_reward", "custom"])
async def test_a_workflow_takes_part_in_a_room(http_stub: HTTPStub, kind: str) -> None:
    """A4.7: agents reach their endpoint through a conversation, whatever handler they have."""

    class Shout(ResponseParser):
        def parse(self, raw_response: Any) -> ModelResponse:
            return ModelResponse(raw_response["output"].splitlines()[0].upper())

    WorkflowProvider.register_response_parser("shout", Shout)
    endpoint = {"endpoint": f"{http_stub.url}/generate"}
    custom = WorkflowProvider("custom", {**endpoint, "response_parser": "shout"}, max_tokens=9)
    model = {"default": plain(http_stub), "sft_reward": best_of(http_stub), "custom": custom}[kind]
    settings = Settings(persona="You are Bot.", temperature=0.0)
    join = Join(name="Bot", role="model", deltas=False, ready=True)
    async with running() as hub, joined(hub.url, "Ada") as ada, Link(hub.url, join) as link:
        taking_part = asyncio.create_task(Participant(link, settings, model).run())
        await ada.until("presence", name="Bot")
        await ada.say("Hello, Bot!")
        reply = await ada.until("message", **{"from": "Bot"})
        await link.close()
        await taking_part
    expected = {"default": "reply to You are Bot.", "sft_reward": "candidate 5", "custom": "REPLY TO YOU ARE BOT."}
    assert reply["content"].startswith(expected[kind])
    assert reply["meta"]["backend"] == "workflow"
    sent = http_stub.posts[0]
    assert sent["prompt"] == "You are Bot.\n\nAda: Hello, Bot!\n\nAssistant:"
    assert sent["temperature"] == 0.0
