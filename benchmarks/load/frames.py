"""Websocket frames (RFC 6455) from the client's side, as raw bytes: as little as a load generator can do with."""

from typing import Final

TEXT: Final = 0x81
BINARY: Final = 0x82
CLOSE: Final = 0x88
PING: Final = 0x89
PONG: Final = 0x8A


def upgrade_request(host: str, port: int, path: str = "/") -> bytes:
    """The opening handshake. The key is that of RFC 6455 section 1.3; nobody here needs a fresh one."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def masked(payload: bytes, opcode: int = TEXT) -> bytes:
    """A client's frame. Its masking key is zero, which leaves the payload as it is and the hub's work the same."""
    size = len(payload)
    if size < 126:
        head = bytes((opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((opcode, 0xFF)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


def frame_at(data: bytes, start: int) -> tuple[int, int] | None:
    """Where the payload of the unmasked frame at `start` begins and ends; None while it is incomplete."""
    if len(data) < start + 2:
        return None
    size = data[start + 1]
    body = start + 2
    if size >= 126:
        width = 2 if size == 126 else 8
        body += width
        if len(data) < body:
            return None
        size = int.from_bytes(data[start + 2 : body], "big")
    return (body, body + size) if len(data) >= body + size else None
