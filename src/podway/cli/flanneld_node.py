"""What `podway flanneld` asks Kubernetes before it begins: which Node is ours, and its interface.

In: the store's URL. Out: the Node's name, by our pod; the addresses by which an operator has chosen
an interface on that Node (``node-public-ip``), which win over flags, as with flannel. Who cannot be
asked for the latter is no reason not to begin: packets flow by the flags until the next start.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from podway.kernel.logs import get_log
from podway.store.kube_annotations import named_interfaces
from podway.store.kube_api import KubeApi
from podway.store.kube_url import login_of, parse_kube_url
from podway.store.protocol import StoreError

T = TypeVar("T")


def node_of_pod(store: str, namespace: str, pod: str) -> str:
    """Return the name of the Node on which *pod* runs.

    Raises:
        ConfigError: there is no login for the cluster.
        StoreError: it cannot be asked, or knows no such pod.
    """
    return _ask(store, lambda api: api.node_of_pod(namespace, pod))


def uplinks_named_on(store: str, node: str) -> tuple[str, ...]:
    """Return the addresses of the interfaces that the Node *node* names; () for none.

    Raises:
        ConfigError: there is no login for the cluster.
    """
    try:
        record = _ask(store, lambda api: api.get_node(node))
        return tuple(map(str, named_interfaces(record)))
    except StoreError as error:
        get_log("podway.flanneld").warning(
            "interface by the flags alone: node-public-ip is not known", reason=str(error)
        )
        return ()


def _ask(store: str, question: Callable[[KubeApi], Awaitable[T]]) -> T:
    path, options = parse_kube_url(store)
    api = KubeApi(login_of(store, path), options.prefix)

    async def ask() -> T:
        return await question(api)

    return asyncio.run(ask())
