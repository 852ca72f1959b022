"""What a flanneld leaves in a node's kernel when it is stopped, as values."""

from msgspec import Struct

from podway.model.kernel import Address, FdbEntry, Link, Neighbour, Route

# What flannel's netlink library gives a route that names none (rtnetlink(7): RTPROT_BOOT).
FLANNEL_PROTOCOL = 3


class RuleSet(Struct, frozen=True, kw_only=True):
    """Rules of netfilter that are flanneld's: a chain and what jumps to it, or a whole table.

    Attributes:
        family: "ip" or "ip6".
        table: name of the table.
        chain: name of the chain; "" for the whole table.
        legacy: in the tables of iptables-legacy, which nftables does not see.
        rules: how many rules it is, jumps included.
        is_needed: they accept what the chain that leads there would drop otherwise (its policy is
            DROP, as Docker sets it): no other table can accept it in their place.
    """

    family: str
    table: str
    chain: str = ""
    legacy: bool = False
    rules: int = 0
    is_needed: bool = False

    def __str__(self) -> str:
        if not self.chain:
            return f"nftables table {self.family} {self.table}"
        program = "iptables" if self.family == "ip" else "ip6tables"
        kind = f"{program}-legacy" if self.legacy else program
        return f"{kind} chain {self.chain} of table {self.table}"


class Leftovers(Struct, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        links: tunnel devices of flannel's names, and of ours, taken over or not yet.
        indexes: of those, by name.
        strange: devices of flannel's names that podway has no such kind of.
        routes: with flannel's protocol, over one of these devices.
        entries: addresses, neighbours and FDB entries on these devices.
        direct: with flannel's protocol, by way of another machine, over any other device.
        rules: of netfilter.
        processes: of flanneld, in this network namespace, that run.
    """

    links: tuple[Link, ...] = ()
    indexes: dict[str, int] = {}
    strange: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    entries: tuple[Address | Neighbour | FdbEntry, ...] = ()
    direct: tuple[Route, ...] = ()
    rules: tuple[RuleSet, ...] = ()
    processes: tuple[int, ...] = ()
