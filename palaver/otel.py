"""Spans on OpenTelemetry's (extra `otel`): the only module that imports its packages, and is itself imported late."""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from palaver import __version__, tracing
from palaver.core.errors import ConfigError, MissingExtra
from palaver.tracing import Kind, Span, Start

logger = logging.getLogger(__name__)

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
            from opentelemetry.exporter.otlp.proto.http import trace_exporter
        except ImportError as error:
            raise MissingExtra("opentelemetry-exporter-otlp-proto-http", "otel") from error
        return Collected(trace_exporter.OTLPSpanExporter(), logging.getLogger(trace_exporter.__name__))
    try:
        file = Path(target).open("a", encoding="utf-8")  # noqa: SIM115 - open until the process ends
    except OSError as error:
        raise ConfigError(f"--trace {target}: {error.strerror}; give otlp, console or a file") from error
    return ConsoleSpanExporter(out=file, formatter=_line)


def _line(span: Any) -> str:
    return f"{span.to_json(indent=None)}\n"


class Collected(SpanExporter):
    """Spans on their way to a collector: a line when it is away, a line when it is back, and none between.

    What `library` logs, two long lines for each attempt, is heard for its reason only.
    """

    def __init__(self, exporter: SpanExporter, library: logging.Logger) -> None:
        self._exporter = exporter
        self._library = library
        self._lost = 0
        self._reason = ""
        library.addFilter(self._hear)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hand them over; what cannot be is lost."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._lost:
                logger.info("the collector is back; %d spans are lost", self._lost)
            self._lost = 0
            return result
        if not self._lost:
            where = "OTEL_EXPORTER_OTLP_ENDPOINT says where it is, else http://localhost:4318"
            logger.warning("spans are lost until a collector takes them (%s): %s", self._reason, where)
        self._lost += len(spans)
        return result

    def shutdown(self) -> None:
        """Give up what is under way."""
        self._exporter.shutdown()
        self._library.removeFilter(self._hear)

    def _hear(self, record: logging.LogRecord) -> bool:
        told = record.args if isinstance(record.args, tuple) else ()
        errors = [_root(word) for word in told if isinstance(word, BaseException)]
        words = errors or [str(word) for word in told if isinstance(word, int | str) and word != "spans"]
        self._reason = " ".join(words) or self._reason or record.getMessage()
        return False


def _root(error: BaseException) -> str:
    """What an error comes from, in its own words."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    return str(error) or type(error).__name__


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
