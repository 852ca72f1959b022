"""The nftables table: golden files, and every body given to nft itself in a fresh namespace."""

import subprocess

import pytest

from golden_files import GOLDEN_ROOT, Golden
from podway.compute.forwarding import compute_forwarding, render_table
from podway.model.kernel import NftTable, Sysctl
from podway.model.networks import Network
from unit.compute.clusters import DUAL, IPV4, IPV6, network_of, node_of

CASES: dict[str, Network] = {
    "ipv4": network_of(),
    "ipv6": network_of(families=(IPV6,)),
    "dual": network_of(families=DUAL),
    "no-masquerade": network_of(families=DUAL, masquerade=False),
    "exempt-ipv4": network_of(non_masquerade=("192.0.2.0/24", "198.51.100.7/32")),
    "exempt-other-family": network_of(non_masquerade=("2001:db8::/32",)),
    "exempt-dual": network_of(
        families=DUAL, non_masquerade=("2001:db8::/32", "192.0.2.0/24", "fc00::/7")
    ),
    "exempt-overlapping": network_of(
        families=DUAL,
        non_masquerade=("10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8", "224.0.0.0/4", "ff00::/8"),
    ),
    "several-prefixes": network_of(
        families=DUAL,
        further=("10.99.0.0/16", "10.245.0.0/16", "fd00:99::/48"),
        non_masquerade=("192.0.2.0/24",),
    ),
    "exempt-everything": network_of(families=DUAL, non_masquerade=("0.0.0.0/0", "::/0")),
}


@pytest.mark.parametrize("name", list(CASES))
def test_golden(golden: Golden, name: str) -> None:
    network = CASES[name]
    golden(f"compute/nft/{name}.nft", render_table(network, node_of(network, 1)))


def test_every_golden_file_belongs_to_a_case() -> None:
    assert {path.stem for path in (GOLDEN_ROOT / "compute/nft").iterdir()} == set(CASES)


@pytest.mark.root
@pytest.mark.parametrize("name", list(CASES))
def test_nft_takes_it(name: str) -> None:
    """Checked first, as `nft -c` does; then loaded, since some errors come from the kernel only."""
    network = CASES[name]
    table = f"table inet podway {{\n{render_table(network, node_of(network, 1))}}}\n"
    checked = nft("-c", "-f", "-", text=table)
    assert checked.returncode == 0, checked.stderr
    loaded = nft("-f", "-", text=table)
    assert loaded.returncode == 0, loaded.stderr


@pytest.mark.root
def test_nft_would_notice_a_wrong_body() -> None:
    broken = "table inet podway {\nchain forward { ip saddr 10.0.0.0/33 accept\n}\n}\n"
    assert nft("-c", "-f", "-", text=broken).returncode != 0


def nft(*arguments: str, text: str) -> subprocess.CompletedProcess[str]:
    """Run nft in a network namespace that ends with it."""
    command = ["unshare", "--net", "nft", *arguments]
    return subprocess.run(command, input=text, text=True, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("families", "sysctls"),
    [
        pytest.param((IPV4,), [Sysctl("ipv4/ip_forward", "1")], id="IPv4"),
        pytest.param((IPV6,), [Sysctl("ipv6/conf/all/forwarding", "1")], id="IPv6"),
        pytest.param(
            DUAL,
            [Sysctl("ipv4/ip_forward", "1"), Sysctl("ipv6/conf/all/forwarding", "1")],
            id="dual stack",
        ),
    ],
)
def test_a_node_forwards_its_families_and_no_other(
    families: tuple[object, ...], sysctls: list[Sysctl]
) -> None:
    network = network_of(families=[family for family in DUAL if family in families])
    objects = compute_forwarding(network, node_of(network, 1))
    assert [item for item in objects if isinstance(item, Sysctl)] == sysctls
    assert [item.key.parts for item in objects if isinstance(item, NftTable)] == [
        ("inet", "podway")
    ]


def test_a_family_without_a_lease_is_not_masqueraded_but_accepted() -> None:
    network = network_of(families=DUAL)
    body = render_table(network, node_of(network, 1, families=(IPV4,)))
    assert "ip6 saddr fd00:10:244::/48 accept" in body
    assert "ip6 saddr fd00:10:244::/48 masquerade" not in body
    assert "ip saddr 10.244.0.0/16 masquerade" in body
