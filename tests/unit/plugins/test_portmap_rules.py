"""The rules that ``portmap`` computes, in the words of iptables, and connections to forget."""

from typing import Any

from podway.netlink.conntrack import delete_connection, destination_of, dump_connections, source_of
from podway.netlink.constants import AF_INET
from podway.plugins.iptables_lines import compute_lines, delete_own_chains, line_of
from podway.plugins.portmap_chains import chain_name, comment_text
from podway.plugins.portmap_conf import Publication
from podway.plugins.portmap_iptables import compute_plan, group_ports
from podway.plugins.portmap_legacy import compute_deletions
from podway.plugins.portmap_nftables import compute_rules, owner_of
from unit.plugins.publications import TCP, parse, publish

TEXT = r'-m comment --comment "dnat name: \"n\" id: \"c\""'
MARKS = '-m comment --comment "CNI portfwd masquerade mark"'
MASQUERADES = '-m comment --comment "CNI portfwd requiring masquerade"'
OWN = chain_name("n", "c")


def lines(wanted: Publication, family: int = 4) -> list[str]:
    return [line_of(rule) for rule in compute_plan(wanted, family).rules]


def test_rules() -> None:
    assert lines(publish()) == [
        "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        "-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        f"-A CNI-HOSTPORT-SETMARK {MARKS} -j MARK --set-xmark 0x2000/0x2000",
        "-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE",
        f"-A POSTROUTING {MASQUERADES} -j CNI-HOSTPORT-MASQ",
        f"-A CNI-HOSTPORT-DNAT -p tcp {TEXT} -m multiport --dports 8080 -j {OWN}",
        f"-A {OWN} -s 10.1.0.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK",
        f"-A {OWN} -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK",
        f"-A {OWN} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.5:80",
    ]
    assert lines(publish(snat=False), 6) == [
        "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        "-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        f"-A CNI-HOSTPORT-DNAT -p tcp {TEXT} -m multiport --dports 8080 -j {OWN}",
        f"-A {OWN} -p tcp -m tcp --dport 8080 -j DNAT --to-destination [fd00::5]:80",
    ]


def test_rules_with_more() -> None:
    wanted = publish(
        {**TCP, "hostIP": "192.0.2.1"},
        {**TCP, "hostIP": "::"},
        externalSetMarkChain="KUBE-MARK-MASQ",
        masqAll=True,
        conditionsV4=["!", "-d", "a b"],
    )
    assert lines(wanted)[2:] == [
        f'-A CNI-HOSTPORT-DNAT -p tcp {TEXT} -m multiport --dports 8080,8080 ! -d "a b" -j {OWN}',
        f"-A {OWN} -d 192.0.2.1/32 -p tcp -m tcp --dport 8080 -j KUBE-MARK-MASQ",
        f"-A {OWN} -d 192.0.2.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.5:80",
    ]


def test_names_are_the_originals() -> None:
    from hashlib import sha512  # noqa: PLC0415

    assert chain_name("net", "c1") == f"CNI-DN-{sha512(b'netc1').hexdigest()[:21]}"
    assert len(comment_text("n" * 200, "c" * 200)) == 256
    assert comment_text("n" * 200, "c" * 200).endswith("...")


def test_ports_by_protocol() -> None:
    mappings = parse(
        *({**TCP, "hostPort": n} for n in range(1, 18)), {**TCP, "protocol": "sctp"}
    ).mappings
    assert group_ports(mappings) == [
        ("sctp", (8080,)),
        ("tcp", tuple(range(1, 16))),
        ("tcp", (16, 17)),
    ]


def test_lines_write_only_what_is_missing() -> None:
    plan = compute_plan(publish(), 4)
    whole = compute_lines([], plan)
    assert whole[:4] == [
        ":CNI-HOSTPORT-SETMARK - [0:0]",
        ":CNI-HOSTPORT-MASQ - [0:0]",
        ":CNI-HOSTPORT-DNAT - [0:0]",
        f":{OWN} - [0:0]",
    ]
    # What goes first is written backwards.
    assert [line.split()[:2] for line in whole if line.startswith("-I")] == [
        ["-I", "CNI-HOSTPORT-DNAT"],
        ["-I", "POSTROUTING"],
    ]
    saved = [*whole[:4], *lines(publish())]
    assert compute_lines(saved, plan) == []
    stale = [line.replace("10.1.0.5:80", "10.1.0.9:80") for line in saved]
    assert compute_lines(stale, plan) == [
        f"-D {OWN} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.9:80",
        f"-A {OWN} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.5:80",
    ]


def test_legacy_deletions() -> None:
    saved = [f":{OWN} - [0:0]", *lines(publish())]
    entry = f"-D CNI-HOSTPORT-DNAT -p tcp {TEXT} -m multiport --dports 8080 -j {OWN}"
    whole = [entry, f"-F {OWN}", f"-X {OWN}"]
    assert compute_deletions(saved, publish(), 4) == whole
    assert delete_own_chains(saved, [OWN]) == whole
    assert compute_deletions([], publish(), 4) == []
    other = f"-A {OWN} -p tcp -m tcp --dport 81 -j DNAT --to-destination 10.1.0.6:80"
    target = f"-D {OWN} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.5:80"
    assert compute_deletions([*saved, other], publish(), 4) == [target]


def test_nftables_rules() -> None:
    wanted = publish({**TCP, "hostIP": "192.0.2.1"}, {**TCP, "hostIP": "::1"})
    assert [chain for chain, _ in compute_rules(wanted, 4)] == [
        "hostports",
        "masquerading",
        "masquerading",
    ]
    assert [chain for chain, _ in compute_rules(wanted, 6)] == ["hostports", "masquerading"]
    assert [chain for chain, _ in compute_rules(publish(snat=False), 4)] == ["hostports"]
    assert owner_of("n", "c", "eth0") != owner_of("n", "c", "eth1")
    assert owner_of("n", "c", "eth0")[:17] == owner_of("n", "d", "eth1")[:17]


def test_connections() -> None:
    tuple_orig = {
        "ip": {"v4_src": b"\x0a\0\0\1", "v4_dst": b"\x0a\0\0\2"},
        "proto": {"num": 17, "src_port": 4000, "dst_port": 53},
    }
    found: Any = {"family": AF_INET, "tuple_orig": tuple_orig, "id": 7, "status": 1}
    assert (source_of(tuple_orig), destination_of(tuple_orig)) == (b"\x0a\0\0\1", b"\x0a\0\0\2")
    assert (source_of({}), destination_of({})) == (b"", b"")
    request = delete_connection(found)
    assert request.describe(str) == "delete connection of protocol 17 to 10.0.0.2 port 53"
    assert request.fields == {"family": AF_INET, "tuple_orig": tuple_orig, "id": 7}
    keep = dump_connections(AF_INET, 17, 53).keep
    assert keep is not None
    assert keep(found)
    assert not keep({"tuple_orig": {"proto": {"num": 6, "dst_port": 53}}})
    assert not keep({"tuple_orig": {"proto": {"num": 17, "dst_port": 54}}})
