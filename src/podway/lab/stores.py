"""The cluster's store in a lab: which programs are it, and by which URL agents find it. Pure.

All of them run in the hub's namespace, on the underlay, whatever they are: a hub, one etcd, or an
etcd with a Kubernetes API server before it.
"""

from pathlib import Path

from podway.lab.kube_programs import etcd_arguments, kube_apiserver_arguments
from podway.lab.names import HUB, hub_socket, lab_dir, namespace_of
from podway.lab.programs import Process
from podway.lab.specs import LabSpec
from podway.lab.underlay import HUB_NUMBER, underlay_addresses
from podway.model.addresses import Family, family_of

HUB_PORT = 7472
ETCD_PORT = 2379
KUBE_PORT = 6443
# Users of the lab's API server: who makes the Nodes, and who the agents are.
ADMIN = "admin"
AGENT = "podway-agent"


def plan_stores(spec: LabSpec) -> tuple[Process, ...]:
    """Return the programs that are the store, in the order in which they start."""
    match spec.store:
        case "hub":
            return (_plan_hub(spec),)
        case "etcd":
            return (_plan_etcd(spec, _url(spec, "http", ETCD_PORT)),)
        case "kubernetes":
            return (_plan_etcd(spec, _local_etcd(spec)), _plan_kube_apiserver(spec))


def store_arguments(spec: LabSpec) -> tuple[str, ...]:
    """Return the options by which an agent finds the store."""
    url = store_url(spec)
    return (f"--store={url}", "--plaintext") if spec.store == "hub" else (f"--store={url}",)


def store_url(spec: LabSpec, user: str = AGENT) -> str:
    """Return where the store is, for whoever is on the underlay; *user* counts in Kubernetes."""
    match spec.store:
        case "hub":
            return _url(spec, "tcp", HUB_PORT, "")
        case "etcd":
            return f"etcd:{_url(spec, 'http', ETCD_PORT)}"
        case "kubernetes":
            return f"kubernetes:{kubeconfig_path(spec, user)}?net-conf={net_conf_path(spec)}"


def net_conf_path(spec: LabSpec) -> Path:
    """Return the file with the network's configuration."""
    return lab_dir(spec.name) / "net-conf.json"


def store_dir(spec: LabSpec) -> Path:
    """Return the directory of the store's programs."""
    return lab_dir(spec.name) / HUB


def data_dir(spec: LabSpec) -> Path:
    """Return where the store keeps what it knows; copied while it is at rest, it is a backup."""
    return store_dir(spec) / ("data" if spec.store == "hub" else "etcd")


def kubeconfig_path(spec: LabSpec, user: str) -> Path:
    """Return the file by which *user* logs in to the lab's API server."""
    return store_dir(spec) / f"{user}.kubeconfig"


def kube_url(spec: LabSpec) -> str:
    """Return where the lab's API server listens."""
    return _url(spec, "https", KUBE_PORT)


def _plan_hub(spec: LabSpec) -> Process:
    return _process(
        spec,
        "hub",
        "hub",
        "--plaintext",
        f"--listen={store_url(spec)}",
        f"--listen=unix:{hub_socket(spec.name)}",
        f"--data-dir={data_dir(spec)}",
        f"--net-conf={net_conf_path(spec)}",
    )


def _plan_etcd(spec: LabSpec, url: str) -> Process:
    peer_url = f"{_local_etcd(spec).rpartition(':')[0]}:{ETCD_PORT + 1}"
    arguments = etcd_arguments(data_dir(spec), url, peer_url)
    return _process(spec, "etcd", *arguments, program=spec.etcd)


def _plan_kube_apiserver(spec: LabSpec) -> Process:
    arguments = kube_apiserver_arguments(
        store_dir(spec),
        str(underlay_addresses(spec, HUB_NUMBER)[0]),
        KUBE_PORT,
        _local_etcd(spec),
        feature_gates=spec.feature_gates,
        ipv6=spec.families[0] is Family.IPV6,
    )
    return _process(spec, "kube-apiserver", *arguments, program=spec.kube_apiserver)


def _process(spec: LabSpec, role: str, *arguments: str, program: str = "") -> Process:
    return Process(
        member=HUB,
        role=role,
        namespace=namespace_of(spec.name, HUB),
        arguments=arguments,
        directory=store_dir(spec),
        program=program,
    )


def _local_etcd(spec: LabSpec) -> str:
    host = "127.0.0.1" if Family.IPV4 in spec.families else "[::1]"
    return f"http://{host}:{ETCD_PORT}"


def _url(spec: LabSpec, scheme: str, port: int, slashes: str = "//") -> str:
    address = underlay_addresses(spec, HUB_NUMBER)[0]
    host = f"[{address}]" if family_of(address) is Family.IPV6 else str(address)
    return f"{scheme}:{slashes}{host}:{port}"
