"""Stores on the test's API server, quick to try again, and what tests claim with them."""

import contextlib
import json
from collections.abc import AsyncIterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from hub.clients import next_event, until
from hub.hub_process import run_scenario
from kube_apiserver.server import ADMIN_TOKEN, KubeServer
from podway.model.addresses import Family
from podway.model.nodes import BackendData, Claim, VtepData, Wish
from podway.store.kube import KubeOptions, KubeStore
from podway.store.kube_api import KubeApiOptions
from podway.store.kube_watch import Pauses
from podway.store.kubeconfig import login_by_kubeconfig
from podway.store.renewed import Renewed

__all__ = ["claim", "net_conf", "next_event", "opened", "run_scenario", "until"]

VXLAN: dict[str, Any] = {"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}
DUAL = {"EnableIPv6": True, "IPv6Network": "fd00:10:244::/48", **VXLAN}
PAUSES = Pauses(first_s=0.01, longest_s=0.1, stable_s=1.0)
VTEP = VtepData(vni=1, mac="12:c6:65:89:b4:e3")


def net_conf(directory: Path, document: dict[str, Any] | str = VXLAN) -> Path:
    """Write net-conf.json; return its path."""
    path = directory / "net-conf.json"
    draft = directory / "net-conf.json.new"
    draft.write_text(document if isinstance(document, str) else json.dumps(document))
    draft.replace(path)
    return path


def open_kube_store(
    server: KubeServer,
    directory: Path,
    *,
    url: str = "",
    token: str = ADMIN_TOKEN,
    token_file: Path | None = None,
    conf: dict[str, Any] | str | None = VXLAN,
    api: KubeApiOptions | None = None,
    pauses: Pauses = PAUSES,
    set_available: bool = True,
) -> KubeStore:
    """Return a store on *server* (or on what stands before it at *url*); the caller closes it."""
    user = {"tokenFile": str(token_file)} if token_file else {"token": token}
    kubeconfig = server.kubeconfig(directory / "kubeconfig", user, url)
    path = directory / "net-conf.json" if conf is None else net_conf(directory, conf)
    options = KubeOptions(
        net_conf=path,
        pauses=pauses,
        look_s=0.02,
        set_available=set_available,
        set_available_s=0.05,
        api=api or KubeApiOptions(),
    )
    return KubeStore(Renewed(partial(login_by_kubeconfig, kubeconfig)), options)


@contextlib.asynccontextmanager
async def opened(server: KubeServer, directory: Path, **options: Any) -> AsyncIterator[KubeStore]:
    """Open a store, and close it."""
    store = open_kube_store(server, directory, **options)
    try:
        yield store
    finally:
        await store.close()


def claim(
    name: str,
    address: str = "192.0.2.1",
    *,
    address_v6: str = "",
    backend: str = "vxlan",
    data: BackendData | None = VTEP,
) -> Claim:
    """Return what the agent of node *name* claims."""
    wishes = [Wish(family=Family.IPV4, public_ip=ip_address(address), data=data)]
    if address_v6:
        wishes.append(Wish(family=Family.IPV6, public_ip=ip_address(address_v6), data=data))
    return Claim(name=name, backend=backend, wishes=tuple(wishes))
