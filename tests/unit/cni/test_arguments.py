"""CNI_ARGS."""

import pytest

from podway.cni.arguments import POD_KEYS, check_known, parse_arguments
from podway.cni.errors import INVALID_ENVIRONMENT, CniError

OF_KUBELET = (
    "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;"
    "K8S_POD_INFRA_CONTAINER_ID=f00d;K8S_POD_UID=0-1"
)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        pytest.param("", {}, id="nothing"),
        pytest.param("IP=10.0.0.1", {"IP": "10.0.0.1"}, id="one"),
        pytest.param("A=;B=2", {"A": "", "B": "2"}, id="empty value"),
        pytest.param("A=1;a=2", {"A": "1", "a": "2"}, id="keys keep their case"),
        pytest.param("A=1;A=2", {"A": "2"}, id="the last wins"),
    ],
)
def test_parse_arguments(text: str, pairs: dict[str, str]) -> None:
    assert parse_arguments(text) == pairs


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("A", id="no equals sign"),
        pytest.param("A=1;", id="semicolon last"),
        pytest.param(";A=1", id="semicolon first"),
        pytest.param("A=1=2", id="two equals signs"),
        pytest.param("=1", id="no key"),
    ],
)
def test_parse_arguments_refuses(text: str) -> None:
    with pytest.raises(CniError) as caught:
        parse_arguments(text)
    assert caught.value.code == INVALID_ENVIRONMENT


def test_what_kubelets_runtimes_say_is_known() -> None:
    check_known(parse_arguments(OF_KUBELET), POD_KEYS)
    check_known(parse_arguments(OF_KUBELET.replace("IgnoreUnknown=1", "IgnoreUnknown=0")), POD_KEYS)


@pytest.mark.parametrize("yes", ["1", "true", "TRUE"])
def test_unknown_keys_pass_when_told_so(yes: str) -> None:
    check_known({"X": "1", "IgnoreUnknown": yes}, POD_KEYS)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"X": "1"}, id="not told so"),
        pytest.param({"X": "1", "IgnoreUnknown": "0"}, id="told otherwise"),
        pytest.param({"X": "1", "IgnoreUnknown": "yes"}, id="neither"),
        pytest.param({"IgnoreUnknown": "2"}, id="neither, nothing unknown"),
        pytest.param({"ip": "1"}, id="another case"),
    ],
)
def test_unknown_keys(arguments: dict[str, str]) -> None:
    with pytest.raises(CniError) as caught:
        check_known(arguments, (*POD_KEYS, "IP"))
    assert caught.value.code == INVALID_ENVIRONMENT
