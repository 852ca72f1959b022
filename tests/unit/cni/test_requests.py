"""Requests: what is read, every rule, and in which order rules are broken."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.errors import (
    DECODING_FAILURE,
    INCOMPATIBLE_VERSION,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    CniError,
)
from podway.cni.podway_conf import SUPPORTED_VERSIONS, parse_podway_conf
from podway.cni.requests import (
    ATTACHMENTS,
    REQUIRED,
    VALID_ATTACHMENTS,
    Attachment,
    parse_request,
)
from podway.cni.values import replace
from podway.cni.versions import ALL

ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "f00d-1",
    "CNI_NETNS": "/run/netns/pod",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=web",
    "CNI_PATH": "/opt/cni/bin:/usr/lib/cni",
}
CONFIG = {"cniVersion": "1.1.0", "name": "podway", "type": "podway"}
GC_CONFIG = {
    **CONFIG,
    "cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}],
}


def stdin(**keys: object) -> bytes:
    """Return the usual configuration with *keys* changed."""
    return json.dumps({**CONFIG, **keys}).encode()


def environment(**variables: str | None) -> dict[str, str]:
    """Return the usual environment with *variables* changed; None takes one away."""
    changed = {**ENVIRONMENT, **{f"CNI_{name}": value for name, value in variables.items()}}
    return {name: value for name, value in changed.items() if value is not None}


def refused(variables: dict[str, str], config: bytes, supported: tuple[str, ...] = ALL) -> CniError:
    """Return the error that the request gets."""
    with pytest.raises(CniError) as caught:
        parse_request(variables, config, supported)
    return caught.value


def test_a_whole_request() -> None:
    request = parse_request(
        environment(),
        stdin(
            runtimeConfig={"ips": ["10.0.0.5"]},
            args={"cni": {"mac": "0a:58:0a:00:00:05"}},
            prevResult={"cniVersion": "1.1.0"},
            mtu=1400,
        ),
    )
    assert (request.command, request.container_id, request.ifname) == ("ADD", "f00d-1", "eth0")
    assert (request.netns, request.netns_override) == ("/run/netns/pod", False)
    assert request.args == {"IgnoreUnknown": "1", "K8S_POD_NAME": "web"}
    assert request.path == "/opt/cni/bin:/usr/lib/cni"
    config = request.config
    assert (config.cni_version, config.name, config.type) == ("1.1.0", "podway", "podway")
    assert config.prev_result == {"cniVersion": "1.1.0"}
    assert config.runtime_config == {"ips": ["10.0.0.5"]}
    assert config.args_cni == {"mac": "0a:58:0a:00:00:05"}
    assert config.valid_attachments is None
    assert config.raw["mtu"] == 1400


def test_what_is_absent() -> None:
    request = parse_request(environment(ARGS=None, PATH=None), b'{"name":"n"}')
    assert (request.args, request.path) == ({}, "")
    config = request.config
    assert (config.cni_version, config.type, config.prev_result) == ("0.1.0", "", None)
    assert (config.runtime_config, config.args_cni) == ({}, {})


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(b'{"NAME":"n","CNIVERSION":"1.0.0","Prevresult":{"x":1}}', id="another case"),
        pytest.param(
            b'{"name":"m","cniVersion":"9","prevResult":{},'
            b'"Name":"n","cniversion":"1.0.0","prevresult":{"x":1}}',
            id="the last spelling wins",
        ),
        pytest.param(
            b'{"name":"n","cniVersion":"1.0.0","prevResult":{"x":1},'
            b'"type":null,"args":null,"runtimeConfig":null,"cni.dev/valid-attachments":null}',
            id="null counts as absent",
        ),
    ],
)
def test_keys_as_go_reads_them(config: bytes) -> None:
    parsed = parse_request(environment(), config).config
    assert (parsed.name, parsed.cni_version, parsed.prev_result) == ("n", "1.0.0", {"x": 1})


@pytest.mark.parametrize(("command", "variable"), [(c, v) for c in REQUIRED for v in REQUIRED[c]])
@pytest.mark.parametrize("given", [None, ""], ids=["missing", "empty"])
def test_required_variables(command: str, variable: str, given: str | None) -> None:
    variables = environment(COMMAND=command, **{variable.removeprefix("CNI_"): given})
    error = refused(variables, json.dumps(GC_CONFIG).encode())
    assert error.code == INVALID_ENVIRONMENT
    assert variable in error.msg


@pytest.mark.parametrize("command", ["ADD", "CHECK", "DEL", "GC", "STATUS"])
def test_nothing_else_is_required(command: str) -> None:
    required = {name: ENVIRONMENT[name] for name in REQUIRED[command]}
    variables = {"CNI_COMMAND": command, **required}
    request = parse_request(variables, json.dumps(GC_CONFIG).encode())
    assert request.command == command


def test_all_missing_variables_are_named_at_once() -> None:
    error = refused({"CNI_COMMAND": "ADD"}, stdin())
    assert all(name in error.msg for name in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"))


def test_del_without_a_namespace() -> None:
    assert parse_request(environment(COMMAND="DEL", NETNS=""), stdin()).netns == ""


def test_commands_about_the_network_name_no_attachment() -> None:
    request = parse_request(environment(COMMAND="STATUS", CONTAINERID="../x", IFNAME=""), stdin())
    assert (request.container_id, request.ifname, request.netns) == ("", "", "")


@pytest.mark.parametrize("value", ["1", "true", "TRUE", "True"])
def test_netns_override(value: str) -> None:
    assert parse_request(environment(NETNS_OVERRIDE=value), stdin()).netns_override


@pytest.mark.parametrize("value", ["", "0", "no", "yes", None])
def test_no_netns_override(value: str | None) -> None:
    assert not parse_request(environment(NETNS_OVERRIDE=value), stdin()).netns_override


@pytest.mark.parametrize(
    ("variables", "config", "code", "named"),
    [
        pytest.param({"COMMAND": "GET"}, {}, INVALID_ENVIRONMENT, "CNI_COMMAND", id="command"),
        pytest.param(
            {"COMMAND": "add"}, {}, INVALID_ENVIRONMENT, "CNI_COMMAND", id="command's case"
        ),
        pytest.param({"COMMAND": None}, {}, INVALID_ENVIRONMENT, "CNI_COMMAND", id="no command"),
        pytest.param(
            {"CONTAINERID": "a/b"}, {}, INVALID_ENVIRONMENT, "CONTAINERID", id="container"
        ),
        pytest.param({"IFNAME": "a" * 16}, {}, INVALID_ENVIRONMENT, "CNI_IFNAME", id="interface"),
        pytest.param({"ARGS": "a"}, {}, INVALID_ENVIRONMENT, "CNI_ARGS", id="arguments"),
        pytest.param({}, {"name": None}, INVALID_CONFIG, "name", id="no network name"),
        pytest.param({}, {"name": ""}, INVALID_CONFIG, "name", id="empty network name"),
        pytest.param({}, {"name": "a/b"}, INVALID_CONFIG, "name", id="network name"),
        pytest.param({}, {"name": 7}, DECODING_FAILURE, "name", id="network name's type"),
        pytest.param({}, {"cniVersion": 1}, DECODING_FAILURE, "cniVersion", id="version's type"),
        pytest.param({}, {"cniVersion": "1.2.0"}, INCOMPATIBLE_VERSION, "1.2.0", id="version"),
        pytest.param({}, {"type": []}, DECODING_FAILURE, "type", id="type's type"),
        pytest.param({}, {"prevResult": "x"}, DECODING_FAILURE, "prevResult", id="prevResult"),
        pytest.param(
            {}, {"runtimeConfig": []}, DECODING_FAILURE, "runtimeConfig", id="runtimeConfig"
        ),
        pytest.param({}, {"args": 1}, DECODING_FAILURE, "args", id="args"),
        pytest.param({}, {"args": {"cni": 1}}, DECODING_FAILURE, "args.cni", id="args.cni"),
        pytest.param(
            {"COMMAND": "CHECK"}, {"cniVersion": "0.3.1"}, INCOMPATIBLE_VERSION, "CHECK", id="CHECK"
        ),
        pytest.param(
            {"COMMAND": "GC"}, {"cniVersion": "1.0.0"}, INCOMPATIBLE_VERSION, "GC", id="GC in 1.0.0"
        ),
        pytest.param(
            {"COMMAND": "STATUS"},
            {"cniVersion": "1.0.0"},
            INCOMPATIBLE_VERSION,
            "STATUS",
            id="STATUS",
        ),
        pytest.param(
            {"COMMAND": "GC"}, {}, INVALID_CONFIG, "valid-attachments", id="GC without a list"
        ),
        pytest.param(
            {"COMMAND": "GC"},
            {"cni.dev/valid-attachments": {}},
            DECODING_FAILURE,
            "valid-attachments",
            id="GC with an object",
        ),
        pytest.param(
            {"COMMAND": "GC"},
            {"cni.dev/valid-attachments": ["a"]},
            DECODING_FAILURE,
            "valid-attachments[0]",
            id="GC with strings",
        ),
        pytest.param(
            {"COMMAND": "GC"},
            {
                "cni.dev/valid-attachments": [
                    {"containerID": "a", "ifname": "e"},
                    {"containerID": "b"},
                ]
            },
            INVALID_CONFIG,
            "valid-attachments[1]",
            id="GC with half an attachment",
        ),
    ],
)
def test_every_rule(
    variables: dict[str, str | None], config: dict[str, object], code: int, named: str
) -> None:
    error = refused(environment(**variables), stdin(**config))
    assert error.code == code
    assert named in error.msg


@pytest.mark.parametrize(
    ("variables", "config", "code"),
    [
        pytest.param({"IFNAME": ""}, b"{", INVALID_ENVIRONMENT, id="environment before JSON"),
        pytest.param({"COMMAND": "X"}, b"", INVALID_ENVIRONMENT, id="command before JSON"),
        pytest.param({}, b'{"name":"", "x"}', DECODING_FAILURE, id="JSON before name"),
        pytest.param(
            {}, b'{"name":"/","cniVersion":"7"}', INVALID_CONFIG, id="name before version"
        ),
        pytest.param(
            {"COMMAND": "GC"}, b'{"name":"n"}', INCOMPATIBLE_VERSION, id="version before list"
        ),
    ],
)
def test_order_of_rules(variables: dict[str, str], config: bytes, code: int) -> None:
    assert refused(environment(**variables), config).code == code


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_podway_refuses_versions_without_interfaces(version: str) -> None:
    error = refused(environment(), stdin(cniVersion=version), SUPPORTED_VERSIONS)
    assert error.code == INCOMPATIBLE_VERSION
    assert parse_request(environment(), stdin(cniVersion=version)).config.cni_version == version


@pytest.mark.parametrize(
    ("keys", "attachments"),
    [
        pytest.param(
            {"cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}]},
            (Attachment(container_id="a", ifname="eth0"),),
            id="one",
        ),
        pytest.param({"cni.dev/valid-attachments": []}, (), id="none"),
        pytest.param({"cni.dev/valid-attachments": None}, (), id="null, Go's empty list"),
        pytest.param(
            {"cni.dev/attachments": [{"containerID": "a", "ifname": "eth0"}]},
            (Attachment(container_id="a", ifname="eth0"),),
            id="libcni's second key",
        ),
        pytest.param(
            {"cni.dev/valid-attachments": [], "cni.dev/attachments": [{"containerID": "a"}]},
            (),
            id="the first key counts",
        ),
    ],
)
def test_valid_attachments(keys: dict[str, object], attachments: tuple[Attachment, ...]) -> None:
    request = parse_request(environment(COMMAND="GC"), stdin(**keys))
    assert request.config.valid_attachments == attachments


def test_requests_are_values() -> None:
    request = parse_request(environment(), stdin())
    assert request == parse_request(environment(), stdin())
    assert replace(request, command="DEL") != request


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
keys = st.sampled_from(
    (
        *("cniVersion", "name", "type", "prevResult", "runtimeConfig", "args", "attach", "mtu"),
        *("agentSocket", "Name", "CNIVERSION", VALID_ATTACHMENTS, ATTACHMENTS),
    )
)
configs = st.dictionaries(keys, json_values | st.sampled_from(["podway", *ALL]), max_size=6)
variables = st.dictionaries(
    st.sampled_from([*ENVIRONMENT, "CNI_NETNS_OVERRIDE"]),
    st.text(max_size=12) | st.sampled_from([*REQUIRED, *ENVIRONMENT.values(), "IP=10.0.0.1"]),
)


@given(variables, configs.map(lambda config: json.dumps(config).encode()) | st.binary(max_size=40))
def test_fuzz_whole_requests(changes: dict[str, str], config: bytes) -> None:
    """Whatever comes, the outcome is a request or a CniError, never another exception."""
    try:
        request = parse_request({**ENVIRONMENT, **changes}, config, SUPPORTED_VERSIONS)
        parse_podway_conf(request)
    except CniError as error:
        assert error.code in {1, 4, 6, 7}  # noqa: PT017 - both outcomes are right
