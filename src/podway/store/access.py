"""What it takes to be let in to a store, beside its URL: certificates, a user, and so on.

The options are defined here once, for the agent (which also takes them from its environment) and
for commands. Every engine takes what it knows of them and refuses what it cannot use. Nothing
secret is ever an argument: other users of the machine can read those. It is in a file.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from podway.errors import ArgumentError, ConfigError
from podway.model.secret import Secret
from podway.store.renewed import Reading

# A password in the environment, for where there is no file (a container's secret).
PASSWORD_VARIABLE = "PODWAY_STORE_PASSWORD"  # noqa: S105  (a name)


class StoreAccess(Struct, frozen=True, kw_only=True):
    """How to reach a store.

    Attributes:
        tls_ca: PEM file with the certificates of who signs the store's.
        tls_cert: PEM file with our own certificate.
        tls_key: PEM file with its key.
        plaintext: no TLS where it would be due: for labs only.
        store_user: whom to log in as, where the store asks.
        store_password_file: holds the password, alone; only its owner may read it.
    """

    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    plaintext: bool = False
    store_user: str = ""
    store_password_file: Path | None = None


def add_access_arguments(add: Callable[..., Any]) -> None:
    """Define the options of `StoreAccess` by calling *add* as ``parser.add_argument``."""
    add("--tls-ca", type=Path, metavar="FILE", help="who signs the store's certificate")
    add("--tls-cert", type=Path, metavar="FILE", help="our certificate (for a hub: CN is the node)")
    add("--tls-key", type=Path, metavar="FILE", help="its key")
    add("--plaintext", action="store_true", help="TCP without TLS: for labs only")
    add("--store-user", default="", metavar="NAME", help="whom etcd knows us as")
    add(
        "--store-password-file",
        type=Path,
        metavar="FILE",
        help=f"holds the password (or ${PASSWORD_VARIABLE} does)",
    )


def access_from(values: object) -> StoreAccess:
    """Return the access that *values* (parsed arguments, settings) say, by attribute."""
    return StoreAccess(**{name: getattr(values, name) for name in StoreAccess.__struct_fields__})


def read_password(access: StoreAccess, reading: Reading = Path) -> Secret:
    """Return the password for the store's user; an empty one where there is no user.

    Raises:
        ConfigError: there is a user and no password, or its file is open to others.
    """
    if not access.store_user:
        return Secret("")
    if access.store_password_file is not None:
        return _read_secret("--store-password-file", reading(access.store_password_file))
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if not password:
        rule = f"needs --store-password-file or ${PASSWORD_VARIABLE}"
        raise ArgumentError("--store-user", access.store_user, rule)
    return Secret(password)


def _read_secret(field: str, path: Path) -> Secret:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise ConfigError(field, str(path), "must be for its owner's eyes alone: chmod 600")
            text = file.read(4096).decode()
    except OSError as error:
        raise ConfigError(field, str(path), f"cannot be read: {error}") from error
    except UnicodeDecodeError:  # quotes what stands there
        raise ConfigError(field, str(path), "must be UTF-8 text") from None
    password = text.rstrip("\r\n")
    if not password:  # it is just being written, or nobody has put one there
        raise ConfigError(field, str(path), "must hold the password, alone")
    return Secret(password)
