"""What goes wrong over HTTP, in words that say what to do, as `Refused` with its status and Retry-After."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from http.client import BAD_REQUEST, responses
from typing import TYPE_CHECKING, Any

from palaver.models import pool
from palaver.models.remote import Refused
from palaver.models.retry import retry_after_seconds

if TYPE_CHECKING:
    import aiohttp

_LONGEST_REASON = 500


@contextlib.asynccontextmanager
async def posted(
    url: str,
    document: Any,
    headers: Mapping[str, str],
    *,
    where: str,
    seconds: float,
    hint: Callable[[int], str] = lambda status: "",
) -> AsyncIterator["aiohttp.ClientResponse"]:
    """The answer to a document sent as JSON, whose body is still to be read; all failures are `Refused`.

    `where` is the address as errors show it, `hint` says what may help against a status.
    """
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    with told(where, seconds):
        answer = await pool.post(url, body, {"content-type": "application/json", **headers}, seconds=seconds)
        async with answer:
            if answer.status >= BAD_REQUEST:
                raise refusal(answer.status, answer.headers, await answer.read(), where, hint(answer.status))
            yield answer


@contextlib.contextmanager
def told(where: str, seconds: float) -> Iterator[None]:
    """Make `Refused` of what breaks on the way to `where`."""
    import aiohttp
    from aiohttp.http import HttpProcessingError

    try:
        yield
    except (aiohttp.ClientError, HttpProcessingError) as error:
        raise broken(error, where, seconds) from error


def refusal(status: int, headers: Mapping[str, str], body: bytes, where: str, hint: str = "") -> Refused:
    """An answer with an error status."""
    reason = f"{where} answered {status}: {_said(as_text(body)) or responses.get(status, 'no reason given')}"
    if hint:
        reason = f"{reason} ({hint})"
    return Refused(status, reason, retry_after=retry_after_seconds(headers, time.time()))


def broken(error: BaseException | None, where: str, seconds: float) -> Refused:
    """A connection that was never made, broke or stayed silent too long."""
    import aiohttp

    match error:
        case aiohttp.ClientProxyConnectionError(os_error=why) | aiohttp.ClientHttpProxyError(message=why):
            return Refused(0, f"cannot reach {where} through the environment's proxy: {why}")
        case aiohttp.ClientConnectorCertificateError():
            what = f"the certificate of {where} is not trusted: {error.certificate_error}"
            return Refused(400, f"{what}; SSL_CERT_FILE names whom to trust")
        case aiohttp.ClientConnectorSSLError():
            what = f"no TLS with {where}: {error.os_error}"
            return Refused(400, f"{what}; an endpoint that speaks none is reached by http://")
        case aiohttp.ClientConnectorError():
            return Refused(0, f"cannot connect to {where}: {error.os_error}; is the server running there?")
        case aiohttp.ConnectionTimeoutError():
            return Refused(0, f"cannot connect to {where}: no answer; is the server running there?")
        case aiohttp.ServerTimeoutError():
            return Refused(0, f"{where} said nothing for {seconds:g} s (timeout)", timed_out=True)
        case aiohttp.TooManyRedirects():
            return Refused(400, f"{where} sends from address to address and answers at none; is the URL right?")
        case aiohttp.ClientPayloadError():
            return Refused(0, f"the connection to {where} broke in the middle of its answer")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return Refused(400, f"{where!r} is not a URL of the form http://host:port: {error}")
        case _:
            return Refused(0, f"the connection to {where} broke: {str(error) or type(error).__name__}")


def unreadable(body: bytes | str, where: str, wanted: str) -> Refused:
    """An answer with a good status whose content is not what the protocol says."""
    return Refused(422, f"{where} did not answer with {wanted} but with {_short(as_text(body))!r}; is the URL right?")


def as_text(body: bytes | str) -> str:
    """A body to be shown to people."""
    return body if isinstance(body, str) else body.decode(errors="replace")


def _said(body: str) -> str:
    """The message within an error document, or the document."""
    try:
        document: Any = json.loads(body)
    except ValueError:
        return _short(body)
    for key in ("error", "message", "detail"):
        if isinstance(document, dict) and document.get(key):
            document = document[key]
    return _short(document if isinstance(document, str) else json.dumps(document))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"
