"""The vocabulary of failure: every error that Palaver raises itself.

A caller's mistake raises one of these; a peer's mistake is answered on the wire (`protocol.Nack`, `protocol.Error`).
"""


class PalaverError(Exception):
    """Root of everything that Palaver raises; its text says what was wrong and what to do."""


class ConfigError(PalaverError):
    """A flag, an environment variable or a config file that cannot be used as it is."""


class ProtocolError(PalaverError):
    """A frame that does not fit the wire (`docs/protocol.md`)."""


class CommandError(PalaverError):
    """A moderator's command that cannot be understood or carried out."""


class AccessDenied(PalaverError):
    """A token, name, role or origin that the hub does not admit."""


class NameTaken(AccessDenied):
    """Somebody else sits in the room under that name (letter case does not count)."""


class ModelError(PalaverError):
    """A model that cannot be loaded or cannot answer; the text names the flag or the extra that mends it."""


class MissingExtra(ModelError, ImportError):
    """A package of an optional extra, or several, are not installed."""

    def __init__(self, package: str, extra: str) -> None:
        are = "are" if "," in package else "is"
        super().__init__(f"{package} {are} not installed: run `pip install 'palaver[{extra}]'`")
        self.package = package
        self.extra = extra


class LogUnavailable(PalaverError):
    """The log cannot take entries at present (disk full, broker away); nothing was acknowledged."""
