"""Arguments by which a command finds the cluster's store, and one call made to it.

As the agent's own, they may come from the environment: PODWAY_STORE, PODWAY_TLS_CA, ...
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from podway.agent.options import Options
from podway.store.access import access_from, add_access_arguments
from podway.store.engines import DEFAULT_URL, open_store
from podway.store.protocol import AdminStore

Answer = TypeVar("Answer")


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add ``--store`` and what being let in to it needs."""
    group = parser.add_argument_group(
        "the store", "each also from the environment: $PODWAY_STORE, $PODWAY_TLS_CA, ..."
    )
    options = Options(parser, group)
    options.add(
        "--store",
        metavar="URL",
        default=DEFAULT_URL,
        help="unix:PATH or tcp:HOST:PORT of the hub, etcd:http[s]://HOST:PORT[,...][/PREFIX], or "
        "kubernetes:[KUBECONFIG] (default: %(default)s)",
    )
    add_access_arguments(options.add)


def ask_store(
    args: argparse.Namespace, question: Callable[[AdminStore], Awaitable[Answer]]
) -> Answer:
    """Open the store that *args* name, ask it *question*, close it.

    Raises:
        ConfigError: the arguments name no store.
        StoreError: it cannot be reached, or refuses.
    """

    async def ask() -> Answer:
        store = open_store(args.store, access_from(args))
        try:
            return await question(store)
        finally:
            await store.close()

    return asyncio.run(ask())
