"""Names of containers, interfaces and networks."""

import pytest

from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from podway.cni.names import check_container_id, check_ifname, check_network_name

GOOD_IDENTIFIERS = ["a", "0", "pod-1", "A_b.c-9", "cnitool-77383ca0b0715733ca6f", "x" * 500]
BAD_IDENTIFIERS = [
    pytest.param("-a", id="hyphen first"),
    pytest.param(".a", id="dot first"),
    pytest.param("_a", id="underscore first"),
    pytest.param("a b", id="blank"),
    pytest.param("a/b", id="slash"),
    pytest.param("../../etc/passwd", id="path"),
    pytest.param("a\n", id="line feed last"),
    pytest.param("a\0", id="zero byte"),
    pytest.param("é", id="letter beyond ASCII"),
    pytest.param("\u0661", id="digit beyond ASCII"),
    pytest.param("a;b", id="semicolon"),
]


@pytest.mark.parametrize("name", GOOD_IDENTIFIERS)
def test_identifiers(name: str) -> None:
    check_container_id(name)
    check_network_name(name)


@pytest.mark.parametrize("name", BAD_IDENTIFIERS)
def test_bad_identifiers(name: str) -> None:
    with pytest.raises(CniError) as container:
        check_container_id(name)
    with pytest.raises(CniError) as network:
        check_network_name(name)
    assert container.value.code == INVALID_ENVIRONMENT
    assert network.value.code == INVALID_CONFIG


def test_a_network_has_a_name() -> None:
    with pytest.raises(CniError) as caught:
        check_network_name("")
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize("name", ["e", "eth0", "net1.5", "a" * 15, "-a", "...", "é" * 7])
def test_ifnames(name: str) -> None:
    check_ifname(name)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param("a" * 16, id="16 bytes"),
        pytest.param("é" * 8, id="8 characters of 2 bytes"),
        pytest.param(".", id="dot"),
        pytest.param("..", id="two dots"),
        pytest.param("a/b", id="slash"),
        pytest.param("a:b", id="colon"),
        pytest.param("a b", id="blank"),
        pytest.param("a\tb", id="tab"),
        pytest.param("a\0", id="zero byte"),
        pytest.param("a\n", id="line feed"),
        pytest.param("a\u00a0", id="no-break space"),
        pytest.param("eth%d", id="the kernel's pattern"),
    ],
)
def test_bad_ifnames(name: str) -> None:
    with pytest.raises(CniError) as caught:
        check_ifname(name)
    assert caught.value.code == INVALID_ENVIRONMENT
    assert "CNI_IFNAME" in caught.value.msg
