"""What the ``portmap`` plugin reads: its keys, the ports to publish, the container's addresses.

In: a request. Out: one frozen value, every key checked (errors are 7). Keys and defaults are the
reference plugin's; ``docs/reference/cni/portmap.md`` explains them.
"""

from podway.cni.addresses import canonical_address, parse_address
from podway.cni.errors import INVALID_CONFIG, UNSUPPORTED_FIELD, CniError
from podway.cni.fields import Fields
from podway.cni.values import Value
from podway.plugins.iptables_kinds import IPV4, has_program
from podway.plugins.iptables_names import PROTOCOLS, check_chain_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from podway.cni.requests import Request
    from podway.cni.results import Result

# The table of the nftables back end, and the chain that has all ports.
NFT_TABLE: "Final" = "cni_hostport"
NFT_CHAIN: "Final" = "hostports"
# Likewise those of versions before 1.9, and what is masqueraded.
NFT_HOSTIP_CHAIN: "Final" = "hostip_hostports"
NFT_MASQUERADE_CHAIN: "Final" = "masquerading"
BACKENDS: "Final" = ("iptables", "nftables")
# Kubernetes uses 14 and 15, Calico 20 to 31.
DEFAULT_MARK_BIT: "Final" = 13
_MAX_PORT: "Final" = 65535
_SET_MARK_CHAIN: "Final" = "externalSetMarkChain"
_CONDITIONS: "Final" = {4: "conditionsV4", 6: "conditionsV6"}


class PortMapping(Value):
    """One port to publish.

    Attributes:
        host_port: on which the host listens.
        container_port: where it leads to.
        protocol: "tcp", "udp", "sctp".
        host_address: the only address that it listens on, in canonical form; "" for all.
        family: 4 or 6, the family that ``hostIP`` names; 0 for both.
    """

    host_port: int
    container_port: int
    protocol: str
    host_address: str
    family: int


class PortmapConf(Value):
    """The configuration, and what the runtime asks for.

    Attributes:
        backend: "iptables", "nftables", "" for what the system has.
        snat: connections from the host itself, and of the container to itself, are masqueraded.
        masq_all: all connections to published ports are.
        mark_bit: of packets to be masqueraded; for iptables.
        set_mark_chain: somebody else's chain that sets a mark, "" for podway's; for iptables.
        conditions: by family (4, 6), words that a packet must match besides.
        mappings: ports to publish.
    """

    backend: str
    snat: bool
    masq_all: bool
    mark_bit: int
    set_mark_chain: str
    conditions: dict[int, tuple[str, ...]]
    mappings: tuple[PortMapping, ...]

    def mappings_of(self, family: int) -> tuple[PortMapping, ...]:
        """Return the ports that are published in one family."""
        return tuple(each for each in self.mappings if each.family in {0, family})


class Publication(Value):
    """What is published for one attachment.

    Attributes:
        network: its name.
        container_id: of the container.
        ifname: of the interface.
        conf: the ports, and how.
        addresses: of the container with prefix length, by family (4, 6).
    """

    network: str
    container_id: str
    ifname: str
    conf: PortmapConf
    addresses: dict[int, str]


def publication_of(request: "Request", conf: PortmapConf, result: "Result | None") -> Publication:
    """Return what is published for the attachment of *request*, which *result* tells of."""
    return Publication(
        network=request.config.name,
        container_id=request.container_id,
        ifname=request.ifname,
        conf=conf,
        addresses={} if result is None else container_addresses(result, request.ifname),
    )


def parse_portmap_conf(request: "Request") -> PortmapConf:
    """Return what *request* configures and asks for.

    Raises:
        CniError: INVALID_CONFIG.
    """
    fields = Fields(request.config.raw, code=INVALID_CONFIG)
    mark_bit = fields.integer_within("markMasqBit", 0, 31)
    set_mark_chain = fields.text(_SET_MARK_CHAIN)
    if set_mark_chain:
        check_chain_name(_SET_MARK_CHAIN, set_mark_chain)
        if mark_bit is not None:
            text = f"{_SET_MARK_CHAIN} and markMasqBit exclude each other"
            raise CniError(INVALID_CONFIG, text)
    runtime = Fields(request.config.runtime_config, "runtimeConfig", INVALID_CONFIG)
    conf = PortmapConf(
        backend=fields.choice("backend", BACKENDS),
        snat=fields.boolean("snat", default=True),
        masq_all=fields.boolean("masqAll"),
        mark_bit=DEFAULT_MARK_BIT if mark_bit is None else mark_bit,
        set_mark_chain=set_mark_chain,
        conditions={family: _parse_conditions(fields, key) for family, key in _CONDITIONS.items()},
        mappings=_arrange(_parse_mapping(each) for each in runtime.each("portMappings")),
    )
    _check_language(conf)
    return conf


def check_ports(conf: PortmapConf) -> None:
    """Refuse a port of the host that is to lead to two ports of the container.

    Only ADD asks: whatever somebody has published before can be taken back.

    Raises:
        CniError: INVALID_CONFIG.
    """
    leads_to: dict[tuple[int, str, str, int], int] = {}
    for mapping in conf.mappings:
        port, protocol, to = mapping.host_port, mapping.protocol, mapping.container_port
        for family in (4, 6) if not mapping.family else (mapping.family,):
            key = (port, protocol, mapping.host_address, family)
            if leads_to.setdefault(key, to) != to:
                text = f"hostPort {port}/{protocol} is asked for twice"
                rule = f"must lead to one port of the container, not to {leads_to[key]} and {to}"
                raise CniError(INVALID_CONFIG, f"runtimeConfig.portMappings: {text}: {rule}")


def _arrange(mappings: "Iterable[PortMapping]") -> tuple[PortMapping, ...]:
    """Return *mappings* as they are to be looked at: one address of the host before all of them."""
    return tuple(sorted(dict.fromkeys(mappings), key=lambda each: not each.host_address))


def choose_backend(conf: PortmapConf) -> str:
    """Return the back end to use: the configured one, or iptables where it is installed.

    Raises:
        CniError: UNSUPPORTED_FIELD, iptables is wanted and not installed; INVALID_CONFIG, the
            conditions are in the other's language.
    """
    has_iptables = has_program(IPV4, "restore")
    if conf.backend == "iptables" and not has_iptables:
        raise CniError(
            UNSUPPORTED_FIELD,
            "backend = 'iptables': iptables-restore is not installed; use 'nftables'",
        )
    backend = conf.backend or ("iptables" if has_iptables else "nftables")
    for key, language in _languages(conf):
        if language != backend:
            cure = f"write it in the words of {backend}"
            if key == _SET_MARK_CHAIN:
                cure = "leave it out"
            raise CniError(
                INVALID_CONFIG,
                f"{key} is for {language}, and the back end is {backend}: set backend, or {cure}",
            )
    return backend


def container_addresses(result: "Result", ifname: str) -> dict[int, str]:
    """Return the container's first address of each family (4, 6) with its prefix length.

    As in the reference plugin: an address that belongs to no interface counts, one of a device on
    the host or of another name does not.
    """
    found: dict[int, str] = {}
    for ip in result.ips:
        family = 6 if ":" in ip.address else 4
        if ip.interface is not None and ip.interface < len(result.interfaces):
            interface = result.interfaces[ip.interface]
            if interface.name != ifname or not interface.sandbox:
                continue
        found.setdefault(family, ip.address)
    return found


def _parse_mapping(fields: Fields) -> PortMapping:
    ports = {}
    for key in ("hostPort", "containerPort"):
        port = fields.integer_within(key, 1, _MAX_PORT)
        if port is None:
            raise fields.refused(key, None, f"must be 1 to {_MAX_PORT}")
        ports[key] = port
    # Some runtimes write TCP.
    protocol = fields.text("protocol").lower()
    if protocol not in PROTOCOLS:
        rule = f"must be one of {', '.join(PROTOCOLS)}"
        raise fields.refused("protocol", fields.text("protocol"), rule)
    host, family = _parse_host_address(fields)
    return PortMapping(
        host_port=ports["hostPort"],
        container_port=ports["containerPort"],
        protocol=protocol,
        host_address=host,
        family=family,
    )


def _parse_host_address(fields: Fields) -> tuple[str, int]:
    """Return ``hostIP`` in canonical form, "" for any, and its family, 0 for none."""
    text = fields.text("hostIP")
    if not text:
        return "", 0
    try:
        packed = parse_address(text)
    except ValueError as error:
        raise fields.refused("hostIP", text, str(error)) from None
    return canonical_address(text) if any(packed) else "", 4 if len(packed) == 4 else 6


def _parse_conditions(fields: Fields, key: str) -> tuple[str, ...]:
    words = fields.texts(key)
    for position, word in enumerate(words):
        if not word.isprintable() or not word.strip():
            rule = "must be a word without line feeds and other control characters"
            raise fields.refused(f"{key}[{position}]", word, rule)
    return words


def _languages(conf: PortmapConf) -> list[tuple[str, str]]:
    """Return the keys that only one back end understands, and which."""
    found = [(_SET_MARK_CHAIN, "iptables")] if conf.set_mark_chain else []
    for family, words in conf.conditions.items():
        if words:
            # "-d", "--sport", "!"; nothing of nft begins so.
            language = "iptables" if words[0][0] in "-!" else "nftables"
            found.append((_CONDITIONS[family], language))
    return found


def _check_language(conf: PortmapConf) -> None:
    """Refuse conditions of nft that would be more than a condition."""
    for key, language in _languages(conf):
        family = 4 if key == _CONDITIONS[4] else 6
        text = " ".join(conf.conditions[family])
        if language == "nftables" and _ends_statement(text):
            rule = "must be matches of nft, without ';', '#' or braces that are not closed"
            raise CniError(INVALID_CONFIG, f"{key} = {text!r}: {rule}")


def _ends_statement(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if depth < 0 or character in ';#\\"':
            return True
    return depth != 0
