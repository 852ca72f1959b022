r"""Published ports by iptables, in the reference plugin's chains.

In: what is published for a container. Out: an `IptablesPlan` for table nat of each family, pure
(`compute_plan`). Called by `portmap` and its siblings; what is there finds `portmap_chains`. ::

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
Its chain is the container's in its network, so two interfaces of one container share it. Whose a
rule is stands in its ``userdata``, which iptables does not show.
"""

from podway.cni.values import replace
from podway.plugins.iptables_chains import ifname_note
from podway.plugins.iptables_phrases import (
    MULTIPORT_MAX,
    comment,
    conditions,
    forward_to,
    jump,
    marked,
    masquerade,
    set_mark,
    to_port,
    to_ports,
    to_this_host,
)
from podway.plugins.iptables_rules import IptablesPlan, make_rule
from podway.plugins.portmap_chains import DNAT, TABLE, chain_name, comment_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

    from podway.plugins.iptables_rules import IptablesRule
    from podway.plugins.portmap_conf import PortmapConf, PortMapping, Publication

_SETMARK: "Final" = "CNI-HOSTPORT-SETMARK"
_MASQ: "Final" = "CNI-HOSTPORT-MASQ"


def compute_plan(wanted: "Publication", family: int) -> IptablesPlan:
    """Return what table nat of *family* must have."""
    own = chain_name(wanted.network, wanted.container_id)
    conf, cidr, told = wanted.conf, wanted.addresses[family], ifname_note(wanted.ifname)
    rules = [*_shared_rules(conf, family), *_entries(wanted, own, family)]
    for mapping in conf.mappings_of(family):
        rules += (replace(rule, userdata=told) for rule in _mapping_rules(own, mapping, cidr, conf))
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
