"""The edges of a plugin's process: its commands, environment, standard input and output."""

import importlib
import inspect
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from podway.cni.errors import (
    DECODING_FAILURE,
    INCOMPATIBLE_VERSION,
    INTERNAL,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    INVALID_NETNS,
    IO_FAILURE,
    CniError,
)
from podway.errors import ConfigError
from podway.netlink.errors import NetlinkError
from podway.plugins.install import install
from podway.plugins.registry import PLUGINS
from podway.plugins.skeleton import OnDemand, as_cni_error


def test_commands_that_are_loaded_on_demand_exist() -> None:
    commands = {
        f"{plugin.name} {field}": getattr(plugin, field)
        for plugin in (vars(importlib.import_module(each.module)).get("PLUGIN") for each in PLUGINS)
        if plugin is not None
        for field in ("add", "delete", "check", "gc", "status")
    }
    assert len(commands) == 5 * (len(PLUGINS) - 1), "all but podway itself"
    on_demand = {name: each for name, each in commands.items() if isinstance(each, OnDemand)}
    assert len(on_demand) > len(PLUGINS)
    for name, each in on_demand.items():
        assert list(inspect.signature(each.load()).parameters) == ["call"], name


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CniError(11, "later"), 11),
        (ConfigError("mtu", 1, "rule"), INVALID_CONFIG),
        (NetlinkError(1, "create link"), IO_FAILURE),
        (PermissionError(13, "no"), IO_FAILURE),
        (ZeroDivisionError("defect"), INTERNAL),
        (SystemExit("lost"), INTERNAL),
    ],
    ids=repr,
)
def test_errors_as_a_runtime_reads_them(error: BaseException, code: int) -> None:
    error.add_note("and could not undo: x")
    told = as_cni_error("bridge", error)
    assert (told.code, told.details) == (code, "and could not undo: x")


@pytest.fixture(scope="module")
def executables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of executables."""
    directory = tmp_path_factory.mktemp("cni")
    install(directory)
    return directory


USUAL = {
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/nonexistent",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/x",
}


STATIC = {
    "cniVersion": "1.1.0",
    "name": "net",
    "type": "static",
    "ipam": {"type": "static", "addresses": [{"address": "10.1.0.5/24"}]},
    "cni.dev/valid-attachments": [],
}


def execute(
    path: Path, command: str | None, stdin: bytes = json.dumps(STATIC).encode(), **variables: str
) -> tuple[int, Any, str]:
    """Return exit code, standard output as JSON, and standard error."""
    environment = {key: value for key, value in {**USUAL, **variables}.items() if value != "-"}
    if command is not None:
        environment["CNI_COMMAND"] = command
    done = subprocess.run([path], input=stdin, env=environment, capture_output=True, check=False)
    document = json.loads(done.stdout) if done.stdout else None
    return done.returncode, document, done.stderr.decode()


@pytest.mark.parametrize("plugin_name", ["static", "host-local", "bridge", "loopback"])
def test_version_and_about(plugin_name: str, executables: Path) -> None:
    code, document, _ = execute(executables / plugin_name, "VERSION", b"")
    assert code == 0
    assert document["supportedVersions"][::6] == ["0.1.0", "1.1.0"]
    for command in (None, ""):
        code, document, stderr = execute(executables / plugin_name, command, b"")
        assert (code, document) == (0, None)
        assert plugin_name in stderr


@pytest.mark.parametrize("command", ["DEL", "GC", "STATUS"])
def test_silence_is_success(command: str, executables: Path) -> None:
    assert execute(executables / "static", command) == (0, None, "")


BAD = [
    pytest.param({"CNI_CONTAINERID": "-"}, b"{}", INVALID_ENVIRONMENT, id="no container"),
    pytest.param({"CNI_CONTAINERID": "../x"}, b"{}", INVALID_ENVIRONMENT, id="a path as container"),
    pytest.param({"CNI_IFNAME": "a" * 16}, b"{}", INVALID_ENVIRONMENT, id="16 characters"),
    pytest.param({"CNI_IFNAME": "a/b"}, b"{}", INVALID_ENVIRONMENT, id="a path as interface"),
    pytest.param({"CNI_IFNAME": "a\nb"}, b"{}", INVALID_ENVIRONMENT, id="a line feed"),
    pytest.param({"CNI_NETNS": "-"}, b"{}", INVALID_ENVIRONMENT, id="no namespace"),
    pytest.param({}, b"", DECODING_FAILURE, id="no stdin"),
    pytest.param({}, b"{", DECODING_FAILURE, id="broken JSON"),
    pytest.param({}, b"[]", DECODING_FAILURE, id="no object"),
    pytest.param({}, b" " * (10 << 20), DECODING_FAILURE, id="10 MB"),
    pytest.param({}, b'{"name": "a/../b"}', INVALID_CONFIG, id="a path as network"),
    pytest.param({}, b'{"name": "a\\"b"}', INVALID_CONFIG, id="a quote in the network"),
    pytest.param(
        {}, b'{"name": "n", "cniVersion": "9.0.0"}', INCOMPATIBLE_VERSION, id="another version"
    ),
]


@pytest.mark.parametrize("plugin_name", ["static", "host-local", "bridge", "loopback"])
@pytest.mark.parametrize(("variables", "stdin", "number"), BAD)
def test_bad_input_in_the_order_of_the_specification(
    plugin_name: str, variables: dict[str, str], stdin: bytes, number: int, executables: Path
) -> None:
    code, document, _ = execute(executables / plugin_name, "ADD", stdin, **variables)
    assert (code, document["code"]) == (1, number)


def test_errors_bear_the_configurations_version(executables: Path) -> None:
    config = {**STATIC, "cniVersion": "0.4.0", "ipam": {}}
    config["ipam"] = {"type": "static", "addresses": [{}]}
    _, document, _ = execute(executables / "static", "ADD", json.dumps(config).encode())
    assert document["cniVersion"] == "0.4.0"


def test_a_namespace_that_is_none(executables: Path) -> None:
    config = json.dumps({**STATIC, "type": "bridge"}).encode()
    for path in ("/nonexistent", "/etc/hostname"):
        code, document, _ = execute(executables / "bridge", "ADD", config, CNI_NETNS=path)
        assert (code, document["code"]) == (1, INVALID_NETNS)


def test_closed_standard_output_is_a_failure(executables: Path) -> None:
    command = f"{executables / 'static'} >&-"
    environment = {**USUAL, "CNI_COMMAND": "ADD"}
    done = subprocess.run(
        ["/bin/sh", "-c", command], input=json.dumps(STATIC).encode(), env=environment, check=False
    )
    assert done.returncode == 1
