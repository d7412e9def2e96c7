"""Replies kept to be given again: the key is the whole request, so another model or temperature never hits."""

import hashlib
import json
import logging
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from palaver.core.errors import PalaverError
from palaver.models.model import LLMResponse, Usage

logger = logging.getLogger(__name__)


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


def look_up(cache: Cache, key: str) -> LLMResponse | None:
    """The reply kept under `key`, marked as `cached` in its provenance. A cache that fails holds nothing."""
    try:
        response = cache.get(key)
    except Exception as error:
        logger.warning("the cache cannot be read: %s: %s", type(error).__name__, error)
        return None
    return response and replace(response, provenance={**response.provenance, "cached": True})


def keep(cache: Cache, key: str, response: LLMResponse) -> None:
    """Keep a reply. A cache that fails costs nobody the reply."""
    try:
        cache.put(key, response)
    except Exception as error:
        logger.warning("a reply could not be cached: %s: %s", type(error).__name__, error)


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


_TABLE = "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT) WITHOUT ROWID"


class SqliteCache:
    """Keeps replies in a file, for as long as the file lives; several processes may share it.

    Raises `PalaverError` where `path` cannot be such a file.
    """

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.Lock()  # guards the connection
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise PalaverError(f"cannot keep replies in {path}: {error}") from error

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
