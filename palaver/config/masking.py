"""What must not be shown of a config: keys, tokens, passwords, headers, and what stands before the @ of a URL."""

import re
from collections.abc import Mapping
from typing import Any, Final

MASK: Final = "***"

_SECRET: Final = re.compile(
    r"((^|[^a-z])(api[-_]?key|key|token|secret|password|passwd|passphrase|authorization|auth|credentials?|cookie|bearer)"
    r"|[a-z](?-i:Key|Token|Secret|Password))$",
    re.IGNORECASE,
)
_PUBLIC_HEADERS: Final = frozenset({"content-type", "accept", "user-agent"})
_CREDENTIALS_IN_URL: Final = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY_OF_URL: Final = re.compile(r"(://[^?\s]+)\?\S+")


def is_secret(path: tuple[str | int, ...]) -> bool:
    """Whether the value at a key path is a secret by its name: `api_key`, `hub.token`, any header of a request."""
    names = [key for key in path if isinstance(key, str)]
    if not names:
        return False
    if any(name.lower() == "headers" for name in names[:-1]) and names[-1].lower() not in _PUBLIC_HEADERS:
        return True
    return _SECRET.search(names[-1]) is not None


def tells_secret(url: str) -> bool:
    """Whether a URL holds what stands before an @, or a query of which a part is a secret by its name."""
    _, _, query = url.partition("?")
    names = [part.partition("=")[0] for part in query.split("&")] if "://" in url else []
    return _CREDENTIALS_IN_URL.search(url) is not None or any(is_secret((name,)) for name in names)


def masked(value: Any, path: tuple[str | int, ...] = ()) -> Any:
    """`value` with every secret in it replaced by `***`; None and empty texts stay, for they tell nothing."""
    if isinstance(value, Mapping):
        return {key: masked(each, (*path, str(key))) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [masked(each, (*path, number)) for number, each in enumerate(value)]
    if is_secret(path):
        return MASK if value not in (None, "") else value
    if isinstance(value, str) and "://" in value:
        return _QUERY_OF_URL.sub(rf"\1?{MASK}", _CREDENTIALS_IN_URL.sub(f"{MASK}@", value))
    return value
