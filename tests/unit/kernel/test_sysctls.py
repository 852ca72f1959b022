"""Paths of sysctls: whose device they are of, and that none leads elsewhere."""

import pytest

from podway.kernel.protocol import KernelError
from podway.kernel.sysctls import checked_path, device_of_path


@pytest.mark.parametrize(
    ("path", "dev"),
    [
        ("ipv6/conf/podway.1/accept_ra", "podway.1"),
        ("ipv4/neigh/cni0/proxy_delay", "cni0"),
        ("ipv4/conf/all/forwarding", ""),
        ("ipv4/conf/default/rp_filter", ""),
        ("ipv4/ip_forward", ""),
        ("netfilter/nf_conntrack_max", ""),
    ],
)
def test_sysctls_of_devices(path: str, dev: str) -> None:
    assert device_of_path(path) == dev
    assert checked_path(path) == f"sys/net/{path}"


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "ipv4/../../vm/swappiness", "..", "ipv4//x", "ipv4/./x", "ipv4/"]
)
def test_sysctls_stay_below_their_root(path: str) -> None:
    with pytest.raises(KernelError) as caught:
        checked_path(path)
    assert caught.value.errno == 22
