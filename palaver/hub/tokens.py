"""Signed tokens: a name, a role, rooms and an end, which a hub believes without having stored them (JWT, RFC 7519)."""

import math
import secrets
import time
from collections.abc import Sequence
from typing import Any, Final

import jwt
import msgspec

from palaver.core.errors import ConfigError, ProtocolError
from palaver.core.message import Role
from palaver.core.names import RoomName, tidy_name
from palaver.hub.auth import Auth, Denied, Rights, SharedSecret, missing

ALGORITHM: Final = "HS256"
"""The only one: with a choice, whoever makes a token would choose (RFC 8725, 3.1)."""
ISSUER: Final = "palaver"
AUDIENCE: Final = "palaver-hub"
SHORTEST_SECRET: Final = 32
"""Bytes: as many as the signature has (RFC 7518, 3.2)."""

_NEW_ONE: Final = "get a new one with `palaver token`"


class _Claims(msgspec.Struct, frozen=True):
    role: Role
    jti: str = ""
    sub: str | None = None
    rooms: tuple[RoomName, ...] | None = None
    exp: float | None = None
    forever: bool = False


class SignedTokens:
    """Makes and reads tokens under one secret, which the hub and whoever makes tokens know."""

    def __init__(self, secret: str) -> None:
        if len(secret.encode()) < SHORTEST_SECRET:
            raise ConfigError(
                f"PALAVER_SECRET has {len(secret.encode())} bytes and needs {SHORTEST_SECRET}: "
                "make one with `openssl rand -hex 32`"
            )
        self._secret = secret
        try:
            jwt.encode({}, secret, ALGORITHM)
        except jwt.PyJWTError as error:
            raise ConfigError(f"PALAVER_SECRET: {error}; make one with `openssl rand -hex 32`") from error

    def issue(
        self,
        role: Role,
        *,
        name: str | None = None,
        rooms: Sequence[str] = (),
        lasting: float | None,
        now: float | None = None,
    ) -> str:
        """A token for so many seconds, `None`: for ever. Without a name for any name, without rooms for all."""
        now = time.time() if now is None else now
        claims: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "iat": int(now), "jti": secrets.token_hex(6)}
        claims |= {"role": role} | ({"sub": name} if name else {}) | ({"rooms": list(rooms)} if rooms else {})
        claims |= {"forever": True} if lasting is None else {"exp": math.ceil(now + lasting)}
        return jwt.encode(claims, self._secret, ALGORITHM)

    def rights_of(self, token: str) -> Rights:
        """What a token opens; raises `Denied`."""
        claims = self._read(token)
        if claims.exp is None and not claims.forever:
            raise Denied("wrong", f"this token says no end (exp): {_NEW_ONE}, with --expires never if you mean it")
        try:
            name = tidy_name(claims.sub) if claims.sub is not None else None
        except ProtocolError as error:
            raise Denied("wrong", f"this token is for nobody: {error}; {_NEW_ONE}") from error
        return Rights(
            roles=frozenset({claims.role, "observer"} if claims.role == "moderator" else {claims.role}),
            name=name,
            rooms=frozenset(claims.rooms) if claims.rooms is not None else None,
            expires=math.inf if claims.exp is None else claims.exp,
            ident=claims.jti[:32],
        )

    def _read(self, token: str) -> _Claims:
        options: Any = {"require": ["iss", "aud", "iat"], "verify_iat": False}  # a clock a second ahead harms nobody
        try:
            claims = jwt.decode(
                token, self._secret, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=options
            )
            return msgspec.convert(claims, _Claims)
        except jwt.ExpiredSignatureError:
            raise Denied("expired", f"this token has expired: {_NEW_ONE}") from None
        except jwt.ImmatureSignatureError:
            raise Denied("early", "this token is not valid yet: wait, or set the clocks of both machines") from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise Denied("wrong", f"this token was made for something else than a hub: {_NEW_ONE}") from None
        except jwt.InvalidAlgorithmError:
            raise Denied("wrong", f"this token is not signed with {ALGORITHM}: {_NEW_ONE}") from None
        except jwt.InvalidSignatureError:
            raise Denied("wrong", f"this token was signed with another secret: {_NEW_ONE} and the hub's own") from None
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError):
            raise Denied("wrong", f"this token cannot be read: {_NEW_ONE}") from None


class SignedOrShared:
    """Signed tokens, and the shared secrets that are set beside them. Nobody gets in without one."""

    asks: Final = True

    def __init__(self, signed: SignedTokens, shared: SharedSecret) -> None:
        self._signed = signed
        self._shared = shared

    def rights_of(self, token: str | None) -> Rights:
        """What a token opens; raises `Denied`."""
        if not token:
            raise missing()
        return self._shared.known(token) or self._signed.rights_of(token)


def auth_of(
    token: str | None = None, *, moderator: str | None = None, secret: str | None = None, own: str | None = None
) -> Auth:
    """What these secrets ask of whoever joins; raises `ConfigError` for a secret that is none."""
    shared = SharedSecret(token, moderator=moderator, own=own)
    return SignedOrShared(SignedTokens(secret), shared) if secret else shared
