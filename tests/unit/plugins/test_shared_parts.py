"""What plugins share: undoing, marks, orders, programs, delegation, and the process's edges."""

import importlib
import inspect
import json
import os
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
from podway.cni.results import Interface, Result, result_document
from podway.errors import ConfigError
from podway.netlink.errors import NetlinkError
from podway.plugins.delegation import (
    assign_addresses,
    delegate,
    delegate_add,
    ipam_type,
    pass_to_ipam,
    with_config,
)
from podway.plugins.install import install
from podway.plugins.lingering import LinkDeletion
from podway.plugins.marks import MAX_MARK_BYTES, attachment_mark, network_mark
from podway.plugins.orders import ordered_ips
from podway.plugins.previous import container_interface, required_previous_result
from podway.plugins.programs import find_program, run_program
from podway.plugins.registry import PLUGINS
from podway.plugins.skeleton import OnDemand, as_cni_error
from podway.plugins.sysctls import read_sysctl, write_sysctl
from podway.plugins.undo import Undo, attempt_all
from unit.plugins.plugin_calls import call_of

# --- commands -----------------------------------------------------------------------------------


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


# --- undo ---------------------------------------------------------------------------------------


def test_undo_goes_backwards_and_tells_what_it_could_not() -> None:
    done: list[str] = []

    def fails() -> None:
        done.append("fails")
        raise OSError(5, "no")

    def add() -> None:
        with Undo() as undo:
            undo.push(done.append, "one")
            undo.push(fails)
            undo.push(done.append, "three")
            raise ValueError("first")

    with pytest.raises(ValueError, match="first") as caught:
        add()
    assert done == ["three", "fails", "one"]
    assert len(caught.value.__notes__) == 1


def test_undo_does_nothing_after_success() -> None:
    done: list[str] = []
    with Undo() as undo:
        undo.push(done.append, "never")
    assert done == []


def test_attempt_all_does_every_step_and_raises_the_first_error() -> None:
    done: list[str] = []

    def fail(text: str) -> None:
        done.append(text)
        raise ValueError(text)

    with pytest.raises(ValueError, match="one") as caught:
        attempt_all(lambda: fail("one"), lambda: done.append("two"), lambda: fail("three"))
    assert done == ["one", "two", "three"]
    assert caught.value.__notes__ == ["and: three"]


# --- marks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "container"),
    [("net", "c1"), ("n" * 300, "c1"), ("net", "c" * 300), ("n" * 300, "c" * 300)],
)
def test_marks_fit_and_tell_apart(network: str, container: str) -> None:
    mark = attachment_mark(network, container, "eth0")
    assert len(mark) <= MAX_MARK_BYTES
    assert mark.startswith(network_mark(network))
    others = {
        attachment_mark(network, container, "eth1"),
        attachment_mark(network, f"{container}x", "eth0"),
        attachment_mark(f"{network}x", container, "eth0"),
    }
    assert len(others | {mark}) == 4
    assert not mark.startswith(network_mark(f"{network}x"))


# --- what is asked for --------------------------------------------------------------------------


@pytest.mark.parametrize("ips", ["10.1.0.1", [1], ["10.1.0.1/33"], ["x"], [None]])
def test_addresses_that_are_none(ips: object) -> None:
    with pytest.raises(CniError) as caught:
        ordered_ips(call_of({"runtimeConfig": {"ips": ips}}).request)
    assert caught.value.code == INVALID_CONFIG


def test_previous_result() -> None:
    with pytest.raises(CniError) as caught:
        required_previous_result(call_of({}, "CHECK").request)
    assert caught.value.code == INVALID_CONFIG
    result = Result(interfaces=(Interface(name="eth0", sandbox="/run/netns/other"),))
    told = call_of({"prevResult": result_document(result, "1.0.0")}, "CHECK").request
    assert required_previous_result(told) == result
    with pytest.raises(CniError) as caught:
        container_interface(result, told)
    assert caught.value.code == INVALID_CONFIG


# --- kernel parameters --------------------------------------------------------------------------


def test_sysctls_stay_below_proc_sys() -> None:
    assert read_sysctl("kernel/ostype") == "Linux"
    for path in ("../version", "net//ipv4", "net/./ipv4", "", "/etc/passwd", "kernel/ostype\0"):
        with pytest.raises(ValueError, match="no path"):
            read_sysctl(path)
        with pytest.raises(ValueError, match="no path"):
            write_sysctl(path, "1")


# --- programs -----------------------------------------------------------------------------------


def test_programs_are_found_and_run(tmp_path: Path) -> None:
    assert find_program("nonesuch") is None
    assert find_program("sh", "/nonexistent:relative:/bin") == "/bin/sh"
    (tmp_path / "sh").mkdir()
    assert find_program("sh", str(tmp_path)) is None, "a directory is no program"
    shell = "/bin/sh"
    outcome = run_program(
        [shell, "-c", "cat; echo $WORD; echo no >&2; exit 3"], b"in", {"WORD": "w"}
    )
    assert (outcome.code, outcome.stdout, outcome.stderr) == (3, b"inw\n", b"no\n")
    assert outcome.complaint == "no"
    assert run_program([shell, "-c", "kill -9 $$"]).code == -9
    large = os.urandom(1 << 20)
    assert run_program(["/bin/cat"], large).stdout == large, "more than a pipe holds"
    with pytest.raises(FileNotFoundError):
        run_program([str(tmp_path / "nonesuch")])


# --- delegation ---------------------------------------------------------------------------------

SAID = {"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.5/24"}]}


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """Return a plugin of somebody else's: it notes its calls, and says what ``say`` says."""
    path = tmp_path / "theirs"
    path.write_text(
        f"#!/bin/sh\necho $CNI_COMMAND $CNI_IFNAME >> {tmp_path}/calls\ncat > {tmp_path}/stdin\n"
        f"cat {tmp_path}/say\n[ ! -e {tmp_path}/fail ]\n",
        encoding="utf-8",
    )
    path.chmod(0o755)
    (tmp_path / "say").write_text(json.dumps(SAID), encoding="utf-8")
    return tmp_path


def called(plugin: Path) -> list[str]:
    return (plugin / "calls").read_text(encoding="utf-8").split("\n")[:-1]


def theirs(plugin: Path, command: str = "ADD", **keys: Any) -> Any:
    return call_of({"ipam": {"type": "theirs"}, **keys}, command, CNI_PATH=f"/nonexistent:{plugin}")


def test_other_plugins_are_executed(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CNI_IFNAME", "eth7")
    import posix  # noqa: PLC0415

    monkeypatch.setitem(posix.environ, b"CNI_IFNAME", b"eth7")
    call = theirs(plugin)
    assert delegate_add(call, ipam_type(call)).ips[0].address == "10.1.0.5/24"
    pass_to_ipam(theirs(plugin, "CHECK"))
    pass_to_ipam(theirs(plugin, "STATUS"))
    assert called(plugin) == ["ADD eth7", "CHECK eth7", "STATUS eth7"]
    assert json.loads((plugin / "stdin").read_text())["ipam"] == {"type": "theirs"}, "the whole"


@pytest.mark.parametrize(
    ("said", "fails", "code"),
    [
        pytest.param('{"code": 11, "msg": "later", "details": "d"}', True, 11, id="its error"),
        pytest.param("segmentation fault", True, INTERNAL, id="no JSON"),
        pytest.param('{"code": "x"}', True, INTERNAL, id="no error"),
        pytest.param("", False, DECODING_FAILURE, id="nothing"),
        pytest.param('{"cniVersion": "9.9.9"}', False, DECODING_FAILURE, id="an odd version"),
    ],
)
def test_a_failed_add_is_followed_by_del(
    said: str,
    fails: bool,  # noqa: FBT001
    code: int,
    plugin: Path,
) -> None:
    (plugin / "say").write_text(said, encoding="utf-8")
    if fails:
        (plugin / "fail").touch()
    with pytest.raises(CniError) as caught:
        delegate_add(theirs(plugin), "theirs")
    assert caught.value.code == code
    assert [line.split()[0] for line in called(plugin)] == ["ADD", "DEL"]


def test_ipam_must_give_an_address_and_is_undone(plugin: Path) -> None:
    (plugin / "say").write_text('{"cniVersion": "1.0.0"}', encoding="utf-8")
    with pytest.raises(CniError) as caught, Undo() as undo:
        assign_addresses(theirs(plugin), "theirs", undo)
    assert caught.value.code == INTERNAL
    assert [line.split()[0] for line in called(plugin)] == ["ADD", "DEL"]


def test_own_plugins_are_called_in_this_process(tmp_path: Path) -> None:
    install(tmp_path, plugins=("static",))
    config = {"ipam": {"type": "static", "addresses": [{"address": "10.1.0.5/24"}]}}
    for path in (str(tmp_path), ""):
        call = call_of(config, CNI_PATH=path)
        assert delegate_add(call, "static").ips[0].address == "10.1.0.5/24"
    # What CNI_PATH has under the name decides, not the name.
    (tmp_path / "static").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    with pytest.raises(CniError) as caught:
        delegate_add(call_of(config, CNI_PATH=str(tmp_path)), "static")
    assert caught.value.code == INTERNAL


def test_unknown_plugins() -> None:
    with pytest.raises(CniError) as caught:
        delegate(call_of({}, "DEL"), "nonesuch")
    assert caught.value.code == INVALID_CONFIG


def test_with_config_delegates_another_configuration() -> None:
    call = with_config(call_of({}), {"cniVersion": "1.1.0", "name": "other", "type": "bridge"})
    assert (call.config.name, json.loads(call.stdin)["type"]) == ("other", "bridge")
    with pytest.raises(CniError) as caught:
        with_config(call_of({}), {"cniVersion": "0.4.0", "name": "other"})
    assert caught.value.code == INCOMPATIBLE_VERSION


# --- edges --------------------------------------------------------------------------------------


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


def test_a_device_that_is_not_there_is_deleted() -> None:
    LinkDeletion(0x7FFFFFFF).wait()
