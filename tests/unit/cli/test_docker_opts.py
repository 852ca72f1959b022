"""subnet.env in the words of the Docker daemon."""

from pathlib import Path

import pytest

from podway.cli.main import main

ENV = (
    "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.7.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ={}\n"
)
SINGLE = (
    'DOCKER_OPT_BIP="--bip=10.1.7.1/24"\nDOCKER_OPT_IPMASQ="--ip-masq={}"\n'
    'DOCKER_OPT_MTU="--mtu=1450"\n'
)
ALL = '{}=" --bip=10.1.7.1/24 --ip-masq=false --mtu=1450"\n'


@pytest.mark.parametrize(
    ("masq", "words", "text"),
    [
        ("true", "", SINGLE.format("false") + ALL.format("DOCKER_OPTS")),
        ("false", "-i", SINGLE.format("true")),
        ("true", "-c", ALL.format("DOCKER_OPTS")),
        ("true", "-c -k OPTS", ALL.format("OPTS")),
        ("true", "-c -m", 'DOCKER_OPTS=" --bip=10.1.7.1/24 --mtu=1450"\n'),
    ],
)
def test_what_docker_is_told(tmp_path: Path, masq: str, words: str, text: str) -> None:
    source, target = tmp_path / "subnet.env", tmp_path / "docker.env"
    source.write_text(ENV.format(masq))
    assert main(["docker-opts", "-f", str(source), "-d", str(target), *words.split()]) == 0
    assert target.read_text() == text


@pytest.mark.parametrize("text", [None, "", "FLANNEL_SUBNET=10.1.7.1/24\n"])
def test_what_is_missing_is_named(
    tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "subnet.env"
    if text is not None:
        source.write_text(text)
    assert main(["docker-opts", "-f", str(source), "-d", "-"]) == 1
    assert str(source) in capsys.readouterr().err or text is not None


def test_what_cannot_be_read_or_written_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "subnet.env"
    source.write_text(ENV.format("true"))
    target = tmp_path / "none" / "docker.env"
    assert main(["docker-opts", "-f", str(source), "-d", str(target)]) == 1
    assert capsys.readouterr().err.startswith(f"podway: -d = '{target}'")
    source.write_bytes(b"\xff\xfe")
    assert main(["docker-opts", "-f", str(source), "-d", "-"]) == 1
    assert capsys.readouterr().err.startswith(f"podway: -f = '{source}'")
