"""Rules of nftables written through netlink, with `nft` and iptables as witnesses."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from sys import byteorder
from typing import Any

import pytest

from netns.conftest import Netns
from podway.netlink import NetlinkError, pack_address
from podway.netlink.constants import (
    NETLINK_NETFILTER,
    NFPROTO_BRIDGE,
    NFPROTO_INET,
    NFPROTO_IPV4,
    NFPROTO_IPV6,
)
from podway.netlink.nft_expressions import (
    NFT_CMP_NEQ,
    NFT_FIB_RESULT_ADDRTYPE,
    NFT_GOTO,
    NFT_JUMP,
    NFT_META_IIFNAME,
    NFT_META_MARK,
    NFT_META_OIFNAME,
    NFT_REG_1,
    NFT_REG_2,
    NFT_RETURN,
    NFTA_FIB_F_DADDR,
    compare,
    count,
    destination_nat,
    load_fib,
    load_meta,
    load_value,
    look_up,
    mask,
    masquerade,
    match_address,
    match_device,
    match_ether_source,
    match_l4proto,
    match_port,
    store_meta,
    verdict,
)
from podway.netlink.nft_rules import (
    COMMENT_MAX_BYTES,
    NF_ACCEPT,
    NF_DROP,
    NF_INET_POST_ROUTING,
    NF_INET_PRE_ROUTING,
    NF_IP_PRI_NAT_DST,
    NF_IP_PRI_NAT_SRC,
    add_chain,
    add_elements,
    add_set,
    add_table,
    append_rule,
    comment,
    comment_of,
    delete_chain,
    delete_elements,
    delete_rule,
    delete_set,
    delete_table,
    dump_chains,
    dump_elements,
    insert_rule,
)
from podway.netlink.nft_transactions import NftSocket
from podway.netlink.socket import NetlinkSocket

MARK = (0x2000).to_bytes(4, byteorder)
FOUR, SIX = pack_address("10.1.2.5"), pack_address("fd00::5")


class Table:
    """A table ``t`` with a chain ``c``, and what `nft` says of it."""

    def __init__(self, netns: Netns, family: int, word: str) -> None:
        self.nft = NftSocket(netns.fd)
        self.netns = netns
        self.word = word
        self.family = family
        self.nft.commit([add_table({"family": family, "name": "t"}), add_chain(self.at(name="c"))])

    def at(self, chain: str = "", **keys: Any) -> Any:
        """Return the fields of a chain of the table, or of what *keys* say."""
        place = {"family": self.family, "table": "t"}
        return {**place, **({"chain": chain} if chain else {}), **keys}

    def rules(self, chain: str = "c") -> list[str]:
        lines = self.netns.exec("nft", "list", "chain", self.word, "t", chain).splitlines()
        return [line.strip() for line in lines if line.startswith("\t\t")]


@pytest.fixture
def table(netns: Netns) -> Any:
    """Return a function that makes the table in a family; its sockets are closed afterwards."""
    made: list[Table] = []

    def make(family: int = NFPROTO_INET, word: str = "inet") -> Table:
        made.append(Table(netns, family, word))
        return made[-1]

    yield make
    for each in made:
        each.nft.close()


INET = {
    "ip saddr 10.1.2.5 accept": [*match_address(FOUR, source=True), verdict(NF_ACCEPT)],
    "ip daddr != 10.1.0.0/16 masquerade": [
        *match_address(FOUR, 16, source=False, op=NFT_CMP_NEQ), masquerade(),
    ],
    "ip6 saddr fd00::/64 drop": [*match_address(SIX, 64, source=True), verdict(NF_DROP)],
    "ip6 daddr fd00::5 return": [*match_address(SIX, source=False), verdict(NFT_RETURN)],
    "ip daddr 10.1.0.0/20 drop": [*match_address(FOUR, 20, source=False), verdict(NF_DROP)],
    'iifname "eth0" oifname != "cni0" counter packets 0 bytes 0 accept': [
        *match_device(NFT_META_IIFNAME, "eth0"),
        *match_device(NFT_META_OIFNAME, "cni0", NFT_CMP_NEQ), count(), verdict(NF_ACCEPT),
    ],
    "tcp dport 8080 accept": [*match_l4proto(6), *match_port(8080), verdict(NF_ACCEPT)],
    "udp sport 53 drop": [*match_l4proto(17), *match_port(53, source=True), verdict(NF_DROP)],
    "meta mark set 0x00002000": [load_value(MARK), store_meta(NFT_META_MARK)],
    "meta mark & 0x00002000 == 0x00002000 masquerade": [
        load_meta(NFT_META_MARK), mask(MARK), compare(MARK), masquerade(),
    ],
    "fib daddr type local accept": [
        load_fib(NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR), compare((2).to_bytes(4, byteorder)),
        verdict(NF_ACCEPT),
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", INET)
def test_rules_read_as_nft_writes_them(text: str, table: Callable[..., Table]) -> None:
    made = table()
    hook = {"hooknum": NF_INET_POST_ROUTING, "priority": NF_IP_PRI_NAT_SRC}
    made.nft.commit(
        [
            add_chain(made.at(name="base", type="nat", hook=hook)),
            append_rule(made.at("base"), INET[text]),
        ]
    )
    assert made.rules("base")[1:] == [text]
    # And nft takes its own text for the same program.
    made.netns.exec("nft", "add", "rule", "inet", "t", "base", *text.split())
    ours, theirs = made.nft.find_rules(NFPROTO_INET, "t", "base")
    assert shape(ours) == shape(theirs)


def shape(rule: Any) -> list[tuple[str, Any]]:
    return [(each["name"], each["data"]) for each in rule["expressions"]["elem"]]


def test_destination_nat(table: Callable[..., Table]) -> None:
    made = table(NFPROTO_IPV4, "ip")
    hook = {"hooknum": NF_INET_PRE_ROUTING, "priority": NF_IP_PRI_NAT_DST}
    made.nft.commit(
        [
            add_chain(made.at(name="base", type="nat", hook=hook)),
            append_rule(
                made.at("base"),
                [
                    *match_l4proto(6),
                    *match_port(8080),
                    load_value(FOUR, NFT_REG_1),
                    load_value((80).to_bytes(2, "big"), NFT_REG_2),
                    destination_nat(NFPROTO_IPV4, with_port=True),
                ],
            ),
            append_rule(made.at("base"), [load_value(FOUR), destination_nat(2)]),
        ]
    )
    assert made.rules("base")[1:] == ["tcp dport 8080 dnat to 10.1.2.5:80", "dnat to 10.1.2.5"]


def test_bridge_rules(table: Callable[..., Table]) -> None:
    made = table(NFPROTO_BRIDGE, "bridge")
    made.nft.commit(
        [append_rule(made.at("c"), [*match_ether_source("0a:00:00:00:00:01"), verdict(NF_DROP)])]
    )
    assert made.rules() == ["ether saddr 0a:00:00:00:00:01 drop"]


def test_order_comments_and_jumps(table: Callable[..., Table]) -> None:
    made = table()
    told = made.at("c", userdata=comment("why"))
    made.nft.commit(
        [
            add_chain(made.at(name="d", userdata=comment("of the chain"))),
            append_rule(told, [verdict(NFT_JUMP, "d")]),
            append_rule(made.at("c"), [verdict(NFT_GOTO, "d")]),
            insert_rule(made.at("c"), [verdict(NF_ACCEPT)]),
        ]
    )
    assert made.rules() == ["accept", 'jump d comment "why"', "goto d"]
    assert 'comment "of the chain"' in made.netns.exec("nft", "list", "table", "inet", "t")
    (rule,) = made.nft.find_rules(NFPROTO_INET, "t", "c", b"why")
    assert comment_of(rule["userdata"]) == "why"
    made.nft.commit([delete_rule(made.at("c", handle=rule["handle"]))])
    assert made.rules() == ["accept", "goto d"]
    made.nft.commit([delete_rule(made.at("c")), delete_chain(made.at(name="d"))])
    assert made.rules() == []


def test_sets(table: Callable[..., Table]) -> None:
    made = table()
    # As `nft` types them: 7 is an IPv4 address, 13 a port.
    members = made.at(set="s")
    elements = [{"key": {"value": pack_address(f"10.0.0.{n}")}} for n in range(1, 255)]
    made.nft.commit(
        [
            add_set(made.at(name="s", key_type=7, key_len=4, id=1)),
            add_elements(members, elements[:100]),
            add_elements(members, elements[100:]),
            append_rule(made.at("c"), [*match_address(FOUR, source=True)[:3], look_up("s")]),
        ]
    )
    assert made.rules() == ["ip saddr @s"]
    listed = json.loads(made.netns.exec("nft", "-j", "list", "set", "inet", "t", "s"))
    assert len(listed["nftables"][1]["set"]["elem"]) == 254
    made.nft.commit([delete_elements(members, elements[1:])])
    found = [
        element["key"]["value"]
        for message in made.nft.dump(dump_elements(NFPROTO_INET, "t", "s"))
        for element in message.get("elements", {}).get("elem", [])
    ]
    assert found == [pack_address("10.0.0.1")]
    made.nft.commit([delete_rule(made.at("c")), delete_set(made.at(name="s"))])
    with pytest.raises(NetlinkError) as caught:
        made.nft.commit([delete_set(made.at(name="s"))])
    assert caught.value.is_not_found


def test_all_or_nothing(table: Callable[..., Table]) -> None:
    made = table()
    with pytest.raises(NetlinkError) as caught:
        made.nft.commit(
            [
                append_rule(made.at("c"), [verdict(NF_ACCEPT)]),
                append_rule(made.at("c"), [verdict(NFT_JUMP, "nonesuch")]),
                append_rule(made.at("c"), [verdict(NF_DROP)]),
            ]
        )
    assert caught.value.is_not_found
    assert made.rules() == []
    made.nft.commit([append_rule(made.at("c"), [verdict(NF_DROP)])])
    assert made.rules() == ["drop"], "the socket is usable after a failure"
    made.nft.commit([])


def test_what_is_not_there(netns: Netns) -> None:
    with NftSocket(netns.fd) as nft:
        assert nft.find_rules(NFPROTO_INET, "none", "c") == []
        assert not nft.has_chain(NFPROTO_INET, "none", "c")
        with pytest.raises(NetlinkError) as caught:
            nft.commit([delete_table({"family": NFPROTO_INET, "name": "none"})])
        assert caught.value.is_not_found


def test_thousands_in_one_transaction_and_one_of_them_found(table: Callable[..., Table]) -> None:
    made = table()
    made.nft.commit(
        append_rule(made.at("c", userdata=comment(f"number {n},")), [verdict(NF_ACCEPT)])
        for n in range(3000)
    )
    (rule,) = made.nft.find_rules(NFPROTO_INET, "t", "c", b"number 2777,")
    assert comment_of(rule["userdata"]) == "number 2777,"
    assert len(made.nft.find_rules(NFPROTO_INET, "t", "c")) == 3000


def test_a_listing_while_others_write_is_whole(table: Callable[..., Table]) -> None:
    """Commits tear listings; whoever lists gets all rules all the same."""
    made = table()
    made.nft.commit(
        append_rule(made.at("c", userdata=comment("fixed")), [verdict(NF_ACCEPT)])
        for _ in range(200)
    )

    def write(_: int) -> None:
        with NftSocket(made.netns.fd) as nft:
            for _ in range(50):
                nft.commit([append_rule(made.at("c"), [verdict(NF_DROP)])])

    with ThreadPoolExecutor(2) as threads:
        writers = [threads.submit(write, n) for n in range(2)]
        while not all(writer.done() for writer in writers):
            assert len(made.nft.find_rules(NFPROTO_INET, "t", "c", b"fixed")) == 200
    assert len(made.nft.find_rules(NFPROTO_INET, "t", "c")) == 300


def test_chains_are_listed(table: Callable[..., Table]) -> None:
    made = table(NFPROTO_IPV6, "ip6")
    with NetlinkSocket(NETLINK_NETFILTER, made.netns.fd) as netlink:
        chains = netlink.dump(dump_chains(NFPROTO_IPV6))
    assert [(chain["table"], chain["name"]) for chain in chains] == [("t", "c")]


@pytest.mark.parametrize("text", ["", "c", "é" * 10, "x" * 500], ids=len)
def test_comments_come_back(text: str) -> None:
    data = comment(text)
    assert len(data) <= COMMENT_MAX_BYTES + 2
    assert comment_of(data) == text[: COMMENT_MAX_BYTES - 1]
    assert comment_of(b"\x05\x01a" + data) == text[: COMMENT_MAX_BYTES - 1]
    assert comment_of(b"") == comment_of(b"\x05\x01a") == ""
