"""Keys of the dhcp plugin, right and wrong."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.dhcp_conf import DEFAULT_DHCP_SOCKET, DhcpConf, parse_dhcp_conf
from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from podway.cni.requests import Request, parse_config


def parse(ipam: Any, **args: str) -> DhcpConf:
    document = {"cniVersion": "1.1.0", "name": "net", "type": "macvlan", "ipam": ipam}
    request = Request(
        command="ADD",
        container_id="c1",
        netns="/run/netns/c1",
        netns_override=False,
        ifname="eth0",
        args=args,
        path="",
        config=parse_config(document, "ADD", ("1.1.0",)),
    )
    return parse_dhcp_conf(request)


def test_defaults() -> None:
    assert parse({"type": "dhcp"}) == DhcpConf(
        socket_path=DEFAULT_DHCP_SOCKET,
        requested=(3, 1),
        provided=(),
        priority=0,
        suppresses_gateway=False,
    )


@pytest.mark.parametrize(
    ("entries", "requested"),
    [
        pytest.param([{"option": "121"}, {"option": "domain-name-servers"}], (121, 6, 3, 1),
                     id="number and name, before the defaults"),
        pytest.param([{"option": "121", "skipDefault": True}], (121,), id="no defaults"),
        pytest.param([{"skipDefault": True}], (), id="nothing"),
        pytest.param([{"option": "3"}, {"option": "routers"}], (3, 1), id="none twice"),
        pytest.param([{"OPTION": "42"}], (42, 3, 1), id="keys match without case"),
    ],
)  # fmt: skip
def test_requested(entries: list[Any], requested: tuple[int, ...]) -> None:
    assert parse({"request": entries}).requested == requested


@pytest.mark.parametrize(
    ("entries", "provided"),
    [
        pytest.param([{"option": "host-name", "value": "pod"}], {12: b"pod"}, id="value"),
        pytest.param([{"option": "12", "fromArg": "K8S_POD_NAME"}], {12: b"web-0"}, id="argument"),
        pytest.param([{"option": "12", "value": "pod", "fromArg": "K8S_POD_NAME"}],
                     {12: b"web-0"}, id="argument before value"),
        pytest.param([{"option": "12", "value": "pod", "fromArg": "NONE"}], {12: b"pod"},
                     id="no such argument"),
        pytest.param([{"option": "12", "fromArg": "NONE"}], {}, id="nothing to provide"),
        pytest.param([{"option": "12", "value": "a"}, {"option": "host-name", "value": "b"}],
                     {12: b"b"}, id="the last one counts"),
        pytest.param([{"option": "user-class", "value": "ü"}], {77: "ü".encode()}, id="UTF-8"),
        pytest.param([{"option": "dhcp-client-identifier", "value": "me"}], {61: b"me"}, id="id"),
        pytest.param([{"option": "43", "value": "x" * 255}], {43: b"x" * 255}, id="longest"),
    ],
)  # fmt: skip
def test_provided(entries: list[Any], provided: dict[int, bytes]) -> None:
    assert dict(parse({"provide": entries}, K8S_POD_NAME="web-0").provided) == provided


def test_the_rest() -> None:
    conf = parse({"daemonSocketPath": "/run/d.sock", "priority": 50, "suppress": ["gateway"]})
    assert (conf.socket_path, conf.priority, conf.suppresses_gateway) == ("/run/d.sock", 50, True)


@pytest.mark.parametrize(
    "ipam",
    [
        pytest.param(None, id="no ipam"),
        pytest.param("dhcp", id="ipam is a string"),
        pytest.param({"daemonSocketPath": "run/d.sock"}, id="relative path"),
        pytest.param({"daemonSocketPath": "/" + "d" * 108}, id="long path"),
        pytest.param({"daemonSocketPath": "/a\0b"}, id="zero byte in path"),
        pytest.param({"daemonSocketPath": 1}, id="path is a number"),
        pytest.param({"request": {}}, id="request is an object"),
        pytest.param({"request": ["3"]}, id="request of strings"),
        pytest.param({"request": [{"option": 3}]}, id="option is a number"),
        pytest.param({"request": [{"option": "no-such"}]}, id="no such name"),
        pytest.param({"request": [{"option": "256"}]}, id="too large"),
        pytest.param({"request": [{"option": "0"}]}, id="padding"),
        pytest.param({"request": [{"option": "255"}]}, id="end"),
        pytest.param({"request": [{"option": "53"}]}, id="message type"),
        pytest.param({"request": [{"option": "-1"}]}, id="negative"),
        pytest.param({"request": [{"option": "٣"}]}, id="another script's digit"),
        pytest.param({"request": [{"option": "3", "skipDefault": "true"}]}, id="skipDefault"),
        pytest.param({"provide": {}}, id="provide is an object"),
        pytest.param({"provide": [{}]}, id="no option"),
        pytest.param({"provide": [{"option": "12", "value": 1}]}, id="value is a number"),
        pytest.param({"provide": [{"option": "12", "value": "x" * 256}]}, id="value too long"),
        pytest.param({"provide": [{"option": "12", "value": "ü" * 128}]}, id="long as UTF-8"),
        pytest.param({"provide": [{"option": "12", "value": "\ud800"}]}, id="no UTF-8"),
        pytest.param({"provide": [{"option": "12", "fromArg": 1}]}, id="fromArg is a number"),
        pytest.param({"provide": [{"option": "54", "value": "x"}]}, id="server"),
        pytest.param({"priority": "1"}, id="priority is a string"),
        pytest.param({"priority": -1}, id="priority is negative"),
        pytest.param({"priority": 1 << 31}, id="priority is too large"),
        pytest.param({"suppress": "gateway"}, id="suppress is a string"),
        pytest.param({"suppress": ["dns"]}, id="suppress what nobody knows"),
    ],
)
def test_refused(ipam: Any) -> None:
    with pytest.raises(CniError) as refused:
        parse(ipam)
    assert refused.value.code in {INVALID_CONFIG, 6}


@pytest.mark.parametrize("value", ["x" * 256, "\ud800", ""])
def test_arguments_that_no_option_can_hold(value: str) -> None:
    with pytest.raises(CniError) as refused:
        parse({"provide": [{"option": "12", "fromArg": "HOST"}]}, HOST=value)
    assert refused.value.code == INVALID_ENVIRONMENT


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=20),
    st.lists(
        st.one_of(
            st.text(max_size=3),
            st.dictionaries(
                st.sampled_from(["option", "value", "fromArg", "skipDefault"]),
                st.one_of(st.none(), st.booleans(), st.text(max_size=9), st.sampled_from(["12"])),
            ),
        ),
        max_size=3,
    ),
)


@given(
    st.dictionaries(
        st.sampled_from(["daemonSocketPath", "request", "provide", "priority", "suppress"]), VALUES
    )
)
def test_any_configuration(ipam: dict[str, Any]) -> None:
    try:
        conf = parse(ipam)
    except CniError as error:
        refusal = error
    else:
        assert all(0 < code < 255 for code in (*conf.requested, *dict(conf.provided)))
        return
    assert refusal.code in {INVALID_CONFIG, INVALID_ENVIRONMENT}
    assert refusal.msg.startswith("ipam.")
