"""Certificates made on the spot."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Pair(NamedTuple):
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


def certificate(
    folder: Path,
    name: str = "hub",
    *,
    host: str = "",
    begins: int = -1,
    ends: int = 1,
    password: bytes = b"",
    signer: Pair | None = None,
) -> Pair:
    """One for this machine, or another `host`, valid between so many days from now; signed by itself or a `signer`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name if signer else "localhost")])
    issuer, signing = subject, key
    if signer is not None:
        issuer = x509.load_pem_x509_certificate(signer.certificate.read_bytes()).subject
        loaded = serialization.load_pem_private_key(signer.key.read_bytes(), password=None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signing = loaded
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    names = [x509.DNSName(host)] if host else names
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=ends))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .sign(signing, hashes.SHA256())
    )
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pair.certificate.write_bytes(made.public_bytes(pem))
    pair.key.write_bytes(key.private_bytes(pem, form, locked))
    return pair
