"""What a hub counts, for `GET /metrics` (Prometheus text format). Label values are bounded."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CODES: Final = frozenset(
    {"paused", "muted", "stale_epoch", "no_floor", "not_allowed", "not_joined", "empty", "ended", "no_such_name"}
    | {"bad_command", "unavailable", "dropped", "rate_limited"}
)


class Metrics:
    """Counters of one hub, in a registry of their own, so that several hubs can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.messages = Counter("palaver_messages", "Messages published", ["role"], registry=self.registry)
        self.deliveries = Counter("palaver_deliveries", "Frames written to members", registry=self.registry)
        self.bytes = Counter("palaver_delivered_bytes", "Bytes written to members", registry=self.registry)
        self.nacks = Counter("palaver_nacks", "Frames refused", ["code"], registry=self.registry)
        self.errors = Counter("palaver_bad_frames", "Frames that fit no protocol", registry=self.registry)
        self.denied = Counter("palaver_denied", "Tokens that were not admitted", ["why"], registry=self.registry)
        self.slow = Counter("palaver_slow_members_cut", "Members cut for not reading", registry=self.registry)
        self.set_aside = Counter("palaver_members_set_aside", "Times a member fell behind", registry=self.registry)
        self.connected = Gauge("palaver_connected", "Members connected", ["role"], registry=self.registry)
        self.commit = Histogram(
            "palaver_log_commit_seconds",
            "Time of one commit of the log",
            buckets=(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
            registry=self.registry,
        )
        self.cancel = Histogram(
            "palaver_cancel_seconds",
            "From revoke to the client's answer, as it reports it",
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10),
            registry=self.registry,
        )

    def nack(self, code: str) -> None:
        """Count a refusal; codes that we do not know are counted as `other`."""
        self.nacks.labels(code if code in CODES else "other").inc()

    def waiting_bytes(self, measure: Callable[[], float]) -> None:
        """Report what `measure` gives as bytes that wait for members."""
        gauge = Gauge("palaver_waiting_bytes", "Bytes that wait for members", registry=self.registry)
        gauge.set_function(measure)

    def text(self) -> str:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry).decode()
