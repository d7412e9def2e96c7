"""`client.py`: its flags, what it refuses, and whole processes in a room."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from palaver.cli import backends, client, common
from palaver.cli.seats import adapters_of, seats_of
from palaver.core.errors import ConfigError, ModelError
from palaver.core.prompt import own_words
from palaver.hub.auth import SharedSecret
from palaver.models.model import ChatMessage
from palaver.models.retry import RetryPolicy
from palaver.models.scripted import ScriptedModel
from tests.hubs import Member, joined, running
from tests.models.tiny_llama import save_adapter, save_tiny_llama
from tests.processes import ROOT, program
from tests.stubs import OpenAIStub


def flags(*arguments: str) -> Any:
    return client.parser().parse_args(["--name", "Bot", *arguments])


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A script."""
    path = tmp_path / "lines.txt"
    path.write_text("one\ntwo\nthree\n")
    return path


async def ready(watcher: Member, name: str) -> None:
    """Wait until the model of that name can answer."""
    async with asyncio.timeout(60):
        while not (await watcher.until("presence", name=name))["ready"]:
            pass


# --- flags ------------------------------------------------------------------------------------------------------------


def test_a_room_that_cannot_be_is_told_before_anything_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        flags("--room", "a b")
    assert "argument --room: room 'a b' must have 1 to 64 letters, digits" in capsys.readouterr().err


def test_flags_and_defaults_are_those_of_the_model_client() -> None:
    """A2.2, row 2.12"""
    assert (
        vars(flags()).items()
        >= {
            "device": "cpu",
            "gpu_id": 0,
            "temperature": 0.7,
            "max_generation_tokens": 100,
            "history_length": 5,
            "max_context_tokens": 2048,
            "delay": 0.0,
            "no_auto_truncate": False,
            "prompt_file": None,
            "initial_prompt": None,
            "server": "ws://127.0.0.1:8765",
            "log_level": "INFO",
            "model": "tiny",
        }.items()
    )


def test_a_name_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    """A2.2"""
    with pytest.raises(SystemExit) as ended:
        client.main([])
    assert ended.value.code == 2 and "--name" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        ("--device", "tpu"),
        ("--delay", "-1"),
        ("--history-length", "-1"),
        ("--temperature", "warm"),
        ("--threads", "9999999"),
        ("--bogus", "1"),
    ],
)
def test_values_that_cannot_be_are_exit_code_2(wrong: Sequence[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        flags(*wrong)
    assert ended.value.code == 2


def test_a_prompt_file_is_also_looked_for_among_the_shipped_ones(tmp_path: Path, monkeypatch: Any) -> None:
    """2.16"""
    monkeypatch.chdir(tmp_path)
    shipped = (ROOT / "prompts" / "sage.txt").read_text().strip()
    assert backends.prompt_text("sage.txt") == backends.prompt_text("sage") == shipped
    (tmp_path / "sage.txt").write_text("mine")
    assert backends.prompt_text("sage.txt") == "mine"


def test_personality_comes_from_the_file_then_from_the_flag_and_each_seat_has_its_own() -> None:
    """2.7"""
    sage, tinker = seats_of(flags("--prompt-file", "sage.txt", "--initial-prompt", "Hm.", "--persona", "T:poet"))
    assert sage.persona == f"{backends.prompt_text('sage')}\n\nHm."
    assert (tinker.name, tinker.persona) == ("T", backends.prompt_text("poet"))
    assert "You are Bot" in seats_of(flags())[0].persona


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (("--prompt-file", "nope.txt"), "--prompt-file nope.txt: cannot be read: no such file.*inventor.*sage"),
        (("--prompt-file", "/nope.txt"), "--prompt-file /nope.txt: cannot be read: No such file or directory$"),
        (("--persona", "Sage"), "must be NAME:FILE"),
        (("--persona", "BOT:sage"), "a name of its own"),
    ],
)
def test_a_personality_that_cannot_be_had_is_named(wrong: Sequence[str], text: str) -> None:
    """A2.16"""
    with pytest.raises(ConfigError, match=text):
        [seat.persona for seat in seats_of(flags(*wrong))]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "who sits there? --name NAME, --persona NAME:FILE or --personas FILE.yaml"),
        (["--prompt-file", "sage", "--persona", "T:poet"], "--prompt-file and --initial-prompt are of the seat that"),
    ],
)
def test_a_client_without_a_seat_is_refused(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        client._parsed(argv)
    assert f"client.py: error: {said}" in capsys.readouterr().err


def test_seats_with_personas_need_no_other_name() -> None:
    told = client._parsed(["--persona", "T:poet", "--persona", "Zen Sage:sage"])
    assert [seat.name for seat in seats_of(told)] == ["T", "Zen Sage"]


LISTED = """
- name: Zen  Sage
  prompt_file: sage
  lora: ./sage-adapter
  temperature: 0
- name: TinkerBot
  initial_prompt: You tinker.
  max_generation_tokens: 20
  seed: 4
"""


def test_a_yaml_list_seats_personas_with_adapters_and_settings_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "party.yaml"
    path.write_text(LISTED)
    told = client.parser().parse_args(["--personas", str(path), "--lora", "common", "--max-generation-tokens", "50"])
    sage, tinker = seats_of(told)
    assert (sage.name, sage.persona) == ("Zen Sage", backends.prompt_text("sage"))
    assert (sage.setting("temperature", told), tinker.setting("temperature", told)) == (0, 0.7)
    assert (sage.setting("max_generation_tokens", told), tinker.setting("max_generation_tokens", told)) == (50, 20)
    assert (sage.adapter(told), tinker.adapter(told)) == ("./sage-adapter", "common")
    assert adapters_of([sage, tinker], told) == ["common", "./sage-adapter"]
    assert [seat.name for seat in seats_of(flags("--personas", str(path)))] == ["Bot", "Zen Sage", "TinkerBot"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: Sage", "must be a list of seats"),
        ("[]", "must be a list of seats"),
        ("- nme: Sage", "seat 0, name: Field required; seat 0, nme: Extra inputs.*known keys: name, prompt_file"),
        ("- {name: A}\n- {name: B, temperature: -1}", "seat 1, temperature"),
        ("- Sage", "seat 0, it:"),
        ("- name: [", "is no YAML"),
        ("- name: bOT", "a name of its own"),
    ],
)
def test_a_list_of_personas_that_cannot_be_says_which_seat_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "party.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        seats_of(flags("--personas", str(path)))


def test_an_adapter_without_a_local_model_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"adapter x \(--lora\) needs a local model"):
        backends.Backend(flags("--lora", "x", "--api-base", "http://127.0.0.1:9/v1"), default="hf")


# --- backends ---------------------------------------------------------------------------------------------------------


def named(name: str) -> ScriptedModel:
    """A backend of somebody's own, for `module:object`."""
    return ScriptedModel([f"I am {name}"], name=name)


async def test_a_backend_of_the_users_own_is_called_with_the_models_name() -> None:
    backend = backends.Backend(flags("--backend", f"{__name__}:named", "--model", "mine"), default="hf")
    prompt: list[ChatMessage] = [{"role": "user", "content": "who?"}]
    assert (await (await backend.open("mine")).complete(prompt)).content == "I am mine"
    assert backend.context_tokens == 2048


def test_an_endpoint_is_chosen_by_its_address_and_a_missing_key_is_said_at_once(monkeypatch: Any) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert backends.Backend(flags("--api-base", "http://127.0.0.1:9/v1"), default="hf").name == "openai"
    with pytest.raises(ModelError, match="OPENAI_API_KEY"):
        backends.Backend(flags("--backend", "openai", "--model", "gpt-4o-mini"), default="hf")


def test_an_address_that_is_none_is_told_as_such_and_one_without_a_path_ends_in_v1() -> None:
    given = client.parser().parse_args(["--name", "A", "--model", "m", "--api-base", "gpu-box:8000/v1"])
    with pytest.raises(ConfigError, match="'gpu-box:8000/v1' is no address of the form http"):
        backends.Backend(given, default="hf")
    given.api_base = "http://gpu-box:8000"
    assert backends.Backend(given, default="hf")._endpoint("m")._where() == "http://gpu-box:8000/v1"


async def test_all_seats_of_a_client_keep_to_one_limit_of_their_endpoint(openai_stub: OpenAIStub) -> None:
    """The third request would have to wait for a minute, whichever seat asks it."""
    told = flags("--api-base", openai_stub.base_url, "--model", "stub-model", "--max-requests-per-minute", "2")
    backend = backends.Backend(told, default="hf")
    seats = [await backend.open("stub-model") for _ in range(3)]
    prompt: list[ChatMessage] = [{"role": "user", "content": "hi"}]
    asked = [asyncio.create_task(seat.complete(prompt)) for seat in seats]
    waiting = set(asked)
    while len(waiting) > 1:
        _, waiting = await asyncio.wait(waiting, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    assert len(openai_stub.posts) == 2
    for task in waiting:
        task.cancel()


async def test_an_endpoint_that_is_silent_is_given_up_after_the_time_that_was_said(openai_stub: OpenAIStub) -> None:
    openai_stub.hang = True
    told = flags("--api-base", openai_stub.base_url, "--model", "stub-model", "--request-timeout", "0.2")
    model = await backends.Backend(told, default="hf").open("stub-model")
    model._retry = RetryPolicy(attempts=1)  # type: ignore[attr-defined]  # an endpoint's
    reply = await model.complete([{"role": "user", "content": "hi"}])
    assert reply.stop_reason == "timeout"


def test_a_script_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="'tiny' must be a file"):
        backends.Backend(flags("--backend", "scripted"), default="hf")


async def test_weights_are_loaded_once_for_several_seats_and_a_failed_load_is_tried_again(monkeypatch: Any) -> None:
    loads = []

    def load(name: str, *rest: Any) -> Any:
        loads.append(name)
        raise ModelError("no such weights")

    monkeypatch.setattr(backends, "_load", load)
    backend = backends.Backend(flags(), default="hf")
    for _ in range(2):
        with pytest.raises(ModelError, match="no such weights"):
            await backend.open("tiny")
    assert loads == ["tiny", "tiny"]
    await backend.close()


# --- whole processes --------------------------------------------------------------------------------------------------


@pytest.mark.system
async def test_a_local_model_says_that_it_is_loading_then_answers(tmp_path: Path) -> None:
    """A2.3, A2.13, A2.16: a missing card is a warning that the room sees, and the processor is taken."""
    log = tmp_path / "deep" / "bot.log"
    local = ("--device", "gpu", "--threads", "1", "--seed", "1", "--log-file", str(log))
    async with running() as hub, joined(hub.url, "Ann") as ann:
        bot = ("client.py", "--name", "Bot", "--prompt-file", "assistant", "--server", hub.url, *local)
        async with program(*bot, env={"CUDA_VISIBLE_DEVICES": ""}) as running_:
            await ann.until("presence", name="Bot", state="loading")
            await ready(ann, "Bot")
            told = [frame["text"] for frame in ann.seen if frame["type"] == "presence" and frame["state"] == "loading"]
            assert any("no CUDA card" in text for text in told)
            await ann.say("What is tea?")
            said = await ann.until("message", role="model")
            meta = said["meta"]
            assert (meta["model"], meta["backend"], meta["device"]) == ("tiny", "hf", "cpu")
            assert meta["prompt_tokens"] > 50 and meta["saw_to"] == 1 and meta["total_seconds"] > 0
            assert own_words(said["content"], "Bot", ["Ann", "Bot"]) == (said["content"], False)
            await running_.until("importing torch and transformers")
            await running_.until("Bot said message 2")
            running_.signal(signal.SIGINT)
            assert await running_.exit() == 0
    assert "Bot said message 2" in log.read_text() and "\x1b" not in log.read_text()


@pytest.mark.system
async def test_two_seats_share_one_model_in_one_process() -> None:
    async with running() as hub, joined(hub.url, "Ann", deltas=False) as ann:
        seats = ("--name", "Sage", "--prompt-file", "sage", "--persona", "Tinker:inventor")
        async with program("client.py", *seats, "--threads", "1", "--server", hub.url) as running_:
            async with asyncio.timeout(60):
                await running_.until("tiny is ready")
                for _ in range(2):
                    await ann.until("presence", state="ready")
            await ann.command("/policy round_robin")
            await ann.say("Hello, both of you.")
            assert {(await ann.until("message", role="model"))["from"] for _ in range(2)} == {"Sage", "Tinker"}
            running_.signal(signal.SIGTERM)
            assert await running_.exit() == 0
        assert running_.output.count("reading tiny") == 1


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft
@pytest.mark.system
async def test_each_persona_of_a_list_speaks_through_its_own_adapter(tmp_path: Path) -> None:
    """Two adapters on one base, loaded once; at temperature 0 the same question gets two answers."""
    pytest.importorskip("peft")
    base = save_tiny_llama(tmp_path / "base")
    for name, seed in (("red", 1), ("blue", 2)):
        save_adapter(tmp_path / name, seed)
    seats = "\n".join(f"- {{name: {n}, lora: {tmp_path / n}, initial_prompt: You., seed: 1}}" for n in ("red", "blue"))
    (tmp_path / "party.yaml").write_text(seats)
    async with running() as hub, joined(hub.url, "Ann", deltas=False) as ann:
        model = ("--model", str(base), "--temperature", "0", "--max-generation-tokens", "12", "--threads", "1")
        party = ("--personas", str(tmp_path / "party.yaml"), "--server", hub.url)
        async with program("client.py", *party, *model) as running_:
            for _ in range(2):
                await ann.until("presence", state="ready")
            await ann.command("/policy simultaneous")
            await ann.say("tell me about rain")
            said = {}
            for _ in range(2):
                message = await ann.until("message", role="model")
                said[message["from"]] = message
            running_.signal(signal.SIGTERM)
            assert await running_.exit() == 0
        assert running_.output.count(f"reading {base}") == 1
    assert {name: message["meta"]["adapter"] for name, message in said.items()} == {
        name: str(tmp_path / name) for name in ("red", "blue")
    }
    assert said["red"]["content"] != said["blue"]["content"]


@pytest.mark.system
async def test_a_model_that_cannot_be_loaded_leaves_with_the_reason_and_exit_code_1() -> None:
    """A2.16: `--gpu-id 99` never lands on another card, and a strict device is held to."""
    async with running() as hub, joined(hub.url, "Ann") as ann:
        for wrong in (("--gpu-id", "99"), ("--strict-device",)):
            bot = ("client.py", "--name", "Bot", "--server", hub.url, "--device", "gpu", *wrong)
            async with program(*bot, env={"CUDA_VISIBLE_DEVICES": ""}) as running_:
                assert await running_.exit() == 1
            assert "no CUDA card" in running_.output
            await ann.until("presence", name="Bot", state="left")


@pytest.mark.system
async def test_whoever_is_refused_says_why_and_does_not_exit_with_0(lines: Path) -> None:
    """A2.7, A2.18: a taken name in any case, a wrong token, a file that is missing."""
    scripted = ("--backend", "scripted", "--model", str(lines))
    async with running(auth=SharedSecret("secret")) as hub, joined(hub.url, "Bot", token="secret"):
        for wrong, text, code in (
            (("--name", "BOT", "--token", "secret"), "Name 'BOT' is already taken", 1),
            (("--name", "Other", "--token", "guess"), "token is wrong", 1),
            (("--name", "Other", "--prompt-file", "nope.txt"), "nope.txt", 2),
        ):
            async with program("client.py", *wrong, *scripted, "--server", hub.url) as refused:
                assert await refused.exit() == code
            assert text in refused.output and "Traceback" not in refused.output


@pytest.mark.system
async def test_a_client_without_a_hub_tries_again_visibly_and_can_be_stopped(lines: Path) -> None:
    """A2.8"""
    async with program(
        "client.py", "--name", "Bot", "--backend", "scripted", "--model", str(lines), "--server", "ws://127.0.0.1:9"
    ) as alone:
        await alone.until(r"no hub at ws://127\.0\.0\.1:9.*; trying")
        alone.signal(signal.SIGTERM)
        assert await alone.exit() == 0


@pytest.mark.system
async def test_replies_keep_their_distance_while_it_goes_on_listening(lines: Path) -> None:
    """A2.15"""
    async with running() as hub, joined(hub.url, "Ann", deltas=False) as ann:
        bot = ("client.py", "--name", "Bot", "--delay", "0.5", "--backend", "scripted", "--model", str(lines))
        async with program(*bot, "--server", hub.url):
            await ready(ann, "Bot")
            await ann.say("go")
            await ann.say("go on")
            first = await ann.until("message", content="one")
            assert first["meta"]["saw_to"] == 2
            await ann.say("and on")
            second = await ann.until("message", content="two")
            assert _seconds(second) - _seconds(first) >= 0.5


def _seconds(message: dict[str, Any]) -> float:
    hours, minutes, seconds = message["timestamp"][11:-1].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


@pytest.mark.system
async def test_the_log_of_a_client_has_no_line_for_each_request(openai_stub: OpenAIStub) -> None:
    async with running() as hub, joined(hub.url, "Ann") as ann:
        bot = ("client.py", "--name", "Bot", "--api-base", openai_stub.base_url, "--model", "m", "--server", hub.url)
        async with program(*bot, env={"OPENAI_API_KEY": "none"}) as running_:
            await ann.until_ready("Bot")
            await ann.say("hello")
            await ann.until("message", role="model")
            await running_.until("Bot said message 2")
            assert "HTTP Request" not in running_.output


def test_a_proxy_with_a_password_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALAVER_PROXY", "http://me:hush@proxy.example:3128")
    flags = client.parser().parse_args(["--name", "A"])
    assert common.proxy_of(flags) == "http://me:hush@proxy.example:3128"
    flags = client.parser().parse_args(["--name", "A", "--proxy", "http://other.example:3128"])
    assert common.proxy_of(flags) == "http://other.example:3128"
