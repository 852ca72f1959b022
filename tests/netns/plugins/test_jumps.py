"""Jumps to a container's chain, found beside its rules where they were made together."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netns.conftest import Netns
from netns.plugins.cni_runtime import Runtime, config_of
from netns.plugins.originals import needs_original
from podway.netlink.constants import NFPROTO_IPV4
from podway.netlink.netns import entered
from podway.netlink.nft_transactions import NftSocket
from podway.plugins.iptables_chains import find_jumps, jump_of
from podway.plugins.masquerade import POSTROUTING, TABLE, chain_name

if TYPE_CHECKING:
    from podway.netlink.nft_rules import NftFields

CHAIN = chain_name("net", "c1")


class Recorder(NftSocket):
    """A socket that notes the chains that are listed."""

    __slots__ = ("listed",)

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[str] = []

    def find_rules(self, family: int, table: str, chain: str, *needles: bytes) -> "list[NftFields]":
        self.listed.append(chain)
        return super().find_rules(family, table, chain, *needles)


@pytest.fixture
def nft(runtime: Runtime) -> Iterator[Recorder]:
    """Return a socket of the host's namespace."""
    with entered(runtime.host.fd), Recorder() as nft:
        yield nft


def add(runtime: Runtime, pod: Netns, *subnets: str, **told: str) -> None:
    ipam = runtime.ipam(*subnets)
    config = config_of("bridge", bridge="br0", isGateway=True, ipMasq=True, ipam=ipam)
    runtime.add({**config, "cniVersion": "1.0.0"}, pod, **told)


def jumps(nft: Recorder) -> list[str] | None:
    found = find_jumps(nft, (NFPROTO_IPV4, TABLE), CHAIN, POSTROUTING)
    return None if found is None else [jump_of(each) for each in found]


def test_no_chain(nft: Recorder) -> None:
    assert jumps(nft) is None


def test_beside_the_chains_own_rules(runtime: Runtime, pod: Netns, nft: Recorder) -> None:
    for number in range(3):
        ifname, container = f"net{number}", f"c{number}"
        add(runtime, pod, "10.1.0.0/24", ifname=ifname, container_id=container)
    assert jumps(nft) == [CHAIN]
    assert nft.listed == [CHAIN]


def test_one_for_each_address(runtime: Runtime, pod: Netns, nft: Recorder) -> None:
    add(runtime, pod, "10.1.0.0/24", "10.2.0.0/24")
    assert jumps(nft) == [CHAIN, CHAIN]
    assert nft.listed == [CHAIN]


def test_of_two_interfaces(runtime: Runtime, pod: Netns, nft: Recorder) -> None:
    """The second one's is not beside the chain's rules, which the first one made."""
    add(runtime, pod, "10.1.0.0/24")
    add(runtime, pod, "10.1.0.0/24", ifname="net0", container_id="c0")
    add(runtime, pod, "10.1.0.0/24", ifname="eth1")
    assert jumps(nft) == [CHAIN, CHAIN]
    assert nft.listed == [CHAIN, POSTROUTING]


def test_none_is_left(runtime: Runtime, pod: Netns, nft: Recorder) -> None:
    add(runtime, pod, "10.1.0.0/24")
    runtime.host.exec("iptables", "-t", "nat", "-F", "POSTROUTING")
    assert jumps(nft) == []
    assert nft.listed == [CHAIN]


def test_written_by_somebody_else(runtime: Runtime, pod: Netns, nft: Recorder) -> None:
    """Beside the chain's rules are others'; or the handle there is of another container's jump."""
    add(runtime, pod, "10.1.0.0/24")
    runtime.host.exec("iptables", "-t", "nat", "-F", "POSTROUTING")
    add(runtime, pod, "10.1.0.0/24", ifname="net0", container_id="c0")
    runtime.host.exec("iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "10.1.0.9", "-j", CHAIN)
    assert jumps(nft) == [CHAIN]
    assert nft.listed == [CHAIN, POSTROUTING]


@needs_original
def test_of_the_original(runtime: Runtime, pod: Netns, nft: Recorder, tmp_path: Path) -> None:
    ipam = {**runtime.ipam("10.1.0.0/24"), "dataDir": str(tmp_path / "theirs")}
    config = config_of("bridge", bridge="br0", isGateway=True, ipMasq=True, ipam=ipam)
    runtime.add({**config, "cniVersion": "1.0.0"}, pod, reference=True)
    assert jumps(nft) == [CHAIN]
