"""What is refused is named as the user typed it, with the value and the rule that it breaks."""

from collections.abc import Callable

import pytest

from podway.cli.main import main
from podway.lab.specs import LabSpec

WRONG_ARGUMENTS = 2


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        pytest.param("--nodes", 0, "up --nodes 0", id="no node"),
        pytest.param("--nodes", 251, "up --nodes 251", id="too many nodes"),
        pytest.param("--mtu", 1279, "up --mtu 1279", id="MTU"),
        pytest.param("--mtu", 1279, "demo --mtu 1279", id="MTU of the demo"),
        pytest.param(
            "--backend", "host-gw", "up --backend host-gw --routed-underlay", id="no next hop"
        ),
        pytest.param("--backend", "ipip", "up --backend ipip --dual", id="no IPv6"),
        pytest.param("--name", "A/b", "up --name A/b", id="name of a lab"),
        pytest.param("--name", "a-b", "down --name a-b", id="name of a lab to remove"),
        *(
            pytest.param("--name", "../x", f"{words} --name ../x", id=f"{words} of no lab")
            for words in ("status", "ping", "pod list", "fault heal", "node add")
        ),
        pytest.param(
            "--kube-apiserver", "/x", "up --kube-apiserver /x", id="API server of no Kubernetes"
        ),
        pytest.param("--size", -1, "ping --size -1", id="size"),
        pytest.param("--timeout", 0.0, "ping --timeout 0", id="timeout"),
        pytest.param("--streams", 0, "iperf n1 n2 --streams 0", id="streams"),
        pytest.param("--seconds", 0, "iperf n1 n2 --seconds 0", id="seconds"),
        pytest.param("--seconds", 0, "demo --seconds 0", id="seconds of the demo"),
        pytest.param("--count", 0, "pod add --count 0", id="no pod"),
        pytest.param("--count", 2, "pod add --name p --count 2", id="two pods, one name"),
        pytest.param("--network", "bogus", "pod add --network bogus", id="network"),
        pytest.param(
            "--network", "container:A", "pod add --network container:A", id="name of a joined pod"
        ),
        pytest.param("--publish", "80:80", "pod add --publish 80:80", id="nothing to publish"),
        pytest.param("--publish", "0:1", "pod add --network bridge --publish 0:1", id="port"),
        pytest.param("COMMAND", "", "exec p1 --", id="no command"),
    ],
)
def test_named_as_typed(
    option: str, value: object, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused(words, option, value, capsys)


def test_named_as_typed_in_a_lab_that_is_there(
    make_lab: Callable[..., LabSpec], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = make_lab(nodes=(1,)).name
    for words, option, value in (
        (f"--name {lab} pod add --name n1", "--name", "n1"),
        (f"fault delete-route n1 10.0.0.1/8 --name {lab}", "PREFIX", "10.0.0.1/8"),
    ):
        check_refused(words, option, value, capsys)


def check_refused(
    words: str, option: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lab", *words.split()]) == WRONG_ARGUMENTS
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"podway: {option} = {value!r}: ")
