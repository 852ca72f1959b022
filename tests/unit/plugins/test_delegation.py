"""Plugins that call another plugin: in this process their own, else an executable."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from podway.cni.errors import (
    DECODING_FAILURE,
    INCOMPATIBLE_VERSION,
    INTERNAL,
    INVALID_CONFIG,
    CniError,
)
from podway.plugins.delegation import (
    assign_addresses,
    delegate,
    delegate_add,
    ipam_type,
    pass_to_ipam,
    with_config,
)
from podway.plugins.install import install
from podway.plugins.undo import Undo
from unit.plugins.plugin_calls import call_of

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
