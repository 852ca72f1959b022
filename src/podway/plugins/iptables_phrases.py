"""What rules of iptables match and do, as values: in iptables' words, and as the nft kind has them.

In: addresses, ports, names of chains. Out: `Phrase`. Pure; called by whoever makes rules of them
(`iptables_rules.make_rule`). Each is known in two forms::

    -p tcp -m tcp --dport 8080
    meta load l4proto => reg 1, cmp eq reg 1 06, payload load 2b @ transport + 2 => reg 1, ...

The text must be as iptables-save prints it, since what is there is found by comparing. The second
form is what iptables 1.8 of the nft kind writes; extensions of iptables are C structs in it
(include/uapi/linux/netfilter/xt_*.h), padded to 8 bytes (XT_ALIGN). Conditions that a user wrote in
iptables' words have the first form alone.
"""

from _struct import Struct
from sys import byteorder

from podway.cni.addresses import parse_address
from podway.cni.values import Value
from podway.netlink.nft_expressions import (
    NFT_CMP_EQ,
    NFT_CMP_NEQ,
    NFT_JUMP,
    NFT_META_IIFNAME,
    NFT_META_MARK,
    NFT_META_OIFNAME,
    NFT_RETURN,
    compare,
    load_meta,
    mask,
    match_port,
    verdict,
    xt_match,
    xt_target,
)
from podway.netlink.nft_rules import NF_ACCEPT, NF_DROP
from podway.plugins.iptables_names import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final, TypeAlias

    Expressions: TypeAlias = list[dict[str, Any]]

MULTIPORT_MAX: "Final" = 15
_COMMENT_BYTES: "Final" = 256
_U32: "Final" = Struct("=I")
# struct xt_addrtype_info_v1: source, dest (bits of RTN_*), flags.
_LOCAL: "Final" = Struct("=HHI").pack(0, 1 << 2, 0)
_MULTIPORT_DESTINATION: "Final" = 1
# struct xt_conntrack_mtinfo3: 146 bytes of what is not asked for, then match_flags
# (XT_CONNTRACK_STATE), invert_flags, state_mask (ESTABLISHED, RELATED).
_ESTABLISHED: "Final" = (bytes(146) + Struct("=HHH").pack(1, 0, 2 | 4)).ljust(168, b"\0")
# struct nf_nat_range2: NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED.
_TO_ADDRESS_AND_PORT: "Final" = 3
# struct nf_nat_ipv4_multi_range_compat with one range, struct nf_nat_range, both empty.
_MASQUERADE: "Final" = {4: _U32.pack(1).ljust(24, b"\0"), 6: bytes(40)}
_ODD_CHARACTERS: "Final" = "\"'\\"


class Phrase(Value):
    """A match or a target.

    Attributes:
        text: as iptables-save prints it.
        expressions: as the nft kind has it; None where only the program knows.
        jump: of a target: the chain to go on in, "" for none.
    """

    text: str
    expressions: "Expressions | None"
    jump: str = ""


def comment(text: str) -> Phrase:
    """Say what a rule is for; at most 255 bytes."""
    data = text.encode()[: _COMMENT_BYTES - 1]
    told = xt_match("comment", data.ljust(_COMMENT_BYTES, b"\0"))
    return Phrase(text=f"-m comment --comment {quote(data.decode())}", expressions=[told])


def to_this_host() -> Phrase:
    """Match packets to one of the host's own addresses."""
    told = xt_match("addrtype", _LOCAL, 1)
    return Phrase(text="-m addrtype --dst-type LOCAL", expressions=[told])


def to_port(protocol: str, port: int) -> Phrase:
    """Match the destination port of *protocol*, which the rule asks for."""
    text = f"-m {protocol} --dport {port}"
    if protocol != "sctp":
        return Phrase(text=text, expressions=match_port(port))
    # struct xt_sctp_info; iptables has no shorter form for it.
    ports = Struct("=HHHH").pack(port, port, 0, 0)
    flag_info, flags = b"\xff\0\0" * 4, Struct("=iII").pack(0, 2, 0)
    info = ports + bytes(64 * 4 + 4) + flag_info + flags
    return Phrase(text=text, expressions=[xt_match("sctp", info.ljust(296, b"\0"))])


def to_ports(ports: "tuple[int, ...]") -> Phrase:
    """Match one of up to 15 destination ports."""
    # struct xt_multiport_v1
    head = bytes((_MULTIPORT_DESTINATION, len(ports)))
    told = b"".join(port.to_bytes(2, byteorder) for port in ports)
    info = (head + told.ljust(2 * MULTIPORT_MAX, b"\0")).ljust(48, b"\0")
    text = f"-m multiport --dports {','.join(map(str, ports))}"
    return Phrase(text=text, expressions=[xt_match("multiport", info, 1)])


def marked(bit: int) -> Phrase:
    """Match packets with a bit in their mark."""
    bits = _U32.pack(1 << bit)
    told = [load_meta(NFT_META_MARK), mask(bits), compare(bits)]
    return Phrase(text=f"-m mark --mark {1 << bit:#x}/{1 << bit:#x}", expressions=told)


def established() -> Phrase:
    """Match packets of connections that the other side began."""
    told = xt_match("conntrack", _ESTABLISHED, 3)
    return Phrase(text="-m conntrack --ctstate RELATED,ESTABLISHED", expressions=[told])


def through(incoming: str, outgoing: str, *, other: bool = False) -> Phrase:
    """Match devices, "" for any.

    Args:
        incoming: device that a packet came by.
        outgoing: device that it leaves by.
        other: it leaves by any other than *outgoing*.
    """
    words: list[str] = []
    told: Expressions = []
    if incoming:
        words.append(f"-i {incoming}")
        told += [load_meta(NFT_META_IIFNAME), compare(incoming.encode() + b"\0")]
    if outgoing:
        words.append(f"! -o {outgoing}" if other else f"-o {outgoing}")
        op = NFT_CMP_NEQ if other else NFT_CMP_EQ
        told += [load_meta(NFT_META_OIFNAME), compare(outgoing.encode() + b"\0", op)]
    return Phrase(text=" ".join(words), expressions=told)


def conditions(words: "Iterable[str]") -> Phrase:
    """Match what a user wrote in iptables' words."""
    return Phrase(text=" ".join(_shell_quoted(word) for word in words), expressions=None)


def _shell_quoted(word: str) -> str:
    plain = word and not any(each.isspace() or each in _ODD_CHARACTERS for each in word)
    return word if plain else quote(word)


def jump(chain: str) -> Phrase:
    """Go on in another chain."""
    return Phrase(text=f"-j {chain}", expressions=[verdict(NFT_JUMP, chain)], jump=chain)


def accept() -> Phrase:
    """Let the packet pass."""
    return Phrase(text="-j ACCEPT", expressions=[verdict(NF_ACCEPT)])


def drop() -> Phrase:
    """Drop the packet."""
    return Phrase(text="-j DROP", expressions=[verdict(NF_DROP)])


def leave() -> Phrase:
    """Go back to where the chain was jumped to from."""
    return Phrase(text="-j RETURN", expressions=[verdict(NFT_RETURN)])


def set_mark(bit: int) -> Phrase:
    """Set a bit of the packet's mark."""
    told = xt_target("MARK", _U32.pack(1 << bit) * 2, 2)
    return Phrase(text=f"-j MARK --set-xmark {1 << bit:#x}/{1 << bit:#x}", expressions=[told])


def masquerade(family: int) -> Phrase:
    """Replace the source by the address of the outgoing device."""
    told = xt_target("MASQUERADE", _MASQUERADE[family])
    return Phrase(text="-j MASQUERADE", expressions=[told])


def forward_to(address: str, port: int) -> Phrase:
    """Replace destination and port (DNAT)."""
    packed = parse_address(address)
    place = packed.ljust(16, b"\0") * 2 + port.to_bytes(2, "big") * 2
    told = xt_target("DNAT", (_U32.pack(_TO_ADDRESS_AND_PORT) + place).ljust(48, b"\0"), 2)
    shown = f"[{address}]" if len(packed) > 4 else address
    return Phrase(text=f"-j DNAT --to-destination {shown}:{port}", expressions=[told])
