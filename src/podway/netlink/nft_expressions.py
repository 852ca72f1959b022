"""What nftables rules are made of: expressions, and the usual phrases built from them.

Comes in: addresses, ports, names. Goes out: lists of expressions for `nft_rules.append_rule`, in
the form in which `nft` itself writes them, so that its listings show them as text. A rule is a
program: it loads into register 1 and compares, and ends with what is to be done. ::

    ip saddr 10.1.0.5 masquerade
    = meta load nfproto => reg 1, cmp eq reg 1 02, payload load 4b @ network + 12 => reg 1,
      cmp eq reg 1 0a010005, masq

Sources: include/uapi/linux/netfilter/nf_tables.h; net/netfilter/nft_*.c.
"""

from __future__ import annotations

from podway.netlink.attribute_types import BE32, BE64, BE_S32, BYTES, TEXT, U8
from podway.netlink.attributes import AttributeSet, Nested, Selected
from podway.netlink.constants import NFPROTO_IPV4, NFPROTO_IPV6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Expression: TypeAlias = dict[str, Any]

NFT_REG_VERDICT = 0
NFT_REG_1 = 1
NFT_REG_2 = 2
NFT_CMP_EQ = 0
NFT_CMP_NEQ = 1
NFT_PAYLOAD_LL_HEADER = 0
NFT_PAYLOAD_NETWORK_HEADER = 1
NFT_PAYLOAD_TRANSPORT_HEADER = 2
NFT_META_MARK = 3
NFT_META_IIF = 4
NFT_META_OIF = 5
NFT_META_IIFNAME = 6
NFT_META_OIFNAME = 7
NFT_META_NFPROTO = 15
NFT_META_L4PROTO = 16
NFT_CT_STATE = 0
NFT_CT_STATUS = 2
NFT_CT_MARK = 3
NFT_FIB_RESULT_ADDRTYPE = 3
NFTA_FIB_F_SADDR = 1
NFTA_FIB_F_DADDR = 2
NFT_NAT_SNAT = 0
NFT_NAT_DNAT = 1
NF_NAT_RANGE_PROTO_SPECIFIED = 2
NFT_LOOKUP_F_INV = 1
NFT_JUMP = -3
NFT_GOTO = -4
NFT_RETURN = -5
_IFNAMSIZ = 16

_VERDICT = AttributeSet("NFTA_VERDICT", ((1, "code", BE_S32), (2, "chain", TEXT)))
# Of expressions and of elements of sets.
DATA = Nested(AttributeSet("NFTA_DATA", ((1, "value", BYTES), (2, "verdict", Nested(_VERDICT)))))
_KINDS = {
    "immediate": AttributeSet("NFTA_IMMEDIATE", ((1, "dreg", BE32), (2, "data", DATA))),
    "cmp": AttributeSet("NFTA_CMP", ((1, "sreg", BE32), (2, "op", BE32), (3, "data", DATA))),
    "range": AttributeSet(
        "NFTA_RANGE",
        ((1, "sreg", BE32), (2, "op", BE32), (3, "from_data", DATA), (4, "to_data", DATA)),
    ),
    "bitwise": AttributeSet(
        "NFTA_BITWISE",
        (
            (1, "sreg", BE32),
            (2, "dreg", BE32),
            (3, "len", BE32),
            (4, "mask", DATA),
            (5, "xor", DATA),
            (6, "op", BE32),
            (7, "data", DATA),
        ),
    ),
    "payload": AttributeSet(
        "NFTA_PAYLOAD",
        (
            (1, "dreg", BE32),
            (2, "base", BE32),
            (3, "offset", BE32),
            (4, "len", BE32),
            (5, "sreg", BE32),
            (6, "csum_type", BE32),
            (7, "csum_offset", BE32),
            (8, "csum_flags", BE32),
        ),
    ),
    "lookup": AttributeSet(
        "NFTA_LOOKUP",
        (
            (1, "set", TEXT),
            (2, "sreg", BE32),
            (3, "dreg", BE32),
            (4, "set_id", BE32),
            (5, "flags", BE32),
        ),
    ),
    "meta": AttributeSet("NFTA_META", ((1, "dreg", BE32), (2, "key", BE32), (3, "sreg", BE32))),
    "ct": AttributeSet(
        "NFTA_CT", ((1, "dreg", BE32), (2, "key", BE32), (3, "direction", U8), (4, "sreg", BE32))
    ),
    "fib": AttributeSet("NFTA_FIB", ((1, "dreg", BE32), (2, "result", BE32), (3, "flags", BE32))),
    "counter": AttributeSet("NFTA_COUNTER", ((1, "bytes", BE64), (2, "packets", BE64))),
    "masq": AttributeSet(
        "NFTA_MASQ", ((1, "flags", BE32), (2, "reg_proto_min", BE32), (3, "reg_proto_max", BE32))
    ),
    "nat": AttributeSet(
        "NFTA_NAT",
        (
            (1, "type", BE32),
            (2, "family", BE32),
            (3, "reg_addr_min", BE32),
            (4, "reg_addr_max", BE32),
            (5, "reg_proto_min", BE32),
            (6, "reg_proto_max", BE32),
            (7, "flags", BE32),
        ),
    ),
    "redir": AttributeSet(
        "NFTA_REDIR", ((1, "reg_proto_min", BE32), (2, "reg_proto_max", BE32), (3, "flags", BE32))
    ),
    # Extensions of iptables (net/netfilter/nft_compat.c).
    "match": AttributeSet("NFTA_MATCH", ((1, "name", TEXT), (2, "rev", BE32), (3, "info", BYTES))),
    "target": AttributeSet(
        "NFTA_TARGET", ((1, "name", TEXT), (2, "rev", BE32), (3, "info", BYTES))
    ),
    "reject": AttributeSet("NFTA_REJECT", ((1, "type", BE32), (2, "icmp_code", U8))),
}
EXPRESSION = AttributeSet("NFTA_EXPR", ((1, "name", TEXT), (2, "data", Selected("name", _KINDS))))


def _expression(kind: str, /, **data: Any) -> Expression:
    return {"name": kind, "data": data}


def load_meta(key: int, register: int = NFT_REG_1) -> Expression:
    """Load NFT_META_*."""
    return _expression("meta", dreg=register, key=key)


def load_ct(key: int, register: int = NFT_REG_1) -> Expression:
    """Load NFT_CT_*."""
    return _expression("ct", dreg=register, key=key)


def load_payload(base: int, offset: int, size: int, register: int = NFT_REG_1) -> Expression:
    """Load *size* bytes of the packet, from *offset* bytes behind NFT_PAYLOAD_*_HEADER (*base*)."""
    return _expression("payload", dreg=register, base=base, offset=offset, len=size)


def load_fib(result: int, flags: int, register: int = NFT_REG_1) -> Expression:
    """Load what the routing tables say of the packet (NFT_FIB_RESULT_*, asked by NFTA_FIB_F_*)."""
    return _expression("fib", dreg=register, result=result, flags=flags)


def load_value(value: bytes, register: int = NFT_REG_1) -> Expression:
    """Load a constant."""
    return _expression("immediate", dreg=register, data={"value": value})


def store_meta(key: int, register: int = NFT_REG_1) -> Expression:
    """Set NFT_META_* from a register."""
    return _expression("meta", key=key, sreg=register)


def store_ct(key: int, register: int = NFT_REG_1) -> Expression:
    """Set NFT_CT_* from a register."""
    return _expression("ct", key=key, sreg=register)


def compare(value: bytes, op: int = NFT_CMP_EQ, register: int = NFT_REG_1) -> Expression:
    """Go on with the rule only if the register compares so (NFT_CMP_*) with *value*."""
    return _expression("cmp", sreg=register, op=op, data={"value": value})


def mask(bits: bytes, register: int = NFT_REG_1, xor: bytes = b"") -> Expression:
    """Let the register be (register & *bits*) ^ *xor*."""
    data = {"mask": {"value": bits}, "xor": {"value": xor or bytes(len(bits))}}
    return _expression("bitwise", sreg=register, dreg=register, len=len(bits), **data)


def look_up(set_name: str, register: int = NFT_REG_1, *, inverted: bool = False) -> Expression:
    """Go on only if the register is in a set (or is not)."""
    flags = {"flags": NFT_LOOKUP_F_INV} if inverted else {}
    return _expression("lookup", set=set_name, sreg=register, **flags)


def count() -> Expression:
    """Count packets and bytes."""
    return _expression("counter")


def verdict(code: int, chain: str = "") -> Expression:
    """End the rule with NF_ACCEPT, NF_DROP, NFT_RETURN, or NFT_JUMP or NFT_GOTO to *chain*."""
    told = {"code": code, "chain": chain} if chain else {"code": code}
    return _expression("immediate", dreg=NFT_REG_VERDICT, data={"verdict": told})


def masquerade() -> Expression:
    """Replace the source by the address of the outgoing device."""
    return _expression("masq")


def xt_match(name: str, info: bytes, revision: int = 0) -> Expression:
    """Match by an extension of iptables; *info* is its C struct."""
    return _expression("match", name=name, rev=revision, info=info)


def xt_target(name: str, info: bytes, revision: int = 0) -> Expression:
    """End the rule with a target of iptables; *info* is its C struct."""
    return _expression("target", name=name, rev=revision, info=info)


def destination_nat(family: int, *, with_port: bool = False) -> Expression:
    """Replace the destination by the address in register 1 (and the port in register 2).

    Args:
        family: NFPROTO_IPV4 or NFPROTO_IPV6, of that address.
        with_port: the port too.
    """
    told = {"type": NFT_NAT_DNAT, "family": family, "reg_addr_min": NFT_REG_1}
    if with_port:
        told |= {"reg_proto_min": NFT_REG_2, "flags": NF_NAT_RANGE_PROTO_SPECIFIED}
    return _expression("nat", **told)


def match_nfproto(size: int) -> list[Expression]:
    """Match the family of addresses of *size* bytes (4, 16); for tables of family inet."""
    family = NFPROTO_IPV4 if size == 4 else NFPROTO_IPV6
    return [load_meta(NFT_META_NFPROTO), compare(bytes((family,)))]


def match_address(
    packed: bytes, bits: int = 0, *, source: bool, op: int = NFT_CMP_EQ, inet: bool = True
) -> list[Expression]:
    """Match the source or destination address of a packet, as `nft` and iptables do.

    Args:
        packed: 4 or 16 bytes.
        bits: prefix length; 0 for the whole address.
        source: the source, else the destination.
        op: NFT_CMP_EQ or NFT_CMP_NEQ.
        inet: the table is of family inet, so that the family of the packet must be asked for.
    """
    size = len(packed)
    offset = (12 if source else 16) if size == 4 else (8 if source else 24)
    bits = bits or size * 8
    network, bitmask = network_of(packed, bits)
    # A prefix of whole bytes is as many bytes; any other needs a mask.
    loaded = bits // 8 if bits % 8 == 0 else size
    expressions = match_nfproto(size) if inet else []
    expressions.append(load_payload(NFT_PAYLOAD_NETWORK_HEADER, offset, loaded))
    if bits % 8:
        expressions.append(mask(bitmask))
    return [*expressions, compare(network[:loaded], op)]


def network_of(packed: bytes, bits: int) -> tuple[bytes, bytes]:
    """Return the first address of the subnet of *bits* that *packed* is in, and its mask."""
    size = len(packed)
    bitmask = ((1 << bits) - 1 << size * 8 - bits).to_bytes(size, "big")
    return bytes(a & b for a, b in zip(packed, bitmask, strict=True)), bitmask


def match_device(key: int, ifname: str, op: int = NFT_CMP_EQ) -> list[Expression]:
    """Match NFT_META_IIFNAME or NFT_META_OIFNAME."""
    return [load_meta(key), compare(ifname.encode().ljust(_IFNAMSIZ, b"\0"), op)]


def match_l4proto(protocol: int) -> list[Expression]:
    """Match IPPROTO_*."""
    return [load_meta(NFT_META_L4PROTO), compare(bytes((protocol,)))]


def match_port(port: int, *, source: bool = False) -> list[Expression]:
    """Match a port of TCP, UDP or SCTP; the protocol is matched before."""
    load = load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0 if source else 2, 2)
    return [load, compare(port.to_bytes(2, "big"))]


def match_ether_source(mac: str, op: int = NFT_CMP_EQ) -> list[Expression]:
    """Match the source MAC address, given as colon text; for tables of family bridge."""
    load = load_payload(NFT_PAYLOAD_LL_HEADER, 6, 6)
    return [load, compare(bytes.fromhex(mac.replace(":", "")), op)]
