"""Bad input, to every plugin of the registry: always an error of the protocol, and nothing done.

In: environments, standard inputs and configurations that are wrong in one respect each; of keys
those that a plugin's manual has. Out: the number that the specification gives to it. What is never
right: number 999 (a defect), a traceback, anything but JSON on standard output, anything left in
the kernel or on disk.
"""

import copy
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netns.conftest import Netns
from netns.plugins.cases import CASES, Caller, can_add, each_plugin, state, told
from netns.plugins.cni_runtime import Document, devices, link_of, with_previous
from netns.plugins.fork_server import Answer
from podway.cni.errors import (
    CHECK_FAILED,
    DECODING_FAILURE,
    INCOMPATIBLE_VERSION,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    INVALID_NETNS,
    IO_FAILURE,
    TRY_AGAIN_LATER,
    UNAVAILABLE,
    UNSUPPORTED_FIELD,
)
from podway.plugins.registry import PLUGINS

_MANUAL: Final = Path(__file__).parents[3] / "docs" / "reference" / "cni"

HOSTILE: Final = ["../x", "a/b", "a\nb", 'a"b', "a b", "a'b", "é", "\u202e", "-x", ".", ".."]
TOO_LONG: Final = "x" * 16


def _whole(config: Document, **keys: Any) -> bytes:
    return json.dumps({**config, **keys}).encode()


# Variables of the environment, and which number their being wrong has.
ENVIRONMENTS: Final[list[tuple[str, dict[str, Any], int]]] = [
    ("ADD", {"CNI_CONTAINERID": None}, INVALID_ENVIRONMENT),
    ("ADD", {"CNI_CONTAINERID": ""}, INVALID_ENVIRONMENT),
    ("ADD", {"CNI_NETNS": None}, INVALID_ENVIRONMENT),
    ("ADD", {"CNI_IFNAME": None}, INVALID_ENVIRONMENT),
    ("CHECK", {"CNI_NETNS": ""}, INVALID_ENVIRONMENT),
    ("DEL", {"CNI_CONTAINERID": None}, INVALID_ENVIRONMENT),
    ("DEL", {"CNI_IFNAME": None}, INVALID_ENVIRONMENT),
    ("GC", {"CNI_PATH": None}, INVALID_ENVIRONMENT),
    ("STATUS", {"CNI_PATH": ""}, INVALID_ENVIRONMENT),
    ("add", {}, INVALID_ENVIRONMENT),
    ("ADD ", {}, INVALID_ENVIRONMENT),
    ("../../x", {}, INVALID_ENVIRONMENT),
    ("ADD", {"CNI_ARGS": "a"}, INVALID_ENVIRONMENT),
    ("ADD", {"CNI_ARGS": "a=b=c"}, INVALID_ENVIRONMENT),
    ("ADD", {"CNI_ARGS": ";"}, INVALID_ENVIRONMENT),
    ("ADD", {"CNI_CONTAINERID": b"\xff"}, INVALID_ENVIRONMENT),
    ("ADD", {"CNI_IFNAME": b"eth\xff"}, INVALID_ENVIRONMENT),
    ("ADD", {"CNI_IFNAME": TOO_LONG}, INVALID_ENVIRONMENT),
    ("ADD", {"CNI_IFNAME": "eth%d"}, INVALID_ENVIRONMENT),
    ("ADD", {"CNI_IFNAME": "a:b"}, INVALID_ENVIRONMENT),
    *(("ADD", {"CNI_CONTAINERID": name}, INVALID_ENVIRONMENT) for name in HOSTILE),
    *(("DEL", {"CNI_CONTAINERID": name}, INVALID_ENVIRONMENT) for name in HOSTILE),
    *(
        ("ADD", {"CNI_IFNAME": name}, INVALID_ENVIRONMENT)
        for name in ("../x", "a/b", "a\nb", "a b", ".", "..")
    ),
]
# Changes of the configuration.
DOCUMENTS: Final[list[tuple[str, Document, int]]] = [
    ("ADD", {"name": None}, INVALID_CONFIG),
    ("ADD", {"name": ""}, INVALID_CONFIG),
    ("GC", {"name": "../x", "cni.dev/valid-attachments": []}, INVALID_CONFIG),
    *(("ADD", {"name": name}, INVALID_CONFIG) for name in HOSTILE),
    *(("DEL", {"name": name}, INVALID_CONFIG) for name in HOSTILE),
    ("ADD", {"name": 1}, DECODING_FAILURE),
    ("ADD", {"cniVersion": 1.0}, DECODING_FAILURE),
    ("ADD", {"prevResult": "x"}, DECODING_FAILURE),
    ("ADD", {"runtimeConfig": []}, DECODING_FAILURE),
    ("ADD", {"args": 1}, DECODING_FAILURE),
    ("ADD", {"args": {"cni": "x"}}, DECODING_FAILURE),
    ("ADD", {"type": {}}, DECODING_FAILURE),
    ("ADD", {"x": "\ud800"}, DECODING_FAILURE),
    ("ADD", {"cniVersion": "9.9.9"}, INCOMPATIBLE_VERSION),
    ("ADD", {"cniVersion": "1.1"}, INCOMPATIBLE_VERSION),
    ("ADD", {"cniVersion": "v1.0.0"}, INCOMPATIBLE_VERSION),
    ("CHECK", {"cniVersion": "0.3.1"}, INCOMPATIBLE_VERSION),
    ("GC", {"cniVersion": "1.0.0", "cni.dev/valid-attachments": []}, INCOMPATIBLE_VERSION),
    ("STATUS", {"cniVersion": "1.0.0"}, INCOMPATIBLE_VERSION),
    ("GC", {}, INVALID_CONFIG),
    ("GC", {"cni.dev/valid-attachments": "x"}, DECODING_FAILURE),
    ("GC", {"cni.dev/valid-attachments": [{}]}, INVALID_CONFIG),
    ("GC", {"cni.dev/valid-attachments": [{"containerID": 1}]}, DECODING_FAILURE),
]
STDINS: Final[list[tuple[bytes | None, int]]] = [
    (None, IO_FAILURE),
    (b"", DECODING_FAILURE),
    (b"{", DECODING_FAILURE),
    (b"[]", DECODING_FAILURE),
    (b"null", DECODING_FAILURE),
    (b'{"name":"net"}}', DECODING_FAILURE),
    (b'{"name":"\xff"}', DECODING_FAILURE),
    (b'{"name":"net","x":' + b"[" * 100_000, DECODING_FAILURE),
    (b'{"name":"net","x":"' + b"a" * (1 << 20) + b'"}', DECODING_FAILURE),
]


def refused(answer: Answer, *codes: int) -> None:
    """See that an answer is an error of the protocol with one of these numbers, and no more."""
    assert answer.code in codes, answer
    assert set(answer.document) - {"details"} == {"cniVersion", "code", "msg"}
    assert answer.stderr == ""


# `podway` asks its agent first, 2 s each time: `podway/test_calls.py` has a table of its own.
@each_plugin(with_daemons=True, on_any_kernel=True, but="podway")
def test_environments_and_documents(caller: Caller, before: Document) -> None:
    for command, variables, code in ENVIRONMENTS:
        refused(caller.call(command, **variables), code)
    for command, keys, code in DOCUMENTS:
        refused(caller.call(command, _whole(caller.config, **keys)), code)
    for path in ("/nonexistent", "/etc/hostname", "/", "relative", "/run/../\n"):
        if _goes_there(caller):
            refused(caller.call("ADD", CNI_NETNS=path), INVALID_NETNS)
    assert state(caller) == before


def _goes_there(caller: Caller) -> bool:
    """Tell whether the plugin opens the namespace: IPAM, portmap and firewall do not."""
    return caller.config["type"] not in {"host-local", "static", "portmap", "firewall"}


@each_plugin(with_daemons=True, on_any_kernel=True, but="podway")
def test_standard_input(caller: Caller, before: Document) -> None:
    for stdin, code in STDINS:
        name = caller.config["type"]
        for command in ("ADD", "DEL"):
            answer = caller.server.call(name, caller.environment(command), stdin)
            refused(answer, code)
    assert state(caller) == before


@pytest.mark.parametrize("plugin", [plugin.name for plugin in PLUGINS])
def test_ten_megabytes_through_a_pipe(plugin: str, executables: Path) -> None:
    """The executable reads no more than it takes to refuse, and whoever writes gets EPIPE."""
    environment = {
        "CNI_COMMAND": "DEL", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_PATH": "/x",
    }  # fmt: skip
    done = subprocess.run(
        [executables / plugin], input=b"x" * (10 << 20), env=environment, capture_output=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, DECODING_FAILURE)


# --- keys -------------------------------------------------------------------

HOSTILE_TEXT: Final = "../a\"b'\n; c"
# One of each kind; what a key's own values may be, the tests of its plugin say.
VALUES: Final[list[Any]] = [True, -1, 1 << 40, "", HOSTILE_TEXT, [1], {"a": 1}]
# For keys that most plugins pass over.
FEW_VALUES: Final[list[Any]] = [HOSTILE_TEXT, {"a": 1}]
COMMON_KEYS: Final[list[tuple[str, ...]]] = [
    ("dns",), ("ipam",), ("capabilities",), ("args",), ("runtimeConfig",),
    ("args", "cni", "ips"), ("args", "cni", "mac"), ("runtimeConfig", "mac"),
    ("runtimeConfig", "ips"), ("runtimeConfig", "ipRanges"), ("runtimeConfig", "bandwidth"),
    ("runtimeConfig", "portMappings"),
]  # fmt: skip
# What a wrong key may come to: refused, or refused by the kernel; flannel's file is elsewhere.
REFUSALS: Final = {
    INVALID_CONFIG, DECODING_FAILURE, UNSUPPORTED_FIELD, INVALID_ENVIRONMENT, IO_FAILURE,
    TRY_AGAIN_LATER,
}  # fmt: skip
# IPAM plugins do not ask whether they are the right ones.
PASSED_OVER: Final = {("ipam", "type")}
# Keys by which a plugin makes something that all containers share, and that stays.
LASTING: Final = {
    ("bridge", "bridge"), ("bridge", "vlan"), ("bridge", "vlanTrunk"),
    ("firewall", "iptablesAdminChainName"), ("firewall", "nftablesTable"),
    ("portmap", "externalSetMarkChain"), ("portmap", "markMasqBit"), ("portmap", "backend"),
}  # fmt: skip


def documented_keys(plugin: str) -> list[tuple[str, ...]]:
    """Return the paths of the keys in the first table of a plugin's manual."""
    text = (_MANUAL / f"{plugin}.md").read_text(encoding="utf-8")
    table = text.partition("\n| Key |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    names = [name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)]
    return [tuple(name.split(".")) for name in names]


def paths_in(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything in a configuration."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (key,)
        if isinstance(inner, dict | list):
            yield from ((key, *path) for path in paths_in(inner))


def changed(document: Document, path: tuple[Any, ...], value: Any) -> Document:
    """Return *document* with another value at *path*."""
    whole = copy.deepcopy(document)
    place: Any = whole
    for key in path[:-1]:
        place = place.setdefault(key, {}) if isinstance(place, dict) else place[key]
    place[path[-1]] = value
    return whole


def wrong_values(plugin: str, config: Document) -> Iterator[tuple[tuple[Any, ...], list[Any]]]:
    """Yield the path of what may be wrong in a plugin's configuration, with wrong values."""
    documented = documented_keys(plugin)
    if plugin in {"host-local", "static", "dhcp"}:
        documented = [("ipam", *path) for path in documented]
    else:
        assert documented or plugin in {"dummy", "loopback"}, "the manual has a table of keys"
        # The rest of it is host-local's.
        config = {**config, "ipam": {"type": "host-local"}} if "ipam" in config else config
    own = dict.fromkeys((*paths_in(config), *documented))
    # The protocol's own are what the tests before are about.
    paths = [path for path in own if path not in {("cniVersion",), ("name",), ("type",)}]
    # What a key may make that stays comes last.
    for path in sorted(paths, key=lambda path: (plugin, path[0]) in LASTING):
        yield path, VALUES
    for path in COMMON_KEYS:
        if path not in own:
            yield path, FEW_VALUES


@each_plugin(with_daemons=True, on_any_kernel=True)
def test_every_key_with_every_wrong_value(caller: Caller, before: Document) -> None:
    """It is refused or means something; then CHECK agrees, and DEL leaves nothing.

    What means something is of one type: a flag is no number, and a list no text.
    """
    name = caller.config["type"]
    asks, has_kernel = CASES[name].asks_daemon, can_add(caller)
    kept = devices(caller.runtime.host)
    has_lasting = False
    for path, values in wrong_values(name, caller.config):
        previous = caller.add_before()
        accepted: set[type] = set()
        for value in values:
            try:
                config = changed(caller.config, path, value)
            except (TypeError, KeyError, IndexError):
                continue  # below what is not there
            if asks:
                # What is found out before the daemon is asked, which takes 2 s for an ADD.
                refused(caller.call("STATUS", config), *REFUSALS, UNAVAILABLE)
            elif not has_kernel:
                refused(caller.call("ADD", told(config, previous)), *REFUSALS)
            elif _try(caller, told(config, previous), (path, value)):
                accepted.add(type(value))
                caller.delete()
                previous = caller.add_before()
        if not asks:
            caller.delete()
        _remove_bridges(caller.runtime.host, kept)
        has_lasting = has_lasting or (name, path[0]) in LASTING
        assert has_lasting or state(caller) == before, path
        assert len(accepted) <= 1 or path in PASSED_OVER or values is FEW_VALUES, (path, accepted)
    _check_nothing_of_the_container(caller)


def _try(caller: Caller, config: Document, what: object) -> bool:
    """Call ADD, and CHECK and DEL accordingly; tell whether ADD succeeded."""
    added = caller.call("ADD", config)
    if added.code:
        assert added.code in REFUSALS, (what, added)
    else:
        checked = caller.call("CHECK", with_previous(config, added.document))
        assert checked.code == 0, (what, added, checked)
    deleted = caller.call("DEL", config)
    assert deleted.code in ({0, *REFUSALS} if added.code else {0}), (what, added, deleted)
    answer = caller.call("STATUS", config)
    assert answer.code in {0, UNAVAILABLE, *REFUSALS}, (what, answer)
    return not added.code


# --- prevResult -------------------------------------------------------------

_WORDS: Final = st.sampled_from(
    ["eth0", "lo", "up0", "veth0", "", HOSTILE_TEXT, TOO_LONG, "10.1.0.2/24", "fd01::2/64", "::/0",
     "0.0.0.0/0", "10.1.0.1", "300.0.0.1", "1.1.0", "0.2.0", "0a:00:00:00:00:01", "/run/netns/x"]
)  # fmt: skip
_ANYTHING: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 1 << 33) | _WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_WORDS, inner, max_size=2),
    max_leaves=4,
)


@each_plugin()
def test_any_previous_result(caller: Caller) -> None:
    """A result in which something is not as a plugin left it: no defect, and DEL leaves nothing."""
    # The test before has made what stays.
    caller.delete(caller.add())
    before = state(caller)
    result = caller.add()
    paths = list(paths_in(result))

    @settings(
        max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(changes=st.lists(st.tuples(st.sampled_from(paths), _ANYTHING), min_size=1, max_size=3))
    def run(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
        lie = result
        for path, value in changes:
            try:
                lie = changed(lie, path, value)
            except (TypeError, KeyError, IndexError):
                continue  # below what is not there any more
        config = with_previous(caller.config, lie)
        for command in ("CHECK", "DEL", "DEL"):
            answer = caller.call(command, config)
            allowed = {0} if command == "DEL" else {0, CHECK_FAILED, IO_FAILURE, *REFUSALS}
            assert answer.code in allowed, (command, lie, answer)
        if not CASES[caller.config["type"]].needs_previous:
            return
        answer = caller.call("ADD", config)
        assert answer.code in {0, *REFUSALS}, (lie, answer)
        assert caller.call("DEL", config).code == 0

    run()
    caller.delete()
    assert state(caller) == before


def _remove_bridges(host: Netns, kept: set[str]) -> None:
    """Delete the bridges that calls have made, and what stands for their VLANs."""
    for device in devices(host) - kept:
        kind = link_of(host, device).get("linkinfo", {}).get("info_kind")
        assert kind in {"bridge", "veth"}, device
        if device in devices(host):
            host.ip("link", "delete", device)


def _check_nothing_of_the_container(caller: Caller) -> None:
    """See that nothing of the container is left, whatever else is."""
    rules = caller.runtime.host.exec("nft", "list", "ruleset")
    assert "10.1.0." not in rules
    assert "fd01::" not in rules
    assert "c1" not in re.sub(r"[0-9a-f]{16,}", "", rules)
