"""How a hub gets into a NATS server: certificates and credentials, never sent where TLS was asked for and is missing.

Files are read anew for each connection, so that what was renewed on the disk is used from then on.
"""

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from palaver.core.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from nats.aio.client import Client

WAYS: Final = "PALAVER_LOG_USER and PALAVER_LOG_PASSWORD, PALAVER_LOG_TOKEN, or --log-creds FILE"
"""What a server can be shown."""
UNCERTIFIED: Final = "it asks for a certificate of ours: --log-tls-cert and --log-tls-key"
UNTRUSTED: Final = "it does not trust our certificate (--log-tls-cert)"
_JWT: Final = re.compile(r"-+BEGIN NATS USER JWT-+\s+(\S+)")
_SEED: Final = re.compile(r"\bSU[A-Z2-7]{56}\b")


@dataclass(frozen=True, kw_only=True)
class Access:
    """What is shown to the servers of a log, and whom of them we trust. A URL's own user and password come first."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    creds: Path | None = None
    """A `.creds` file (signed user and seed) or a file with a user's nkey seed."""
    tls_ca: Path | None = None
    """Certificates to trust instead of this machine's; any of the three files asks for TLS."""
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def check(self) -> None:
        """Raise `ConfigError` (or `MissingExtra`) for what cannot be used as it is."""
        if bool(self.user) != bool(self.password):
            raise ConfigError("PALAVER_LOG_USER and PALAVER_LOG_PASSWORD go together")
        if sum((bool(self.user), bool(self.token), self.creds is not None)) > 1:
            raise ConfigError(f"a log's server is shown one of these: {WAYS}")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("--log-tls-cert and --log-tls-key go together: a certificate and its private key")
        self._tls()
        self._credentials()

    def wants_tls(self, url: str) -> bool:
        """Whether nothing may be said to this server in the clear."""
        return urlsplit(url).scheme == "tls" or self.tls_ca is not None or self.tls_cert is not None

    def shows(self, url: str) -> str:
        """What this server is shown, in words; empty for nothing."""
        split = urlsplit(url)
        if split.username:
            return "user and password" if split.password else "token"
        if self.creds is not None:
            return str(self.creds)
        return "user and password" if self.user else "token" if self.token else ""

    def client(self, url: str) -> "Client":
        """A client that says nothing in the clear where TLS was asked for; nats-py leaves that to the server."""
        try:
            from nats.aio.client import Client
            from nats.errors import SecureConnWantedError
        except ImportError as error:
            raise MissingExtra("nats-py", "nats") from error

        if not self.wants_tls(url):
            return Client()

        class OverTls(Client):
            def _connect_command(self) -> bytes:
                if not self._server_info.get("tls_required"):
                    raise SecureConnWantedError
                return super()._connect_command()

        return OverTls()

    def options(self, url: str) -> dict[str, Any]:
        """What `Client.connect` takes for this server; raises `ConfigError`."""
        split = urlsplit(url)
        tls = self._tls()
        options: dict[str, Any] = {} if tls is None else {"tls": tls}
        if split.username and split.password:
            return options | {"user": unquote(split.username), "password": unquote(split.password)}
        if split.username:
            return options | {"token": unquote(split.username)}
        return options | self._credentials()

    def _tls(self) -> ssl.SSLContext | None:
        if self.tls_ca is None and self.tls_cert is None:
            return None
        for flag, path in (("ca", self.tls_ca), ("cert", self.tls_cert), ("key", self.tls_key)):
            if path is not None:
                _read(f"--log-tls-{flag}", path)
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
        except ssl.SSLError:
            raise ConfigError(f"--log-tls-ca {self.tls_ca}: holds no certificate in PEM form") from None
        if self.tls_cert is not None:
            try:
                context.load_cert_chain(self.tls_cert, self.tls_key, password=lambda: "")
            except (ssl.SSLError, OSError) as error:
                where = f"--log-tls-cert {self.tls_cert}, --log-tls-key {self.tls_key}"
                wrong = "do not belong together" if "KEY_VALUES_MISMATCH" in str(error) else f"cannot be used: {error}"
                raise ConfigError(f"{where}: {wrong}") from error
        return context

    def _credentials(self) -> dict[str, Any]:
        if self.creds is None:
            given = {"token": self.token, "user": self.user, "password": self.password}
            return {name: value for name, value in given.items() if value}
        try:
            import nkeys  # noqa: F401  # what nats-py signs with
            from nats.aio.client import RawCredentials
        except ImportError as error:
            raise MissingExtra("nkeys", "nats") from error

        text = _read("--log-creds", self.creds)
        signed, seed = _JWT.search(text), _SEED.search(text)
        if seed is None:
            raise ConfigError(
                f"--log-creds {self.creds}: holds no seed of a user (SU…), neither in a .creds file nor bare"
            )
        if signed is None:
            return {"nkeys_seed_str": seed[0]}
        lines = ("-----BEGIN NATS USER JWT-----", signed[1], "-----BEGIN USER NKEY SEED-----", seed[0], "")
        return {"user_credentials": RawCredentials("\n".join(lines))}


def explain(error: BaseException, access: Access, url: str) -> str:
    """What was wrong when a server did not let us in, and what to do."""
    from nats.errors import SecureConnWantedError

    text, shows = words(error), access.shows(url)
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}; --log-tls-ca FILE names whom to trust"
        case ssl.SSLError() if "CERTIFICATE_REQUIRED" in text:
            return UNCERTIFIED
        case ssl.SSLError() if "ALERT_UNKNOWN_CA" in text or "ALERT_BAD_CERTIFICATE" in text:
            return UNTRUSTED
        case SecureConnWantedError():
            return "it speaks no TLS, which tls:// or --log-tls-… asks for; nothing was shown to it"
        case TimeoutError():
            return "it does not answer"
    admits = f"it does not admit our {shows}" if shows else f"it asks who we are: set {WAYS}"
    if "authorization violation" in text.lower():
        return admits
    if not isinstance(error, ConnectionResetError | BrokenPipeError):
        return text
    certified = UNTRUSTED if access.tls_cert else UNCERTIFIED
    reasons = [certified, admits] if access.wants_tls(url) else [admits]
    return f"it hung up before its reason was heard; perhaps {' or '.join(reasons)}"


def words(error: BaseException) -> str:
    """What an error says; nats-py's sometimes say nothing, or too much."""
    description = getattr(error, "description", None)
    return str(description or error).removeprefix("nats: ") or type(error).__name__


def _read(flag: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{flag} {path}: {error.strerror}") from error
