"""Masquerade as text: what iptables-restore is told, and what is found in a saved table."""

import pytest

from podway.plugins.masquerade import Masquerade, chain_name
from podway.plugins.masquerade_lines import compute_additions, compute_deletions
from podway.plugins.masquerade_nftables import instance_digest

DUAL = Masquerade(network="n", container_id="c", ifname="eth0", cidrs=("10.1.2.5/22", "fd00::5/64"))
COMMENT = r'-m comment --comment "name: \"n\" id: \"c\""'


def rules(wanted: Masquerade = DUAL) -> list[str]:
    chain = chain_name(wanted.network, wanted.container_id)
    return [
        f":{chain} - [0:0]",
        f"-A POSTROUTING -s 10.1.2.5/32 {COMMENT} -j {chain}",
        f"-A {chain} -d 10.1.0.0/22 {COMMENT} -j ACCEPT",
        f"-A {chain} ! -d 224.0.0.0/4 {COMMENT} -j MASQUERADE",
    ]


def test_a_new_chain() -> None:
    chain = chain_name("n", "c")
    assert compute_additions([], DUAL, 4) == [
        f":{chain} - [0:0]",
        f"-I {chain} -d 10.1.0.0/22 {COMMENT} -j ACCEPT",
        f"-A {chain} ! -d 224.0.0.0/4 {COMMENT} -j MASQUERADE",
        f"-A POSTROUTING -s 10.1.2.5/32 {COMMENT} -j {chain}",
    ]
    six = compute_additions([], DUAL, 6)
    assert f"-I {chain} -d fd00::/64 {COMMENT} -j ACCEPT" in six
    assert f"-A POSTROUTING -s fd00::5/128 {COMMENT} -j {chain}" in six
    assert f"-A {chain} ! -d ff00::/8 {COMMENT} -j MASQUERADE" in six


def test_what_is_there_is_not_written_again() -> None:
    assert compute_additions(rules(), DUAL, 4) == []
    without_accept = [line for line in rules() if "ACCEPT" not in line]
    (line,) = compute_additions(without_accept, DUAL, 4)
    assert line.endswith("-j ACCEPT")


def test_deletions() -> None:
    chain = chain_name("n", "c")
    jump = f"-D POSTROUTING -s 10.1.2.5/32 {COMMENT} -j {chain}"
    whole = [jump, f"-F {chain}", f"-X {chain}"]
    assert compute_deletions(rules(), DUAL, 4) == whole
    nameless = Masquerade(network="n", container_id="c", ifname="eth0")
    assert compute_deletions(rules(), nameless, 4) == whole, "without addresses: everything"
    other = f"-A POSTROUTING -s 10.1.2.6/32 {COMMENT} -j {chain}"
    assert compute_deletions([*rules(), other], DUAL, 4) == [jump], "another interface's stays"
    orphan = [line for line in rules() if "POSTROUTING" not in line]
    assert compute_deletions(orphan, DUAL, 4) == [f"-F {chain}", f"-X {chain}"]
    assert compute_deletions([], DUAL, 4) == []


@pytest.mark.parametrize(
    ("network", "container", "chain"),
    [
        # sha512("test1234") and sha512("testcontainerid"), first 24 digits.
        ("test", "1234", "CNI-2bbe0c48b91a7d1b8a6753a8"),
        ("testnet", "dummy", None),
    ],
)
def test_names_are_the_originals(network: str, container: str, chain: str | None) -> None:
    from hashlib import sha512  # noqa: PLC0415

    digest = sha512((network + container).encode()).hexdigest()
    assert chain_name(network, container) == (chain or f"CNI-{digest[:24]}")


def test_comments_of_nftables_are_the_originals() -> None:
    from hashlib import sha512  # noqa: PLC0415

    digests = (sha512(b"n").hexdigest()[:16], sha512(b"eth0:c").hexdigest()[:16])
    assert instance_digest(DUAL) == "-".join(digests)
