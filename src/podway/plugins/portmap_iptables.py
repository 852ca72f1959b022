r"""Published ports by iptables, in the reference plugin's chains.

In: what is published for a container. Out: an `IptablesPlan` for table nat of each family, pure
(`compute_plan`), and the ways to find what is there. Called by `portmap` and its siblings. ::

    -A PREROUTING, OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
    -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"net\" id: \"c1\""
                         -m multiport --dports 8080 <conditions> -j CNI-DN-<21 digits>
    -A CNI-DN-... -s 10.1.0.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
    -A CNI-DN-... -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
    -A CNI-DN-... -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.5:80
    -A CNI-HOSTPORT-SETMARK ... -j MARK --set-xmark 0x2000/0x2000
    -I POSTROUTING ... -j CNI-HOSTPORT-MASQ
    -A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE

A container's rules go before those of others: should two publish one port, the last one has it.
Its chain is the container's in its network, so two interfaces of one container share it.
"""

from podway.cni.addresses import parse_address
from podway.netlink.nft_rules import delete_chain, delete_rule, dump_chains
from podway.plugins.digests import sha512_hex
from podway.plugins.iptables_changes import (
    NFPROTO,
    IptablesPlan,
    deletion,
    find_own_chain,
    jump_of,
    program_of,
)
from podway.plugins.iptables_rules import (
    MULTIPORT_MAX,
    comment,
    conditions,
    forward_to,
    jump,
    make_rule,
    marked,
    masquerade,
    set_mark,
    to_port,
    to_ports,
    to_this_host,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

    from podway.netlink.nft_rules import NftFields
    from podway.netlink.nft_transactions import NftSocket
    from podway.plugins.iptables_changes import Requests
    from podway.plugins.iptables_rules import IptablesRule
    from podway.plugins.portmap_conf import PortmapConf, PortMapping, Publication

TABLE: "Final" = "nat"
DNAT: "Final" = "CNI-HOSTPORT-DNAT"
_SETMARK: "Final" = "CNI-HOSTPORT-SETMARK"
_MASQ: "Final" = "CNI-HOSTPORT-MASQ"
OLD_SNAT: "Final" = "CNI-HOSTPORT-SNAT"
_CHAIN_DIGITS: "Final" = 21
_MAX_COMMENT: "Final" = 255


def chain_name(network: str, container_id: str, kind: str = "DN") -> str:
    """Return the chain of a container in a network; *kind* "SN" is of old versions."""
    return f"CNI-{kind}-{sha512_hex(network + container_id)[:_CHAIN_DIGITS]}"


def comment_start(network: str) -> str:
    """Return what the comments of all of a network's entries begin with."""
    return f'dnat name: "{network}" id: "'


def comment_text(network: str, container_id: str) -> str:
    """Return the comment of a container's entries."""
    text = f'{comment_start(network)}{container_id}"'
    return text if len(text) <= _MAX_COMMENT else f"{text[: _MAX_COMMENT - 2]}..."


def compute_plan(wanted: "Publication", family: int) -> IptablesPlan:
    """Return what table nat of *family* must have."""
    own = chain_name(wanted.network, wanted.container_id)
    conf, cidr = wanted.conf, wanted.addresses[family]
    rules = [*_shared_rules(conf, family), *_entries(wanted, own, family)]
    for mapping in conf.mappings_of(family):
        rules += _mapping_rules(own, mapping, cidr, conf)
    shared = (DNAT,) if not conf.snat or conf.set_mark_chain else (_SETMARK, _MASQ, DNAT)
    return IptablesPlan(family=family, table=TABLE, chains=shared, own=own, rules=tuple(rules))


def _shared_rules(conf: "PortmapConf", family: int) -> "Iterator[IptablesRule]":
    """Return the rules that all containers share."""
    for base in ("PREROUTING", "OUTPUT"):
        yield make_rule(base, jump(DNAT), to_this_host())
    if not conf.snat or conf.set_mark_chain:
        return
    told = comment("CNI portfwd masquerade mark")
    yield make_rule(_SETMARK, set_mark(conf.mark_bit), told)
    yield make_rule(_MASQ, masquerade(family), marked(conf.mark_bit))
    # Before the rules that masquerade containers, or those would have the packets first.
    told = comment("CNI portfwd requiring masquerade")
    yield make_rule("POSTROUTING", jump(_MASQ), told, is_first=True)


def _entries(wanted: "Publication", own: str, family: int) -> "Iterator[IptablesRule]":
    """Return the rules that lead to the container's chain."""
    told = comment(comment_text(wanted.network, wanted.container_id))
    words = wanted.conf.conditions[family]
    for protocol, ports in group_ports(wanted.conf.mappings):
        matches = [told, to_ports(ports), *([conditions(words)] if words else [])]
        yield make_rule(DNAT, jump(own), *matches, protocol=protocol, is_first=True)


def group_ports(mappings: "Iterable[PortMapping]") -> list[tuple[str, tuple[int, ...]]]:
    """Return the host's ports by protocol, up to 15 at a time."""
    by_protocol: dict[str, list[int]] = {}
    for each in mappings:
        by_protocol.setdefault(each.protocol, []).append(each.host_port)
    return [
        (protocol, tuple(ports[start : start + MULTIPORT_MAX]))
        for protocol, ports in sorted(by_protocol.items())
        for start in range(0, len(ports), MULTIPORT_MAX)
    ]


def _mapping_rules(
    own: str, mapping: "PortMapping", cidr: str, conf: "PortmapConf"
) -> "Iterator[IptablesRule]":
    """Return the rules of one port: who is to be masqueraded, and where it leads to."""
    protocol, to = mapping.protocol, to_port(mapping.protocol, mapping.host_port)
    address = cidr.partition("/")[0]
    host = mapping.host_address
    if conf.snat:
        mark = jump(conf.set_mark_chain or _SETMARK)
        local = [] if ":" in cidr else ["127.0.0.1"]
        # All, or those who come from the container's own subnet or from the host's loopback.
        for source in [""] if conf.masq_all else [cidr, *local]:
            yield make_rule(own, mark, to, protocol=protocol, source=source, destination=host)
    target = forward_to(address, mapping.container_port)
    yield make_rule(own, target, to, protocol=protocol, destination=host)


def find(nft: "NftSocket", wanted: "Publication") -> "Requests":
    """Return the requests that take away the rules of an attachment.

    Where the container's chain leads to other addresses besides, another interface of the container
    has them: then the chain stays, without what leads to this one's.
    """
    requests: Requests = []
    for family in NFPROTO:
        own = chain_name(wanted.network, wanted.container_id)
        mine, others = _targets(nft, wanted, family, own)
        if others:
            requests += mine
        else:
            requests += find_own_chain(nft, (family, TABLE), own, DNAT)
        old = chain_name(wanted.network, wanted.container_id, "SN")
        requests += find_own_chain(nft, (family, TABLE), old, OLD_SNAT)
    return requests


def _targets(
    nft: "NftSocket", wanted: "Publication", family: int, own: str
) -> "tuple[Requests, int]":
    """Return the requests that delete DNAT to the attachment, and how many go elsewhere."""
    cidr = wanted.addresses.get(family)
    if cidr is None:
        return [], 0
    nfproto = NFPROTO[family]
    rules = [
        rule
        for rule in nft.find_rules(nfproto, TABLE, own, b"DNAT\0")
        if program_of(rule)[-1]["name"] == "target"
    ]
    packed = parse_address(cidr.partition("/")[0])
    # struct nf_nat_range2: flags, then the first address.
    mine = [rule for rule in rules if program_of(rule)[-1]["data"]["info"][4:].startswith(packed)]
    return [deletion(rule, nfproto, TABLE) for rule in mine], len(rules) - len(mine)


def find_garbage(nft: "NftSocket", network: str, valid: "Iterable[str]") -> "Requests":
    """Return the requests that take away the rules of containers that are not *valid*.

    Chains that nobody jumps to are garbage of any network: a plugin was killed before it wrote the
    entry, or after it had removed it.
    """
    kept = {chain_name(network, container) for container in valid}
    start = comment_start(network)
    requests: Requests = []
    for nfproto in NFPROTO.values():
        entries = nft.find_rules(nfproto, TABLE, DNAT, b"CNI-DN-")
        mine = [rule for rule in entries if comment_in(rule).startswith(start)]
        used = {jump_of(rule) for rule in entries}
        gone = {jump_of(rule) for rule in mine} - kept
        gone |= {name for name in _own_chains(nft, nfproto) if name not in used}
        requests += [deletion(rule, nfproto, TABLE) for rule in entries if jump_of(rule) in gone]
        for chain in sorted(gone):
            requests.append(delete_rule({"family": nfproto, "table": TABLE, "chain": chain}))
            requests.append(delete_chain({"family": nfproto, "table": TABLE, "name": chain}))
    return requests


def _own_chains(nft: "NftSocket", nfproto: int) -> "Iterator[str]":
    for chain in nft.dump(dump_chains(nfproto)):
        if chain["table"] == TABLE and chain["name"].startswith("CNI-DN-"):
            yield chain["name"]


def comment_in(rule: "NftFields") -> str:
    """Return the comment of a rule that was found, "" without one."""
    for each in rule.get("expressions", {}).get("elem", []):
        if each["name"] == "match" and each["data"]["name"] == "comment":
            text: str = each["data"]["info"].partition(b"\0")[0].decode(errors="replace")
            return text
    return ""
