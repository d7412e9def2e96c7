"""Traces: a span for each turn, each reply and each message of a hub, joined up across processes."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, StatusCode

from palaver import otel, tracing
from palaver.cli.common import set_up_tracing
from palaver.core.errors import ConfigError, MissingExtra
from palaver.core.protocol import Join
from palaver.models.scripted import ScriptedModel
from palaver.participants.link import Link
from palaver.participants.participant import Participant
from palaver.participants.settings import Settings
from tests.hubs import Member, joined, running
from tests.processes import program
from tests.stubs.server import Answer, Request, StubServer

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What is traced while the test runs."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(otel.starter(provider))
    yield exporter
    tracing.use(None)
    provider.shutdown()


async def talk(ada: Member, url: str, *lines: Any, **fields: Any) -> list[dict[str, Any]]:
    """What the bot said to as many words of Ada's, after it has left."""
    async with Link(url, Join(name="Bot", role="model", deltas=False)) as link:
        task = asyncio.create_task(Participant(link, Settings(persona="You are Bot."), ScriptedModel(lines)).run())
        await ada.until("presence", name="Bot", state="joined")
        for line in lines:
            await ada.say("Hello, Bot!", **fields)
            await (ada.until("system") if isinstance(line, Exception) else ada.until("message", **{"from": "Bot"}))
        await link.close()
        await task
    return [message for message in ada.messages() if message["from"] == "Bot"]


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def ids(context: SpanContext | None) -> tuple[int, int] | None:
    return context and (context.trace_id, context.span_id)


def hexed(span: ReadableSpan) -> str:
    """The span's own `traceparent`."""
    assert span.context is not None
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-03"  # sampled, and a random id


async def test_turn_reply_and_delivery_are_one_trace(spans: InMemorySpanExporter) -> None:
    async with running() as hub, joined(hub.url, "Ada") as ada:
        said = await talk(ada, hub.url, "Good day.")
    found = by_name(spans)
    turn, reply, delivery = found["invoke_agent Bot"], found["chat scripted"], found["deliver main"]
    assert said[0]["meta"]["traceparent"] == hexed(turn)
    assert ids(reply.parent) == ids(delivery.parent) == ids(turn.context) and turn.parent is None
    assert turn.attributes is not None and reply.attributes is not None and delivery.attributes is not None
    assert turn.attributes["gen_ai.agent.name"] == "Bot" and turn.attributes["gen_ai.conversation.id"] == "main"
    assert str(turn.attributes["palaver.policy_reason"]).startswith("open: ")
    assert turn.attributes["palaver.seq"] == delivery.attributes["palaver.seq"] == said[0]["seq"]
    assert reply.attributes["gen_ai.operation.name"] == "chat"
    assert reply.attributes["gen_ai.request.model"] == "scripted"
    assert reply.attributes["gen_ai.usage.output_tokens"] == 2
    assert reply.attributes["gen_ai.response.finish_reasons"] == ("stop",)


async def test_a_turn_links_to_the_turn_that_it_answers(spans: InMemorySpanExporter) -> None:
    before = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with running() as hub, joined(hub.url, "Ada") as ada:
        await talk(ada, hub.url, "Good day.", meta={"traceparent": before})
    turn = by_name(spans)["invoke_agent Bot"]
    assert [f"{link.context.trace_id:032x}" for link in turn.links] == ["0af7651916cd43dd8448eb211c80319c"]


async def test_a_reply_that_failed_is_an_error_in_both_spans(spans: InMemorySpanExporter) -> None:
    async with running() as hub, joined(hub.url, "Ada") as ada:
        await talk(ada, hub.url, RuntimeError("the card is on fire"))
    found = by_name(spans)
    for name in ("invoke_agent Bot", "chat scripted"):
        assert found[name].status.status_code is StatusCode.ERROR
        assert "the card is on fire" in str(found[name].status.description)


@pytest.mark.parametrize("forged", ["", "x", 5, None, "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "00-" * 4000])
async def test_a_forged_traceparent_hurts_nobody(spans: InMemorySpanExporter, forged: Any) -> None:
    async with running() as hub, joined(hub.url, "Ada") as ada:
        assert (await ada.say("hello", meta={"traceparent": forged}))["type"] == "ack"
        assert await talk(ada, hub.url, "Good day.")


async def test_without_traces_no_message_speaks_of_one() -> None:
    assert not tracing.is_on()
    async with running() as hub, joined(hub.url, "Ada") as ada:
        said = await talk(ada, hub.url, "Good day.")
    assert "traceparent" not in said[0]["meta"]


def test_nothing_of_opentelemetry_is_loaded_unasked() -> None:
    parts = "palaver.cli.client, palaver.cli.user_sim, palaver.cli.server, palaver.hub.server, palaver.api.compose"
    program = f"import sys, {parts}; print(*[name for name in sys.modules if name.startswith('opentelemetry')])"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert (run.stdout.strip(), run.returncode) == ("", 0), run.stderr


def test_a_file_that_cannot_be_written_is_said() -> None:
    with pytest.raises(ConfigError, match="--trace /nowhere/spans: No such file"):
        otel.set_up("/nowhere/spans", service="test")


def test_without_the_extra_a_flag_is_an_error_and_a_variable_alone_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The variable may be there for other programs' sake."""
    monkeypatch.setitem(sys.modules, "palaver.otel", None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    set_up_tracing(None, "test")
    with pytest.raises(MissingExtra, match=r"palaver\[otel\]"):
        set_up_tracing("console", "test")
    assert not caplog.records
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    set_up_tracing(None, "test")
    assert "nothing is traced" in caplog.text and "palaver[otel]" in caplog.text


class Collector(StubServer):
    """Takes what is exported."""

    async def answer(self, request: Request, answer: Answer) -> None:
        answer.whole(200, {})


@pytest.mark.system
@pytest.mark.parametrize("target", ["otlp", "file", "console"])
async def test_a_client_and_a_hub_export_what_they_trace(target: str, tmp_path: Path) -> None:
    """In processes of their own; `otlp` is chosen by the environment alone, as collectors' users do."""
    script = tmp_path / "lines.txt"
    script.write_text("Good day.\n")
    with Collector() as collector:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
        if target == "otlp":
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
        asked = {"otlp": [], "console": ["--trace", "console"], "file": ["--trace", str(tmp_path / "spans.jsonl")]}
        async with running() as hub, joined(hub.url, "Ada") as ada:
            bot = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "palaver", "client", "--name", "Bot", "--backend", "scripted"),
                *("--model", str(script), "--server", hub.url, *asked[target]),
                cwd=ROOT,
                env=environment,
                stderr=asyncio.subprocess.PIPE,
            )
            await ada.until("presence", name="Bot", ready=True)
            await ada.say("Hello, Bot!")
            said = await ada.until("message", **{"from": "Bot"})
            bot.terminate()
            _, errors = await bot.communicate()
        assert bot.returncode == 0, errors.decode()
        trace = said["meta"]["traceparent"].split("-")[1]
        match target:
            case "otlp":
                assert [request.path for request in collector.requests] == ["/v1/traces"]
                assert bytes.fromhex(trace) in collector.requests[0].body
            case "file":
                written = [json.loads(line) for line in (tmp_path / "spans.jsonl").read_text().splitlines()]
                assert {span["name"] for span in written} == {"invoke_agent Bot", "chat lines.txt"}
                assert {span["context"]["trace_id"] for span in written} == {f"0x{trace}"}
            case "console":
                assert trace in errors.decode()


def a_span() -> ReadableSpan:
    span = TracerProvider().get_tracer("test").start_span("a span")
    span.end()
    assert isinstance(span, ReadableSpan)
    return span


@contextmanager
def collected(url: str) -> Iterator[otel.Collected]:
    """What sends spans there."""
    library = logging.getLogger(trace_exporter.__name__)
    exporter = otel.Collected(trace_exporter.OTLPSpanExporter(f"{url}/v1/traces", timeout=5), library)
    yield exporter
    exporter.shutdown()


def test_a_collector_that_takes_nothing_is_told_once_and_once_that_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with Collector() as collector, collected(collector.url) as exporter:
        collector.fail(401, times=2)
        took = [exporter.export([a_span()]) for _ in range(4)]
    assert took == [SpanExportResult.FAILURE] * 2 + [SpanExportResult.SUCCESS] * 2
    away, back = [record.getMessage() for record in caplog.records]
    assert away.startswith(
        "spans are lost until a collector takes them (401 Unauthorized): OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    assert back == "the collector is back; 2 spans are lost"


@pytest.mark.system
def test_a_collector_that_is_not_there_is_told_in_a_few_words(caplog: pytest.LogCaptureFixture) -> None:
    with collected("http://127.0.0.1:9") as exporter:
        assert exporter.export([a_span()]) is SpanExportResult.FAILURE
    [record] = caplog.records
    assert "takes them ([Errno 111] Connection refused): " in record.getMessage()


@pytest.mark.system
async def test_a_collector_that_never_answers_holds_up_no_exit(tmp_path: Path) -> None:
    """The SDK's own default is to try for 10 s."""
    (tmp_path / "lines.txt").write_text("Good day.\n")
    script = ("--backend", "scripted", "--model", str(tmp_path / "lines.txt"))
    with StubServer(hang=True) as collector:
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        async with (
            running() as hub,
            joined(hub.url, "Ada") as ada,
            program("client.py", "--name", "Bot", *script, "--server", hub.url, env=traced) as bot,
        ):
            await ada.until("presence", name="Bot", ready=True)
            await ada.say("Hello, Bot!")
            await ada.until("message", **{"from": "Bot"})
            began = asyncio.get_running_loop().time()
            bot.signal(signal.SIGTERM)
            assert await bot.exit() == 0
        assert asyncio.get_running_loop().time() - began < 8
        assert collector.requests and "Traceback" not in bot.output
