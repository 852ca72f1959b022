"""The host end's name: a function of the key, unique, and short enough for the kernel."""

import re

import pytest

from podway.model.endpoints import EndpointKey, host_ifname

KEYS = [
    EndpointKey("podway", "c" * 64, "eth0"),
    EndpointKey("podway", "c" * 64, "eth1"),
    EndpointKey("podway", "c" * 63 + "d", "eth0"),
    EndpointKey("other", "c" * 64, "eth0"),
    EndpointKey("a", "bc", "d"),
    EndpointKey("ab", "c", "d"),
    EndpointKey("a", "b", "cd"),
    EndpointKey("netz-größe", "ü" * 200, "eth0"),
    EndpointKey("n" * 300, "c" * 300, "i" * 15),
]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_a_name_fits_and_is_the_same_every_time(key: EndpointKey) -> None:
    name = host_ifname(key)
    assert name == host_ifname(EndpointKey(key.network, key.container_id, key.ifname))
    assert re.fullmatch("pw[0-9a-f]{11}", name)


def test_no_two_keys_share_a_name() -> None:
    assert len({host_ifname(key) for key in KEYS}) == len(KEYS)


def test_a_name_never_changes_between_releases() -> None:
    # An agent that was upgraded has to find the host ends that its predecessor made.
    assert host_ifname(EndpointKey("podway", "0123456789abcdef", "eth0")) == "pw3a8d52289e2"


def test_a_key_is_short_when_people_read_it() -> None:
    assert str(EndpointKey("podway", "0123456789abcdef", "eth0")) == "podway/0123456789ab/eth0"
