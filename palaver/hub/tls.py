"""A hub's certificate: read, matched with its key, and tried out once before anybody relies on it."""

import ssl
from pathlib import Path
from typing import Final, NoReturn

from palaver.core.errors import ConfigError

_EXPIRED: Final = 10
_NOT_YET: Final = 9
"""Codes of OpenSSL's verification (X509_V_ERR_…)."""


def server_tls(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """What a hub with these files speaks, `None` for plain `ws://`; raises `ConfigError`."""
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise ConfigError("--tls-cert and --tls-key go together: a certificate and its private key, both in PEM form")
    return server_context(Path(certificate), Path(key))


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a hub answers `wss://` and `https://` with; raises `ConfigError` where it could not."""
    for flag, path, wanted in (("--tls-cert", certificate, "CERTIFICATE"), ("--tls-key", key, "PRIVATE KEY")):
        try:
            text = path.read_text(encoding="ascii", errors="replace")
        except OSError as error:
            raise ConfigError(f"{flag} {path}: {error.strerror}") from error
        if f"{wanted}-----" not in text:
            raise ConfigError(f"{flag} {path}: holds no {wanted.lower()} in PEM form (-----BEGIN {wanted}-----)")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password=_ask_nobody)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"--tls-key {key}: does not belong to the certificate of {certificate}") from error
        raise ConfigError(f"--tls-cert {certificate}, --tls-key {key}: cannot be used: {error}") from error
    except _Locked:
        raise ConfigError(f"--tls-key {key}: is locked with a password; give one without") from None
    _try_out(context, certificate)
    return context


class _Locked(Exception):
    """A key with a password."""


def _ask_nobody() -> NoReturn:
    raise _Locked


def _try_out(context: ssl.SSLContext, certificate: Path) -> None:
    """Shake hands in memory with a client that trusts this certificate alone; raises `ConfigError` for its dates."""
    trusting = own_context(certificate)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(4):
            for side in (client, server):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLCertVerificationError as error:
        wrong = {_EXPIRED: "has expired", _NOT_YET: "is not valid yet"}.get(error.verify_code)
        if wrong is not None:
            raise ConfigError(
                f"--tls-cert {certificate}: {wrong}: get a new one, or set this machine's clock"
            ) from None
        raise ConfigError(f"--tls-cert {certificate}: cannot be used: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise ConfigError(f"--tls-cert {certificate}: cannot be used: {error}") from error


def own_context(certificate: Path) -> ssl.SSLContext:
    """For clients of this very process: this certificate and no other, whatever name they call it by."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(certificate)
    return context
