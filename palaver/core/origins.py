"""A page's origin, written as browsers say it."""

import re
from typing import Final

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@]+")


def tidy_origin(text: str) -> str:
    """Scheme, host, a port that is not the usual one, small letters, no slash at the end; raises ValueError."""
    origin = text.lower().rstrip("/")
    if origin != "null" and not _ORIGIN.fullmatch(origin):
        raise ValueError(f"{text!r} is no origin; give scheme, host and port, as https://chat.example")
    return re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", origin)
