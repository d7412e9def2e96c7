"""Who may join: a shared secret, compared in constant time; and which addresses are this machine's own."""

import hmac
import ipaddress
from collections.abc import Sequence

from palaver.core.errors import AccessDenied
from palaver.core.protocol import Join


class SharedSecret:
    """One token for everybody, and where `moderator` is given another for moderators. `None`: no token is asked."""

    def __init__(self, token: str | None = None, *, moderator: str | None = None) -> None:
        self._token = token
        self._moderator = moderator

    def admit(self, join: Join) -> None:
        """Raises `AccessDenied` unless the join's token opens its role."""
        wanted: Sequence[str | None] = (self._token, self._moderator)
        if join.role == "moderator" and self._moderator is not None:
            wanted = (self._moderator,)
        secrets = [secret.encode() for secret in wanted if secret is not None]
        if self._token is None and (join.role != "moderator" or self._moderator is None):
            return
        given = (join.token or "").encode()
        if not any([hmac.compare_digest(given, secret) for secret in secrets]):  # noqa: C419  all are compared
            what = "token is wrong" if join.token else "token is missing"
            raise AccessDenied(f"{what}: pass --token or set PALAVER_TOKEN")


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own, also one mapped into IPv6."""
    if host == "localhost" or host.endswith(".localhost"):  # nobody asks a name server for these (RFC 6761)
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return bool((mapped or address).is_loopback)
