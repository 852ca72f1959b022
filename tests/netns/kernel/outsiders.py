"""Another program that changes the kernel: iproute2, bridge, nft and ethtool.

It shares no line with the code under test.
"""

import tempfile

from netns.conftest import Netns, run
from netns.kernel.iproute2_words import (
    family_flag,
    fdb_words,
    kind_words,
    neighbour_words,
    route_words,
    rule_words,
)
from podway.model.addresses import family_of
from podway.model.kernel import (
    Address,
    FdbEntry,
    KernelObject,
    Link,
    Neighbour,
    NftTable,
    Offload,
    Route,
    Rule,
    Sysctl,
)


class Outsider:
    """Somebody else in one namespace."""

    def __init__(self, netns: Netns) -> None:
        self.netns = netns

    # --- writing --------------------------------------------------------------------------------

    def set(self, item: KernelObject, *, exists: bool) -> None:  # one for each kind
        """Write *item*, over what has its key if it *exists*."""
        match item:
            case Link():
                self._set_link(item, exists=exists)
            case Address():
                self._set_address(item, exists=exists)
            case Route():
                self.netns.ip(
                    family_flag(family_of(item.dst)), "route", "replace", *route_words(item)
                )
            case Neighbour():
                self.netns.ip("neighbour", "replace", *neighbour_words(item))
            case FdbEntry():
                self._bridge("fdb", "replace", *fdb_words(item))
            case Rule():
                self.netns.ip(family_flag(item.family), "rule", "add", *rule_words(item))
            case Sysctl():
                self.netns.exec("sh", "-c", f"echo {item.value} > '/proc/sys/net/{item.path}'")
            case Offload():
                self.netns.exec(
                    "ethtool", "-K", item.dev, "tx", "on" if item.tx_checksum else "off"
                )
            case NftTable():
                self._set_table(item)
            case _:
                raise AssertionError("iproute2 knows nothing of it")

    def delete(self, item: KernelObject) -> None:
        """Delete *item*."""
        match item:
            case Link():
                self.netns.ip("link", "delete", item.name)
            case Address():
                self.netns.ip("address", "delete", str(item.address), "dev", item.dev)
            case Route():
                words = ["delete", *route_words(item)]
                self.netns.ip(family_flag(family_of(item.dst)), "route", *words)
            case Neighbour():
                self.netns.ip("neighbour", "delete", *neighbour_words(item))
            case FdbEntry():
                self._bridge("fdb", "delete", *fdb_words(item))
            case Rule():
                self.netns.ip(family_flag(item.family), "rule", "delete", *rule_words(item))
            case NftTable():
                self.netns.exec("nft", "delete", "table", item.family, item.name)
            case Sysctl() | Offload():
                raise AssertionError("nobody can delete it")
            case _:
                raise AssertionError("iproute2 knows nothing of it")

    def set_up(self, dev: str, *, up: bool) -> None:
        """Bring device *dev* up or down."""
        self.netns.ip("link", "set", dev, "up" if up else "down")

    def _set_link(self, item: Link, *, exists: bool) -> None:
        if not exists:
            self.netns.ip("link", "add", item.name, "type", *kind_words(item))
        words = ["alias", item.alias, "up" if item.up else "down"]
        if item.mtu is not None:
            words += ["mtu", str(item.mtu)]
        if item.mac is not None:
            words += ["address", item.mac]
        words += ["master", item.master] if item.master else ["nomaster"]
        self.netns.ip("link", "set", item.name, *words)
        if item.hairpin is not None and item.master:
            state = "on" if item.hairpin else "off"
            self._bridge("link", "set", "dev", item.name, "hairpin", state)

    def _set_address(self, item: Address, *, exists: bool) -> None:
        place = (str(item.address), "dev", item.dev)
        if exists:  # the scope is not among what the kernel replaces
            self.netns.ip("address", "delete", *place)
        self.netns.ip("address", "add", *place, "scope", item.scope, *_dad(item))

    def _set_table(self, item: NftTable) -> None:
        name = f"{item.family} {item.name}"
        text = f"add table {name}\ndelete table {name}\ntable {name} {{\n{item.body}\n}}\n"
        with tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
            file.write(text)
            file.flush()
            self.netns.exec("nft", "-f", file.name)

    def _bridge(self, *words: str) -> str:
        return run("bridge", "-n", self.netns.name, *words)


def _dad(item: Address) -> list[str]:
    return ["nodad"] if item.address.version == 6 else []
