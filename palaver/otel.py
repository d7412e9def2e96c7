"""Spans on OpenTelemetry's (extra `otel`): the only module that imports its packages, and is itself imported late."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from palaver import __version__, tracing
from palaver.core.errors import ConfigError, MissingExtra
from palaver.tracing import Kind, Span, Start

_KINDS: Final[Mapping[Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
}
_propagator: Final = TraceContextTextMapPropagator()


def set_up(target: str, *, service: str) -> None:
    """Trace to `otlp` (where OTEL_EXPORTER_OTLP_ENDPOINT says), `console` (stderr) or a file (JSON, a span a line).

    The last spans are sent when the process ends. Raises `MissingExtra`, or `ConfigError` for a file that cannot be
    written.
    """
    resource = Resource.create({"service.name": service}).merge(OTELResourceDetector().detect())  # the environment's
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(_exporter(target)))
    tracing.use(starter(provider))


def _exporter(target: str) -> SpanExporter:
    if target == "console":
        return ConsoleSpanExporter(out=sys.stderr, formatter=_line)
    if target == "otlp":
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError as error:
            raise MissingExtra("opentelemetry-exporter-otlp-proto-http", "otel") from error
        return OTLPSpanExporter()
    try:
        file = Path(target).open("a", encoding="utf-8")  # noqa: SIM115 - open until the process ends
    except OSError as error:
        raise ConfigError(f"--trace {target}: {error.strerror}; give otlp, console or a file") from error
    return ConsoleSpanExporter(out=file, formatter=_line)


def _line(span: Any) -> str:
    return f"{span.to_json(indent=None)}\n"


class OtelSpan(Span):
    """A span of OpenTelemetry's with our few verbs."""

    def __init__(self, span: trace.Span) -> None:
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, set_span_in_context(span, Context()))
        self.traceparent = carrier.get("traceparent", "")
        self._span = span

    def tell(self, attributes: Mapping[str, Any]) -> None:
        """Say more about it; what is None stays unsaid."""
        self._span.set_attributes({name: value for name, value in attributes.items() if value is not None})

    def link(self, traceparent: str) -> None:
        """It answers what that span made; what is no traceparent is left alone."""
        context = _context(traceparent)
        if context.is_valid:
            self._span.add_link(context)

    def fail(self, reason: str) -> None:
        """It did not succeed."""
        self._span.set_status(Status(StatusCode.ERROR, reason))

    def end(self) -> None:
        """It is over."""
        self._span.end()


def starter(provider: TracerProvider) -> Start:
    """What begins spans with `provider`."""
    tracer = provider.get_tracer("palaver", __version__)

    def start(name: str, attributes: Mapping[str, Any], *, kind: Kind, parent: str, began: float | None) -> OtelSpan:
        above = _propagator.extract({"traceparent": parent}, Context())
        nanoseconds = None if began is None else int(began * 1e9)
        span = OtelSpan(tracer.start_span(name, above, _KINDS[kind], start_time=nanoseconds))
        span.tell(attributes)
        return span

    return start


def _context(traceparent: str) -> SpanContext:
    return get_current_span(_propagator.extract({"traceparent": traceparent}, Context())).get_span_context()
