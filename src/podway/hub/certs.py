"""Certificates for mutual TLS: an authority of the cluster's own, the hub, the nodes, an admin.

In: a directory and node names. Out: PEM files in it, ``ca.crt``, ``ca.key`` and a pair for each
name; an authority that is there already signs further names, so nodes can be added later. Private
keys are readable by their owner alone. The common name is the client's name to the hub; which side
of a connection a certificate may take is in its extended key usage (RFC 5280, section 4.2.1.12), so
a node's key cannot pose as the hub.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from podway.compute.subnets import SubnetRefused, check_name
from podway.errors import ConfigError
from podway.hub.access import ADMIN
from podway.store.tls import HUB_TLS_NAME

if TYPE_CHECKING:  # cryptography takes 100 ms to import, and is an extra
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

AUTHORITY = "ca"
HUB = "hub"
VALID_DAYS = 3650
_BACKDATE = timedelta(hours=1)  # for nodes whose clock is a little behind


def write_certificates(
    directory: Path, nodes: Sequence[str], hub_names: Sequence[str] = ()
) -> tuple[Path, ...]:
    """Write what is missing in *directory* for the hub, an admin and *nodes*; return new files.

    *hub_names* are further host names and addresses for the hub's certificate; podway's own agents
    need none.

    Raises:
        ConfigError: a name cannot be used, a file cannot be written, or the package is missing.
    """
    _check_names(nodes)
    _check_package()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = _Authority(directory)
        return (*authority.written, *authority.sign_all(nodes, hub_names))
    except (OSError, ValueError) as error:
        raise ConfigError("certs", str(directory), f"cannot be used: {error}") from error


def _check_names(nodes: Sequence[str]) -> None:
    for name in nodes:
        try:
            check_name(name)
        except SubnetRefused as error:
            raise ConfigError("node", name, str(error)) from error
        if name in {ADMIN, HUB, AUTHORITY}:
            rule = f"must not be {ADMIN!r}, {HUB!r} or {AUTHORITY!r}: those files are there anyway"
            raise ConfigError("node", name, rule)


def _check_package() -> None:
    try:
        import cryptography  # noqa: F401, PLC0415
    except ImportError as error:
        rule = "needs the Python package 'cryptography': pip install 'podway[certs]'"
        raise ConfigError("certs", "", rule) from error


class _Authority:
    """The authority of one directory; makes itself when it is not there yet."""

    def __init__(self, directory: Path) -> None:
        from cryptography import x509  # noqa: PLC0415
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

        self._directory = directory
        self.written: tuple[Path, ...] = ()
        cert, key = (directory / f"{AUTHORITY}{suffix}" for suffix in (".crt", ".key"))
        if not cert.exists():
            self.written = self._create()
        self._cert = x509.load_pem_x509_certificate(cert.read_bytes())
        loaded = serialization.load_pem_private_key(key.read_bytes(), password=None)
        self._key: EllipticCurvePrivateKey = loaded  # type: ignore[assignment]

    def sign_all(self, nodes: Sequence[str], hub_names: Sequence[str]) -> tuple[Path, ...]:
        """Write a pair for the hub, the admin and each node that has none."""
        written: list[Path] = []
        for name in (HUB, ADMIN, *nodes):
            if not (self._directory / f"{name}.crt").exists():
                written += self._sign(name, hub_names if name == HUB else ())
        return tuple(written)

    def _create(self) -> tuple[Path, ...]:
        from cryptography import x509  # noqa: PLC0415

        key = _new_key()
        name = _name("podway cluster authority")
        builder = _builder(name, name, key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        builder = builder.add_extension(_key_usage(signs=True), critical=True)
        return _write_pair(self._directory, AUTHORITY, _signed(builder, key), key)

    def _sign(self, name: str, hub_names: Sequence[str]) -> tuple[Path, ...]:
        from cryptography import x509  # noqa: PLC0415
        from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415

        key = _new_key()
        builder = _builder(_name(name), self._cert.subject, key).add_extension(
            x509.BasicConstraints(ca=False, path_length=None), critical=True
        )
        builder = builder.add_extension(_key_usage(signs=False), critical=True)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if name == HUB else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
        if name == HUB:
            hosts = x509.SubjectAlternativeName([*map(_host, (HUB_TLS_NAME, *hub_names))])
            builder = builder.add_extension(hosts, critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        return _write_pair(self._directory, name, _signed(builder, self._key), key)


def _new_key() -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    return ec.generate_private_key(ec.SECP256R1())


def _name(common_name: str) -> "x509.Name":
    from cryptography import x509  # noqa: PLC0415

    # RFC 5280 bounds a common name to 64 characters; longer node names need another field.
    try:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    except ValueError as error:
        rule = "must be at most 64 characters to stand in a certificate"
        raise ConfigError("node", common_name, rule) from error


def _host(name: str) -> "x509.GeneralName":
    from cryptography import x509  # noqa: PLC0415

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: "x509.Name", issuer: "x509.Name", key: "EllipticCurvePrivateKey"
) -> "x509.CertificateBuilder":
    from cryptography import x509  # noqa: PLC0415

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, signs: bool) -> "x509.KeyUsage":
    from cryptography import x509  # noqa: PLC0415

    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(
    builder: "x509.CertificateBuilder", key: "EllipticCurvePrivateKey"
) -> "x509.Certificate":
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415

    return builder.sign(key, hashes.SHA256())


def _write_pair(
    directory: Path, name: str, cert: "x509.Certificate", key: "EllipticCurvePrivateKey"
) -> tuple[Path, ...]:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    key_path, cert_path = directory / f"{name}.key", directory / f"{name}.crt"
    _write(key_path, pem, 0o600)
    _write(cert_path, cert.public_bytes(serialization.Encoding.PEM), 0o644)
    return cert_path, key_path


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write *path* so that it never was readable by more than *mode* says, nor half there."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    part.replace(path)
