"""net-conf.json: every wrong value is refused with its field, the value and the rule."""

import json
from typing import Any

import pytest

from podway.errors import ConfigError
from podway.model.networks import parse_network

IPV4_ONLY = {"Network": "10.244.0.0/16"}
IPV6_ONLY = {"EnableIPv4": False, "EnableIPv6": True, "IPv6Network": "fd00:10:244::/48"}
DUAL = {**IPV4_ONLY, "EnableIPv6": True, "IPv6Network": "fd00:10:244::/48"}

TRUE_OR_FALSE = "must be true or false"
STRING = "must be a string"
IPV4_EXAMPLE = "must be an IPv4 prefix such as 10.244.0.0/16"
IPV6_EXAMPLE = "must be an IPv6 prefix such as fd00:10:244::/48"
ANY_EXAMPLE = "must be a prefix such as 10.244.0.0/16"
BACKENDS = "must be one of vxlan, host-gw, udp, ipip, wireguard, extension, alloc"
IPV4_BOUND = "must be the first address of a /24 subnet of 10.244.0.0/16"
IPV6_BOUND = "must be the first address of a /64 subnet of fd00:10:244::/48"


def vxlan(**keys: object) -> dict[str, Any]:
    return {**IPV4_ONLY, "Backend": {"Type": "vxlan", **keys}}


def wrong(document: dict[str, Any], field: str, value: object, rule: str, name: str) -> Any:
    return pytest.param(document, field, value, rule, id=name)


NOT_FLAGS: list[Any] = [1, 0, 1.0, "true", "", [], {}]


@pytest.mark.parametrize("value", [pytest.param(item, id=repr(item)) for item in NOT_FLAGS])
@pytest.mark.parametrize(
    "field",
    [
        "EnableIPv4",
        "EnableIPv6",
        "Masquerade",
        "Backend.GBP",
        "Backend.Learning",
        "Backend.DirectRouting",
        "Backend.TxChecksumOffload",
    ],
)
def test_a_flag_is_true_or_false(field: str, value: object) -> None:
    if field.startswith("Backend."):
        document = vxlan(**{field.removeprefix("Backend."): value})
    else:
        document = {**DUAL, field: value}
    assert refusal(document) == (field, value, TRUE_OR_FALSE)


NUMBERS: list[tuple[str, dict[str, Any], int, int]] = [
    ("SubnetLen", IPV4_ONLY, 18, 30),
    ("IPv6SubnetLen", IPV6_ONLY, 50, 126),
    ("Backend.VNI", IPV4_ONLY, 1, 16777215),
    ("Backend.Port", IPV4_ONLY, 0, 65535),
    ("Backend.MTU", IPV4_ONLY, 0, 65535),
]


@pytest.mark.parametrize(
    ("field", "base", "low", "high"), [pytest.param(*case, id=case[0]) for case in NUMBERS]
)
@pytest.mark.parametrize("what", ["too low", "too high", "huge", "text", "float", "flag", "list"])
def test_a_number_is_whole_and_in_bounds(
    field: str, base: dict[str, Any], low: int, high: int, what: str
) -> None:
    values: dict[str, Any] = {
        "too low": low - 1,
        "too high": high + 1,
        "huge": 10**30,
        "text": str(high),
        "float": float(high),
        "flag": True,
        "list": [high],
    }
    value = values[what]
    if field.startswith("Backend."):
        document = {**base, "Backend": {"Type": "vxlan", field.removeprefix("Backend."): value}}
    else:
        document = {**base, field: value}
    assert refusal(document) == (field, value, f"must be a whole number, {low} to {high}")


@pytest.mark.parametrize(
    ("document", "field", "value", "rule"),
    [
        wrong({}, "Network", None, "must be an IPv4 prefix while EnableIPv4 is true", "no Network"),
        wrong(
            {**IPV4_ONLY, "EnableIPv6": True},
            "IPv6Network",
            None,
            "must be an IPv6 prefix while EnableIPv6 is true",
            "no IPv6Network",
        ),
        wrong(
            {"EnableIPv4": False},
            field="EnableIPv4",
            value=False,
            rule="IPv4, IPv6 or both must be enabled",
            name="no family",
        ),
        wrong({"Network": 10}, "Network", 10, IPV4_EXAMPLE, "Network a number"),
        wrong({"Network": ["10.0.0.0/8"]}, "Network", ["10.0.0.0/8"], IPV4_EXAMPLE, "a list"),
        wrong({"Network": ""}, "Network", "", IPV4_EXAMPLE, "Network empty"),
        wrong({"Network": "10.0.0.0"}, "Network", "10.0.0.0", IPV4_EXAMPLE, "no length"),
        wrong({"Network": "10.0.0.0/8/8"}, "Network", "10.0.0.0/8/8", IPV4_EXAMPLE, "two lengths"),
        wrong(
            {"Network": "10.0.0.0/255.0.0.0"},
            "Network",
            "10.0.0.0/255.0.0.0",
            IPV4_EXAMPLE,
            "a netmask",
        ),
        wrong({"Network": "fd00::/48"}, "Network", "fd00::/48", IPV4_EXAMPLE, "IPv6 for IPv4"),
        wrong(
            {"Network": "10.0.0.1/8"},
            "Network",
            "10.0.0.1/8",
            f"{IPV4_EXAMPLE}: 10.0.0.1/8 has host bits set",
            "host bits",
        ),
        wrong(
            {"Network": "10.0.0.0/29"},
            "Network",
            "10.0.0.0/29",
            "must be /28 or larger",
            "no room for four subnets",
        ),
        wrong(
            {**IPV6_ONLY, "IPv6Network": "10.0.0.0/8"},
            "IPv6Network",
            "10.0.0.0/8",
            IPV6_EXAMPLE,
            "IPv4 for IPv6",
        ),
        wrong(
            {**IPV6_ONLY, "IPv6Network": "fd00::%eth0/48"},
            "IPv6Network",
            "fd00::%eth0/48",
            IPV6_EXAMPLE,
            "a zone",
        ),
        wrong(
            {**IPV6_ONLY, "IPv6Network": "fd00::/125"},
            "IPv6Network",
            "fd00::/125",
            "must be /124 or larger",
            "no room for four IPv6 subnets",
        ),
        wrong({**IPV4_ONLY, "SubnetMin": 1}, "SubnetMin", 1, IPV4_BOUND, "SubnetMin a number"),
        wrong({**IPV4_ONLY, "SubnetMin": "x"}, "SubnetMin", "x", IPV4_BOUND, "SubnetMin text"),
        wrong(
            {**IPV4_ONLY, "SubnetMin": "10.244.1.0/24"},
            "SubnetMin",
            "10.244.1.0/24",
            IPV4_BOUND,
            "SubnetMin with a length",
        ),
        wrong(
            {**IPV4_ONLY, "SubnetMin": "10.244.1.1"},
            "SubnetMin",
            "10.244.1.1",
            IPV4_BOUND,
            "SubnetMin not aligned",
        ),
        wrong(
            {**IPV4_ONLY, "SubnetMin": "fd00::"}, "SubnetMin", "fd00::", IPV4_BOUND, "other family"
        ),
        wrong(
            {**IPV4_ONLY, "SubnetMin": "10.243.1.0"},
            "SubnetMin",
            "10.243.1.0",
            "must lie in 10.244.0.0/16",
            "SubnetMin below the network",
        ),
        wrong(
            {**IPV4_ONLY, "SubnetMax": "10.245.0.0"},
            "SubnetMax",
            "10.245.0.0",
            "must lie in 10.244.0.0/16",
            "SubnetMax above the network",
        ),
        wrong(
            {**IPV4_ONLY, "SubnetMax": "10.244.1.128"},
            "SubnetMax",
            "10.244.1.128",
            IPV4_BOUND,
            "SubnetMax not aligned",
        ),
        wrong(
            {**IPV4_ONLY, "SubnetMin": "10.244.9.0", "SubnetMax": "10.244.8.0"},
            "SubnetMin",
            "10.244.9.0",
            "must not be above SubnetMax (10.244.8.0)",
            "bounds swapped",
        ),
        wrong(
            {**IPV6_ONLY, "IPv6SubnetMin": "fd00:10:244:1::1"},
            "IPv6SubnetMin",
            "fd00:10:244:1::1",
            IPV6_BOUND,
            "IPv6SubnetMin not aligned",
        ),
        wrong(
            {**IPV6_ONLY, "IPv6SubnetMax": "fd00:10:245::"},
            "IPv6SubnetMax",
            "fd00:10:245::",
            "must lie in fd00:10:244::/48",
            "IPv6SubnetMax above the network",
        ),
        wrong(
            {
                **IPV6_ONLY,
                "IPv6SubnetMin": "fd00:10:244:9::",
                "IPv6SubnetMax": "fd00:10:244:8::",
            },
            "IPv6SubnetMin",
            "fd00:10:244:9::",
            "must not be above IPv6SubnetMax (fd00:10:244:8::)",
            "IPv6 bounds swapped",
        ),
        wrong({**IPV4_ONLY, "Attach": 1}, "Attach", 1, STRING, "Attach a number"),
        wrong(
            {**IPV4_ONLY, "Attach": "macvlan"},
            "Attach",
            "macvlan",
            'must be "bridge" or "routed"',
            "Attach unknown",
        ),
        wrong(
            {**IPV4_ONLY, "NonMasqueradeCIDRs": "192.0.2.0/24"},
            "NonMasqueradeCIDRs",
            "192.0.2.0/24",
            "must be a list of prefixes",
            "exemptions no list",
        ),
        wrong(
            {**IPV4_ONLY, "NonMasqueradeCIDRs": ["192.0.2.0/24", "192.0.2.1"]},
            "NonMasqueradeCIDRs[1]",
            "192.0.2.1",
            ANY_EXAMPLE,
            "exemption without length",
        ),
        wrong(
            {**IPV4_ONLY, "NonMasqueradeCIDRs": [None]},
            "NonMasqueradeCIDRs[0]",
            None,
            ANY_EXAMPLE,
            "exemption null",
        ),
        wrong(
            {**IPV4_ONLY, "NonMasqueradeCIDRs": ["fe80::%x; flush ruleset/64"]},
            "NonMasqueradeCIDRs[0]",
            "fe80::%x; flush ruleset/64",
            ANY_EXAMPLE,
            "exemption that carries nft's language",
        ),
        wrong(
            {**IPV4_ONLY, "Backend": "vxlan"},
            "Backend",
            "a string",
            "must be an object",
            "no object",
        ),
        wrong({**IPV4_ONLY, "Backend": {}}, "Backend.Type", "", BACKENDS, "no Type"),
        wrong({**IPV4_ONLY, "Backend": {"Type": 1}}, "Backend.Type", 1, STRING, "Type a number"),
        wrong(
            {**IPV4_ONLY, "Backend": {"Type": "Gre"}}, "Backend.Type", "Gre", BACKENDS, "Type gre"
        ),
        wrong(vxlan(MTU=575), "Backend.MTU", 575, "must be 0 or at least 576", "MTU too small"),
    ],
)
def test_wrong_values(document: dict[str, Any], field: str, value: object, rule: str) -> None:
    assert refusal(document) == (field, value, rule)


def refusal(document: dict[str, Any]) -> tuple[str, object, str]:
    with pytest.raises(ConfigError) as caught:
        parse_network(json.dumps(document))
    error = caught.value
    assert str(error) == f"{error.field} = {error.value!r}: {error.rule}"
    return error.field, error.value, error.rule


def test_of_a_value_without_end_its_beginning_is_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_network(json.dumps({"Network": "1" * 1_000_000}))
    assert str(caught.value).startswith("Network = '1111")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b'{"Network": "10.0.0.0/8"} x', id="something behind"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
        pytest.param(b'{"Network": "\xff"}', id="no UTF-8 in a string"),
        pytest.param(b'{"Network": "\\ud800"}', id="half a surrogate pair"),
        pytest.param('{"Network": "\ud800"}', id="text that has no UTF-8"),
        pytest.param(b"[" * 100_000, id="nested without end"),
        pytest.param(b'{"a":' * 100_000, id="objects nested without end"),
        pytest.param(b'{"SubnetLen": 1e400}', id="number out of range"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"10.0.0.0/8"', id="a string"),
    ],
)
def test_text_that_is_no_json_object(text: bytes | str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_network(text)
    assert caught.value.field == "net-conf.json"
    assert isinstance(caught.value.value, str)
    assert len(caught.value.value) <= 60


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"Backend":{"PSK":"hunter2"', id="cut off"),
        pytest.param('{"Backend":"{\\"PSK\\":\\"hunter2\\"}"}', id="an object as a text"),
        pytest.param('{"Backend":[{"PSK":"hunter2"}]}', id="a list"),
        pytest.param('["hunter2"]', id="no object"),
    ],
)
def test_a_secret_is_shown_wherever_it_stands_to_nobody(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_network(text)
    assert "hunter2" not in str(caught.value)
