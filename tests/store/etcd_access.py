"""What it takes to be let in to an etcd of a test: certificates, users and their passwords."""

from podway.store.access import StoreAccess
from store.backings import NET
from store.etcd_process import CONFIG, EtcdProcess
from store.pem import Authority

PASSWORD = "correct-horse-battery-staple"


def access_with(authority: Authority, name: str = "client") -> StoreAccess:
    directory = authority.directory
    return StoreAccess(
        tls_ca=authority.ca, tls_cert=directory / f"{name}.crt", tls_key=directory / f"{name}.key"
    )


def tls_process(authority: Authority) -> EtcdProcess:
    """Return an etcd, yet to be started, that wants a certificate from everybody."""
    directory = authority.directory
    etcd = EtcdProcess(
        scheme="https",
        arguments=(
            *("--cert-file", str(directory / "server.crt")),
            *("--key-file", str(directory / "server.key")),
            *("--trusted-ca-file", str(authority.ca), "--client-cert-auth"),
        ),
    )
    etcd.ctl_arguments = [
        f"--cacert={authority.ca}",
        f"--cert={directory / 'client.crt'}",
        f"--key={directory / 'client.key'}",
    ]
    return etcd


def add_users(etcd: EtcdProcess) -> None:
    """Give *etcd* users: root, and podway, which may use its own prefix and no other."""
    etcd.put(CONFIG, NET)
    etcd.ctl("user", "add", f"root:{PASSWORD}")
    etcd.ctl("user", "add", f"podway:{PASSWORD}")
    etcd.ctl("role", "add", "nodes")
    etcd.ctl("role", "grant-permission", "--prefix", "nodes", "readwrite", "/coreos.com/network/")
    etcd.ctl("user", "grant-role", "podway", "nodes")
    etcd.ctl("auth", "enable")
