"""How to start etcd and kube-apiserver for a lab or a test: programs, arguments, files. Pure, but
for looking for the programs and asking them.

A cluster's control plane of two processes, without anything that gives Nodes podCIDRs or runs pods:
whoever starts it makes the Nodes. kube-apiserver makes its own certificate; ``apiserver.crt`` holds
it with its authority, so whoever trusts that file trusts the server. Its key signs the tokens of
service accounts too: one key less to make, for a cluster that lasts minutes.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from podway.lab.errors import LabError

VARIABLE = "PODWAY_KUBE_APISERVER"
ISSUER = "https://kubernetes.default.svc"


def find_kube_apiserver(environment: Mapping[str, str], named: str = "") -> Path:
    """Return the program kube-apiserver: *named*, else $PODWAY_KUBE_APISERVER, else in PATH, else
    where ``make test`` builds one.

    Raises:
        LabError: there is none; says how to get it.
    """
    wanted = named or environment.get(VARIABLE, "")
    if wanted:
        candidates = [Path(wanted)]
    else:
        found = shutil.which("kube-apiserver", path=environment.get("PATH"))
        candidates = [Path(found)] if found else [built_dir(environment) / "kube-apiserver"]
    if os.access(candidates[0], os.X_OK):
        return candidates[0]
    raise LabError(
        f"kube-apiserver is not at {candidates[0]}: name it (--kube-apiserver PATH or ${VARIABLE}),"
        " or build it with tests/kube_apiserver/build.sh (once, some minutes)"
    )


def find_etcd(environment: Mapping[str, str]) -> Path:
    """Return the program etcd. Raises `LabError` when there is none."""
    found = shutil.which("etcd", path=environment.get("PATH"))
    if found is None:
        raise LabError("etcd is not in PATH: apt-get install etcd-server")
    return Path(found)


def built_dir(environment: Mapping[str, str]) -> Path:
    """Return where ``tests/kube_apiserver/build.sh`` puts what it builds."""
    home = environment.get("HOME") or "/root"
    cache = environment.get("XDG_CACHE_HOME") or f"{home}/.cache"
    return Path(cache) / "podway" / "kubernetes-1.20.2"


def etcd_arguments(data_dir: Path, url: str, peer_url: str) -> tuple[str, ...]:
    """Return what follows ``etcd``: one member that listens at *url*."""
    return (
        f"--data-dir={data_dir}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=default={peer_url}",
    )


def kube_apiserver_arguments(
    directory: Path,
    host: str,
    port: int,
    etcd_url: str,
    *,
    feature_gates: str = "",
    ipv6: bool = False,
) -> tuple[str, ...]:
    """Return what follows ``kube-apiserver``: RBAC, and the users of ``tokens.csv``.

    Args:
        directory: holds ``tokens.csv``; gets ``certs``.
        host: address at which it listens.
        port: of TLS.
        etcd_url: its store.
        feature_gates: from `needed_feature_gates`.
        ipv6: addresses of services are IPv6.
    """
    certs = directory / "certs"
    return (
        f"--etcd-servers={etcd_url}",
        f"--bind-address={host}",
        f"--advertise-address={host}",
        f"--secure-port={port}",
        f"--cert-dir={certs}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={certs / 'apiserver.key'}",
        f"--service-account-signing-key-file={certs / 'apiserver.key'}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        f"--service-cluster-ip-range={'fd00:10:96::/112' if ipv6 else '10.96.0.0/16'}",
        "--endpoint-reconciler-type=none",
        "--allow-privileged=true",
        "--enable-aggregator-routing=false",
        "--profiling=false",
        *((f"--feature-gates={feature_gates}",) if feature_gates else ()),
    )


def needed_feature_gates(program: Path) -> str:
    """Return what *program* must be told before it keeps two podCIDRs of a Node.

    Up to 1.20 that is an option, from 1.25 the option is an error. Asks the program itself.
    """
    shown = subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout
    return "IPv6DualStack=true" if "IPv6DualStack=true|false" in shown else ""


def token_line(token: str, user: str, *groups: str) -> str:
    """Return one line of ``tokens.csv``."""
    return f'{token},{user},{user},"{",".join(groups)}"\n'
