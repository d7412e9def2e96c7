"""Replies kept to be given again: the key is the whole request, so another model or temperature never hits."""

import hashlib
import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from palaver.models.model import LLMResponse, Usage


class Cache(Protocol):
    """Where replies are kept. Used from any thread."""

    def get(self, key: str) -> LLMResponse | None:
        """The reply kept under `key`."""
        ...

    def put(self, key: str, response: LLMResponse) -> None:
        """Keep a reply."""
        ...


def request_key(request: Mapping[str, Any]) -> str:
    """The key of a request: model, endpoint, messages, sampling, tools, all of it. Raises TypeError if not JSON."""
    text = json.dumps(request, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def from_cache(response: LLMResponse) -> LLMResponse:
    """The same reply, marked: its provenance says `cached`."""
    return replace(response, provenance={**response.provenance, "cached": True})


class MemoryCache:
    """Keeps the `max_entries` replies used last, for as long as the process lives."""

    def __init__(self, max_entries: int = 10_000) -> None:
        self._max_entries = max_entries
        self._replies: OrderedDict[str, LLMResponse] = OrderedDict()
        self._lock = threading.Lock()  # guards _replies

    def get(self, key: str) -> LLMResponse | None:
        """The reply kept under `key`, which becomes the one used last."""
        with self._lock:
            if key in self._replies:
                self._replies.move_to_end(key)
            return self._replies.get(key)

    def put(self, key: str, response: LLMResponse) -> None:
        """Keep a reply; the one unused for longest goes when there is no room."""
        with self._lock:
            self._replies[key] = response
            self._replies.move_to_end(key)
            if len(self._replies) > self._max_entries:
                self._replies.popitem(last=False)


class SqliteCache:
    """Keeps replies in a file, for as long as the file lives; several processes may share it."""

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.Lock()  # guards the connection
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT) WITHOUT ROWID")

    def get(self, key: str) -> LLMResponse | None:
        """The reply kept under `key`."""
        with self._lock:
            row = self._database.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        return None if row is None else response_from_json(row[0])

    def put(self, key: str, response: LLMResponse) -> None:
        """Keep a reply."""
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", (key, response_to_json(response)))

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def response_to_json(response: LLMResponse) -> str:
    """A reply as one line of JSON."""
    return json.dumps(asdict(response), ensure_ascii=False)


def response_from_json(text: str) -> LLMResponse:
    """The reply again."""
    fields = json.loads(text)
    return LLMResponse(**{**fields, "usage": Usage(**fields["usage"])})
