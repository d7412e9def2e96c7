"""What NATS' own tool (`nsc`) makes: keys, and a server under an operator with one user, who has a `.creds` file."""

import base64
import json
import os
from typing import NamedTuple

import nkeys

OPERATOR, ACCOUNT, USER = nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER


class Key(NamedTuple):
    """A key of NATS: the public half and the seed, in its spelling."""

    public: str
    seed: str


def key(kind: int = USER) -> Key:
    """A new one."""
    seed = nkeys.encode_seed(os.urandom(32), kind).decode()
    return Key(nkeys.from_seed(bytearray(seed.encode())).public_key.decode(), seed)


def signed(signer: Key, subject: Key, kind: str, **claims: object) -> str:
    """A JWT as NATS signs them."""
    body = {"iss": signer.public, "sub": subject.public, "name": kind, "iat": 1, "jti": subject.public}
    body["nats"] = {"type": kind, "version": 2, **claims}
    parts = [_packed({"typ": "JWT", "alg": "ed25519-nkey"}), _packed(body)]
    signature = nkeys.from_seed(bytearray(signer.seed.encode())).sign(".".join(parts).encode())
    return ".".join((*parts, base64.urlsafe_b64encode(signature).decode().rstrip("=")))


def operated() -> tuple[str, str]:
    """A server's configuration under an operator, and the `.creds` file of the one user there."""
    operator, account, system, user = key(OPERATOR), key(ACCOUNT), key(ACCOUNT), key()
    without = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    share = without | {"wildcards": True} | dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
    accounts = {
        account.public: signed(operator, account, "account", limits=share),
        system.public: signed(operator, system, "account", limits=without),
    }
    preloaded = "\n".join(f"  {public}: {jwt}" for public, jwt in accounts.items())
    config = f"""
operator: {signed(operator, operator, "operator", system_account=system.public)}
system_account: {system.public}
resolver: MEMORY
resolver_preload {{
{preloaded}
}}
"""
    unbounded = dict.fromkeys(("subs", "data", "payload"), -1)
    jwt = signed(account, user, "user", **unbounded)
    creds = f"""-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{user.seed}
------END USER NKEY SEED------
"""
    return config, creds


def _packed(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")
