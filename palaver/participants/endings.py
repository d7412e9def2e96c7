"""How connections end: come back, or stay away; in words for people, and as our errors."""

import re
import socket
import ssl
from typing import Final

from websockets.client import process_exception
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidProxy, InvalidStatus

from palaver.core.errors import AccessDenied, ConfigError, NameTaken, PalaverError, ProtocolError
from palaver.core.protocol import Close, Error, Join

_LOST = 1006
"""The code of a connection that ended without a close frame (RFC 6455, 7.4.1)."""

_MISCALLED: Final = (62, 64)
"""OpenSSL's codes for a certificate of another host name, or another address (X509_V_ERR_…_MISMATCH)."""


def ends_with(error: Error) -> bool:
    """Whether the connection ends with this error: then it is told as the reason for that."""
    return error.code != Close.BAD_FRAME.name.lower() and error.code.upper() in Close.__members__


def is_over(closed: ConnectionClosed, join: Join, said: str) -> bool:
    """Whether the room has ended; False where one should come back, raises where the hub sends `join` away.

    `said` is the reason of an `error` frame that came before, if any.
    """
    code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (_LOST, "")
    text, where = said or reason, f"room {join.room!r}"
    match code:
        case Close.ROOM_ENDED:
            return True
        case Close.NAME_TAKEN:
            told = text or f"the name {join.name!r} is taken in {where}."
            raise NameTaken(f"{told} --name gives another")
        case Close.BAD_FRAME:
            raise ProtocolError(text or "the hub could not read what was sent to it")
        case Close.KICKED:
            raise AccessDenied(f"{join.name} was kicked out of {where}" + (f": {text}" if text else ""))
    if code < 4500:
        return False
    raise AccessDenied(text or f"the hub does not admit {join.name!r} to {where} (close code {code})")


def lost(closed: ConnectionClosed, said: str) -> str:
    """Why a connection that may be had again ended."""
    if closed.rcvd is None:
        return "the connection to the hub was lost"
    code = closed.rcvd.code
    if code == Close.GOING_AWAY and closed.rcvd.reason:
        return closed.rcvd.reason
    known = Close(code).name.lower().replace("_", " ") if code in list(Close) else f"code {code}"
    return f"the hub closed the connection: {said or closed.rcvd.reason or known}"


def unreached(url: str, error: Exception) -> str:
    """Why a hub could not be reached, where trying again may help; raises where it cannot."""
    if process_exception(error) is None:
        return f"no hub at {url}: {_hindrance(url, error)}"
    if isinstance(error, InvalidProxy):
        told = "give one like http://proxy.example:3128"
        shown = re.sub(r"//[^/@]*@", "//", error.proxy)
        raise ConfigError(f"--proxy {shown!r} is no proxy's URL ({error.msg}); {told}") from error
    if isinstance(error, InvalidStatus):
        told = _body(error) or "it does not admit us, or is no hub"
        raise AccessDenied(f"{url} answered HTTP {error.response.status_code}: {told}") from error
    raise PalaverError(f"{url} does not speak websocket: {error}") from error


def _hindrance(url: str, error: Exception) -> str:
    """What went wrong, and what to look at."""
    match error:
        case ssl.SSLCertVerificationError() if error.verify_code in _MISCALLED:
            return f"{error.verify_message.rstrip('.')}; call it by a name that its certificate is for"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}; --tls-ca FILE names whom to trust"
        case InvalidStatus():
            return _body(error) or str(error)
        case ConnectionRefusedError():
            return "nobody listens there (is server.py running, and is this its port?)"
    text = (isinstance(error, socket.gaierror) and error.strerror) or str(error) or type(error).__name__
    if url.startswith("wss:") and isinstance(error, ssl.SSLError | ConnectionResetError):
        return f"{text}; a hub without --tls-cert is reached by ws://"
    if url.startswith("ws:") and isinstance(error, InvalidMessage):
        return f"{text}; a hub with --tls-cert is reached by wss://"
    return text


def _body(error: InvalidStatus) -> str:
    """What was answered instead of a connection."""
    return (error.response.body or b"").decode(errors="replace").strip()[:200]
