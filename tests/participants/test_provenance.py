"""What made a message stands in its meta, whatever made it."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from palaver.core.prompt import Prompt
from palaver.core.protocol import Grant, Join
from palaver.core.provenance import NAMES, attributes
from palaver.models.model import LLMResponse, Model, Usage
from palaver.models.ollama import OllamaModel
from palaver.models.openai_api import OpenAIModel
from palaver.models.scripted import ScriptedModel
from palaver.models.workflow import WorkflowProvider
from palaver.participants.link import Link
from palaver.participants.participant import Participant
from palaver.participants.provenance import hash_of, meta_of, short_hash
from palaver.participants.settings import Settings
from palaver.participants.user_seat import UserSeat
from palaver.scenes import Agent, Scene, run_scene
from palaver.simulation import SimulatedUser, UserModel
from palaver.simulation.in_room import UserInRoom
from tests.hubs import joined, running
from tests.stubs import HTTPStub, OllamaStub, OpenAIStub

PROMPT = Prompt([{"role": "user", "content": "Ada: hi"}], saw_from=3, saw_to=7, trimmed=2, stop=())
GRANT = Grant(turn=9, epoch=1, lease=120, context=7, policy="mention", reason="mention: Ada named it")
ALWAYS = {"backend", "total_seconds", "stop_reason", "policy", "policy_reason", "prompt_hash", "persona_hash"}
ALWAYS |= {"prompt_parts", "request_hash", "saw_from", "saw_to", "trimmed"}
OF_A_MODEL = ALWAYS | {"model", "temperature", "max_tokens", "prompt_tokens", "completion_tokens", "reused_tokens"}
OF_A_MODEL |= {"queue_seconds", "prefill_seconds", "decode_seconds", "tokens_per_second"}


def response(**fields: object) -> LLMResponse:
    usage = Usage(10, 20, 4, queue_seconds=0.1, prefill_seconds=0.2, decode_seconds=0.5)
    provenance = {"backend": "hf", "device": "cpu", "seed": 5, "sampling": {"top_p": 0.9}, "trimmed_messages": 1}
    return LLMResponse("hello", 30, 0.8, "tiny", True, usage=usage, provenance={**provenance, **fields})


def test_meta_is_flat_json_and_names_all_that_made_the_reply() -> None:
    meta = meta_of(response(), PROMPT, Settings(persona="You are Bot."), GRANT, seed=None)
    assert json.loads(json.dumps(meta)) == meta
    assert not any(isinstance(value, dict | list) for value in meta.values())
    assert (meta["model"], meta["backend"], meta["device"], meta["seed"]) == ("tiny", "hf", "cpu", 5)
    assert (meta["prompt_tokens"], meta["completion_tokens"], meta["reused_tokens"]) == (10, 20, 4)
    assert (meta["saw_from"], meta["saw_to"], meta["trimmed"]) == (3, 7, 3)
    assert (meta["tokens_per_second"], meta["total_seconds"], meta["top_p"]) == (40.0, 0.8, 0.9)
    assert (meta["policy"], meta["policy_reason"]) == ("mention", "mention: Ada named it")
    assert meta["persona_hash"] == short_hash("You are Bot.") and len(meta["prompt_hash"]) == 16


def test_the_prompt_hash_tells_prompts_apart() -> None:
    assert hash_of([{"role": "user", "content": "a"}]) != hash_of([{"role": "user", "content": "b"}])


def test_what_nobody_told_is_left_out() -> None:
    bare = LLMResponse("hi", 0, 0.0, "api", True)
    meta = meta_of(bare, PROMPT, Settings(), GRANT, seed=None)
    assert not {"seed", "device", "persona_hash", "spoke_for_other", "cost", "top_p"} & meta.keys()


def test_a_temperature_that_was_not_sent_is_not_claimed() -> None:
    meta = meta_of(response(temperature=None), PROMPT, Settings(temperature=0.7), GRANT, seed=None)
    assert "temperature" not in meta


def test_a_provider_s_price_is_told_and_one_s_own_endpoint_costs_nothing() -> None:
    reply = response(endpoint="https://api.openai.com/v1")
    reply.model_used = "gpt-4o-mini"
    told = meta_of(reply, PROMPT, Settings(), GRANT, seed=None)
    assert told["cost"] == pytest.approx((6 * 0.15 + 4 * 0.075 + 20 * 0.6) / 1e6)
    reply.provenance = {"endpoint": "http://gpu-box:8000/v1"}
    assert "cost" not in meta_of(reply, PROMPT, Settings(), GRANT, seed=None)


def test_names_of_opentelemetry_are_those_of_its_conventions() -> None:
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, openai_attributes

    known = {str(value) for module in (gen_ai_attributes, openai_attributes) for value in vars(module).values()}
    ours = {name.otel for name in NAMES.values() if name.otel}
    assert ours and ours <= known
    assert {"gen_ai.operation.name", "gen_ai.agent.name", "gen_ai.conversation.id"} <= known


def test_meta_in_opentelemetry_s_words_loses_nothing() -> None:
    meta = meta_of(response(), PROMPT, Settings(persona="You are Bot."), GRANT, seed=None)
    told = attributes(meta)
    assert (told["gen_ai.request.model"], told["gen_ai.usage.output_tokens"]) == ("tiny", 20)
    assert told["gen_ai.response.finish_reasons"] == ("stop",) and told["palaver.stop_reason"] == "end"
    assert told["palaver.policy_reason"] == "mention: Ada named it"
    assert len(told) == len(meta) + 1


# --- whatever speaks --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def seated(hub: str, model: Model) -> AsyncIterator[None]:
    """A participant under that model, seed and temperature given."""
    settings = Settings(persona="You are Bot.", temperature=0.3, max_tokens=8, seed=11)
    async with Link(hub, Join(name="Bot", role="model")) as link:
        task = asyncio.create_task(Participant(link, settings, model).run())
        yield
        await link.close()
        await task


async def meta_by(model: Model) -> dict[str, Any]:
    """The meta of what the model says in a room."""
    async with running() as hub, joined(hub.url, "Ada") as ada, seated(hub.url, model):
        await ada.until("presence", name="Bot")
        await ada.say("Hello, Bot!")
        meta: dict[str, Any] = (await ada.until("message", **{"from": "Bot"}))["meta"]
    assert meta.keys() <= NAMES.keys(), f"without a name: {meta.keys() - NAMES.keys()}"
    assert meta["persona_hash"] == short_hash("You are Bot.")
    return meta


async def test_a_local_model_tells_weights_template_sampling_and_times() -> None:
    from palaver.models.hf import HFModel, load

    weights = await asyncio.to_thread(load, "tiny", threads=1)
    try:
        meta = await meta_by(HFModel(weights, top_p=0.9))
    finally:
        await asyncio.to_thread(weights.close)
    told = {"revision", "dtype", "device", "template_hash", "seed", "top_p", "top_k", "min_p", "repetition_penalty"}
    assert meta.keys() >= OF_A_MODEL | told
    assert (meta["backend"], meta["model"], meta["device"], meta["dtype"]) == ("hf", "tiny", "cpu", "float32")
    assert (meta["temperature"], meta["top_p"], meta["seed"], meta["max_tokens"]) == (0.3, 0.9, 11, 8)
    assert meta["prefill_seconds"] > 0 and meta["decode_seconds"] > 0 and meta["prompt_tokens"] > 5


async def test_an_api_tells_who_really_answered(openai_stub: OpenAIStub) -> None:
    extra = {"top_p": 0.8, "presence_penalty": 0.1}
    meta = await meta_by(OpenAIModel("stub-model", base_url=openai_stub.base_url, extra=extra))
    assert meta.keys() >= OF_A_MODEL | {"served_model", "seed"}
    assert (meta["backend"], meta["temperature"], meta["top_p"], meta["presence_penalty"]) == ("openai", 0.3, 0.8, 0.1)
    assert meta["completion_tokens"] > 0 and meta["decode_seconds"] >= 0
    assert "endpoint" not in meta, "addresses of one's own network stay at home"


async def test_ollama_tells_what_it_was_asked_for(ollama_stub: OllamaStub) -> None:
    extra = {"top_p": 0.9, "repeat_penalty": 1.1, "num_ctx": 4096}
    meta = await meta_by(OllamaModel("llama3.2", host=ollama_stub.url, extra=extra))
    assert meta.keys() >= OF_A_MODEL | {"seed"}
    assert (meta["backend"], meta["top_p"], meta["repetition_penalty"]) == ("ollama", 0.9, 1.1)


async def test_a_workflow_tells_its_model(http_stub: HTTPStub) -> None:
    meta = await meta_by(WorkflowProvider("mine", {"endpoint": f"{http_stub.url}/generate"}))
    assert meta.keys() >= OF_A_MODEL | {"served_model"}
    assert (meta["backend"], meta["model"]) == ("workflow", "mine")


async def test_a_script_tells_that_it_is_one() -> None:
    meta = await meta_by(ScriptedModel(["yes"]))
    assert meta.keys() >= OF_A_MODEL
    assert (meta["backend"], meta["policy"]) == ("scripted", "open") and meta["policy_reason"].startswith("open: ")


class Own(UserModel):
    """A user of somebody's own making."""

    def generate(self, messages: Sequence[Any]) -> str:
        return "And why?"


async def user_metas(user: UserModel, first: str = "") -> list[dict[str, Any]]:
    """The meta of each message of a simulated user."""
    async with running() as hub, joined(hub.url, "Watcher", "observer") as watcher, seated(hub.url, _answers()):
        async with Link(hub.url, Join(name="Uma", role="user_sim", deltas=False)) as link, asyncio.timeout(20):
            settings = Settings(persona="You are Uma.", temperature=0.2)
            await UserSeat(link, settings, UserInRoom(user, first_message=first), max_turns=2).run()
        await watcher.until("presence", state="left", name="Uma")
        metas: list[dict[str, Any]] = [said["meta"] for said in watcher.messages() if said["from"] == "Uma"]
    assert len(metas) == 2 and not any(meta.keys() - NAMES.keys() for meta in metas)
    return metas


def _answers() -> ScriptedModel:
    return ScriptedModel(["Because."], cycle=True)


async def test_a_simulated_user_tells_its_model_and_an_authored_line_claims_none() -> None:
    first, second = await user_metas(SimulatedUser(ScriptedModel(["Why?"])), first="Hello there.")
    assert first.keys() >= ALWAYS and first["backend"] == "authored"
    assert not first.keys() & {"model", "temperature", "max_tokens", "seed"}
    assert second.keys() >= OF_A_MODEL and (second["backend"], second["temperature"]) == ("scripted", 0.2)


async def test_a_user_of_one_s_own_making_claims_no_sampling() -> None:
    for meta in await user_metas(Own()):
        assert meta.keys() >= ALWAYS | {"model"} and meta["backend"] == "Own"
        assert not meta.keys() & {"temperature", "max_tokens"}


async def test_an_agent_of_a_scene_tells_its_action_and_how_often_it_was_asked() -> None:
    models: dict[str, Model] = {
        "a": ScriptedModel(['{"action_type": "fly"}', "Well then."]),
        "b": ScriptedModel(["Yes."]),
    }
    async with running() as hub, asyncio.timeout(30):
        scene = Scene([Agent("Ada", model="a"), Agent("Bob", model="b")], max_turns=1, order="sequential")
        log = await run_scene(scene, models, url=hub.url, room="scene")
    metas = {said.sender: dict(said.meta or {}) for said in log.messages if said.sender in ("Ada", "Bob")}
    assert all(meta.keys() >= OF_A_MODEL | {"action"} for meta in metas.values()), log.error
    assert metas["Ada"]["attempts"] == 2 and "attempts" not in metas["Bob"]
    assert metas["Ada"]["completion_tokens"] == 4, "the tokens of both answers"
