"""Arguments by which a command finds the cluster's store, and one call made to it."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from podway.errors import ConfigError
from podway.store.engines import DEFAULT_URL, open_store
from podway.store.hub import HubStore
from podway.store.tls import TlsFiles

Answer = TypeVar("Answer")


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add ``--store`` and what reaching it over TCP needs."""
    group = parser.add_argument_group("the store")
    group.add_argument(
        "--store",
        metavar="URL",
        default=DEFAULT_URL,
        help="unix:PATH or tcp:HOST:PORT of the hub (default: %(default)s)",
    )
    group.add_argument("--tls-ca", type=Path, metavar="FILE", help="who signs its certificate")
    group.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate of the admin")
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="its key")
    group.add_argument("--plaintext", action="store_true", help="TCP without TLS: for labs only")


def ask_store(
    args: argparse.Namespace, question: Callable[[HubStore], Awaitable[Answer]]
) -> Answer:
    """Open the store that *args* name, ask it *question*, close it.

    Raises:
        ConfigError: the arguments name no store.
        StoreError: it cannot be reached, or refuses.
    """

    async def ask() -> Answer:
        store = open_store(args.store, tls=_tls(args), plaintext=args.plaintext)
        try:
            return await question(store)
        finally:
            await store.close()

    return asyncio.run(ask())


def _tls(args: argparse.Namespace) -> TlsFiles | None:
    match (args.tls_ca, args.tls_cert, args.tls_key):
        case (None, None, None):
            return None
        case (Path() as authority, Path() as certificate, Path() as key):
            return TlsFiles(ca=authority, cert=certificate, key=key)
        case _:
            rule = "--tls-ca, --tls-cert and --tls-key go together"
            raise ConfigError("--tls-*", "only some of them", rule)
