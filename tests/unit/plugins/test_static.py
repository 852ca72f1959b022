"""What static gives, and what it refuses."""

from typing import Any

import pytest

from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from podway.cni.results import Dns, Ip, Result, Route, result_document
from podway.plugins import static
from unit.plugins.plugin_calls import call_of

FOUR = {"address": "10.1.0.5/24", "gateway": "10.1.0.1"}
SIX = {"address": "FD00::0005/64"}


def add(ipam: Any, *, args: str = "", **keys: Any) -> Result:
    return static.add(call_of({"ipam": ipam, **keys}, CNI_ARGS=args))


def addresses(result: Result) -> list[tuple[str, str]]:
    return [(ip.address, ip.gateway) for ip in result.ips]


def test_everything() -> None:
    dns = {"nameservers": ["192.0.2.1"], "domain": "d", "search": ["s"], "options": ["o"]}
    routes = [{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1400, "advmss": 1360, "table": 7}]
    assert add({"addresses": [FOUR, SIX], "routes": routes, "dns": dns}) == Result(
        ips=(Ip(address="10.1.0.5/24", gateway="10.1.0.1"), Ip(address="fd00::5/64")),
        routes=(Route(dst="0.0.0.0/0", gw="10.1.0.1", mtu=1400, advmss=1360, table=7),),
        dns=Dns(nameservers=("192.0.2.1",), domain="d", search=("s",), options=("o",)),
    )


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        pytest.param({}, [("10.1.0.5/24", "10.1.0.1")], id="the configuration's"),
        pytest.param(
            {"args": "IP=10.9.0.9/24, fd00::9/64"},
            [("10.1.0.5/24", "10.1.0.1"), ("10.9.0.9/24", ""), ("fd00::9/64", "")],
            id="CNI_ARGS adds",
        ),
        pytest.param(
            {"args": "IP=10.9.0.9/24;GATEWAY=10.9.0.1,10.1.0.254"},
            [("10.1.0.5/24", "10.1.0.254"), ("10.9.0.9/24", "10.9.0.1")],
            id="gateways of CNI_ARGS by subnet",
        ),
        pytest.param(
            {"args": "IP=10.9.0.9/24", "runtimeConfig": {"ips": ["10.8.0.8/24"]}},
            [("10.8.0.8/24", "")],
            id="the runtime's replace all",
        ),
    ],
)
def test_who_asks(keys: dict[str, Any], expected: object) -> None:
    assert addresses(add({"addresses": [FOUR]}, **keys)) == expected


def test_args_cni_replaces_but_for_the_runtime() -> None:
    config = {"ipam": {"addresses": [FOUR]}, "args": {"cni": {"ips": ["10.7.0.7/24"]}}}
    assert addresses(static.add(call_of(config))) == [("10.7.0.7/24", "")]
    told = {**config, "runtimeConfig": {"ips": ["10.8.0.8/24"]}}
    assert addresses(static.add(call_of(told))) == [("10.8.0.8/24", "")]


REFUSED: dict[str, Any] = {
    "no ipam": None,
    "addresses is no array": {"addresses": FOUR},
    "an address is no object": {"addresses": ["10.1.0.5/24"]},
    "no address": {"addresses": [{}]},
    "without prefix length": {"addresses": [{"address": "10.1.0.5"}]},
    "prefix too long": {"addresses": [{"address": "10.1.0.5/33"}]},
    "gateway is none": {"addresses": [{**FOUR, "gateway": "10.1.0"}]},
    "gateway is a number": {"addresses": [{**FOUR, "gateway": 1}]},
    "route": {"addresses": [FOUR], "routes": [{}]},
    "dns is no object": {"addresses": [FOUR], "dns": []},
    "dns.search is no array": {"addresses": [FOUR], "dns": {"search": "a"}},
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("command", ["ADD", "STATUS"])
def test_refused(case: str, command: str) -> None:
    call = call_of({"ipam": REFUSED[case]}, command)
    with pytest.raises(CniError) as caught:
        (static.add if command == "ADD" else static.status)(call)
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize("args", ["IP=10.1.0.5", "IP=x/24", "GATEWAY=x", "FOO=1"])
def test_arguments_refused(args: str) -> None:
    with pytest.raises(CniError) as caught:
        add({"addresses": [FOUR]}, args=args)
    assert caught.value.code == INVALID_ENVIRONMENT


def test_old_versions_have_one_address_per_family() -> None:
    two = {"addresses": [FOUR, {"address": "10.2.0.5/24"}]}
    with pytest.raises(CniError) as caught:
        add(two, cniVersion="0.2.0")
    assert caught.value.code == INVALID_CONFIG
    assert len(add({"addresses": [FOUR, SIX]}, cniVersion="0.2.0").ips) == 2


def test_check_fails_where_nothing_matches() -> None:
    config = {"ipam": {"addresses": [FOUR, SIX]}}
    result = static.add(call_of(config))
    previous = result_document(result, "1.1.0")
    static.check(call_of({**config, "prevResult": previous}, "CHECK"))
    other = result_document(Result(ips=result.ips[:1]), "1.1.0")
    with pytest.raises(CniError) as caught:
        static.check(call_of({**config, "prevResult": other}, "CHECK"))
    assert caught.value.code == CHECK_FAILED
    with pytest.raises(CniError) as caught:
        static.check(call_of(config, "CHECK"))
    assert caught.value.code == INVALID_CONFIG
