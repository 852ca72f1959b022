"""Forwarded packets of the network, where iptables' FORWARD drops what it does not know.

In nftables a packet that one table accepts may still be dropped by another. So where somebody
(Docker, for one) has FORWARD drop what none of its rules accepts, podway's own table cannot help,
and a chain of this agent's own, at the end of FORWARD, accepts packets from and to the network. At
the end, so that what other programs decide about single packets holds (network policies, Docker's
isolation of its networks); and only where it is needed: elsewhere it is not made. Once made it
stays, so that nobody loses a packet who sets the policy to ACCEPT and back.

It is written in the form of iptables-nft, which lists it and can delete it. The legacy kind's
tables are left to their programs, and what they drop is told. What is to be done is decided in
`forward_plans`. Called in the agent's kernel thread (but for what waits for programs), and by
``podway uninstall``.
"""

import errno
from collections.abc import Iterable, Sequence

from msgspec import Struct

from podway.kernel.errors import worded
from podway.kernel.flannel_rules import NUMBERS, chain_removal
from podway.kernel.forward_plans import BASE, TABLE, ForwardPlan, FoundForward, plan_forward
from podway.kernel.legacy_forward import find_legacy_drops
from podway.model.addresses import IPNetwork
from podway.model.instances import PODWAY, Marks
from podway.netlink import NetlinkError
from podway.netlink.nft_rules import get_chain
from podway.netlink.nft_transactions import NftSocket

_FAMILIES = {4: "ip", 6: "ip6"}
_PROGRAMS = {"ip": "iptables", "ip6": "ip6tables"}


class Kept(Struct, frozen=True, kw_only=True):
    """What was found and done.

    Attributes:
        written: families whose chain was written or removed: "ip", "ip6".
        dropping: what else in FORWARD drops the network's packets, in words for people.
    """

    written: tuple[str, ...] = ()
    dropping: tuple[str, ...] = ()


class ForwardChain:
    """The chain of one agent, for both families, in one network namespace.

    Args:
        marks: of the agent, which give the chain its name; those of others are not touched.
        netns_fd: the namespace; None for the process's own.
    """

    def __init__(self, marks: Marks = PODWAY, netns_fd: int | None = None) -> None:
        self.name = marks.forward_chain
        self._netns_fd = netns_fd

    def keep(self, prefixes: Iterable[IPNetwork]) -> Kept:
        """Have packets from and to *prefixes* accepted where they would be dropped.

        In a family of which there is no prefix the chain is removed.

        Raises:
            KernelError: nftables refused, or cannot be read; the family's chain is as it was.
        """
        every = list(prefixes)
        written: list[str] = []
        dropping: list[str] = []
        with worded(f"write chain {self.name}"), NftSocket(self._netns_fd) as nft:
            for version, family in _FAMILIES.items():
                wanted = [prefix for prefix in every if prefix.version == version]
                plan = self._plan(nft, family, wanted)
                nft.commit(plan.requests)
                written += [family] if plan.requests else []
                dropping += [f"{_PROGRAMS[family]}: {plan.obstacle}"] if plan.obstacle else []
        return Kept(written=tuple(written), dropping=tuple(dropping))

    def find_legacy_drops(self, prefixes: Iterable[IPNetwork]) -> list[str]:
        """Return in words what iptables-legacy would drop of *prefixes*.

        It may take seconds while another program holds iptables' lock: not for the kernel's thread.

        Raises:
            KernelError: its rules cannot be listed.
        """
        return find_legacy_drops(list(prefixes), self._netns_fd)

    def find(self) -> list[str]:
        """Return what there is of it, in words.

        Raises:
            KernelError: nftables cannot be read.
        """
        with worded(f"look for chain {self.name}"), NftSocket(self._netns_fd) as nft:
            return [
                f"chain {family} {TABLE} {self.name}"
                for family, number in NUMBERS.items()
                if nft.has_chain(number, TABLE, self.name)
            ]

    def remove(self) -> None:
        """Remove it, with what leads to it; gone already is fine.

        Raises:
            KernelError: nftables refused, or cannot be read.
        """
        with worded(f"remove chain {self.name}"), NftSocket(self._netns_fd) as nft:
            for family in NUMBERS:
                nft.commit(self._plan(nft, family, ()).requests)

    def _plan(self, nft: NftSocket, family: str, prefixes: Sequence[IPNetwork]) -> ForwardPlan:
        number = NUMBERS[family]
        is_there = nft.has_chain(number, TABLE, self.name)
        if prefixes:
            own = nft.find_rules(number, TABLE, self.name) if is_there else None
            base = nft.find_rules(number, TABLE, BASE)
            found = FoundForward(_policy(nft, number), base, own)
            return plan_forward(number, self.name, found, prefixes)
        if is_there:
            return ForwardPlan(tuple(chain_removal(nft, number, TABLE, self.name)))
        return ForwardPlan()


def _policy(nft: NftSocket, family: int) -> int | None:
    """Return the policy of FORWARD; None when there is no such chain."""
    try:
        chain = nft.request(get_chain({"family": family, "table": TABLE, "name": BASE}))
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return None if chain is None else chain.get("policy")
