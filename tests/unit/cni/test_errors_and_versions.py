"""The protocol's error and its versions."""

import json

import pytest

from podway.cni.documents import encode
from podway.cni.errors import (
    INCOMPATIBLE_VERSION,
    INVALID_CONFIG,
    TRY_AGAIN_LATER,
    CniError,
    broken_rule,
    error_document,
)
from podway.cni.podway_conf import SUPPORTED_VERSIONS
from podway.cni.versions import ALL, check_version, render_version
from podway.errors import PodwayError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(
            CniError(TRY_AGAIN_LATER, "the agent is away"),
            '{"cniVersion":"1.0.0","code":11,"msg":"the agent is away"}',
            id="without details",
        ),
        pytest.param(
            CniError(7, 'name = "x"\n', "line 1"),
            '{"cniVersion":"1.0.0","code":7,"msg":"name = \\"x\\"\\n","details":"line 1"}',
            id="with details",
        ),
    ],
)
def test_error_json(error: CniError, text: str) -> None:
    assert encode(error_document(error, "1.0.0")) == text
    assert isinstance(error, PodwayError)


def test_a_hostile_value_is_not_shown_in_full() -> None:
    error = broken_rule("name", "x" * 100_000, "must be short")
    assert error.code == INVALID_CONFIG
    assert len(error.msg) < 300
    assert "100002 characters" in error.msg


def test_version_answers() -> None:
    assert json.loads(render_version(ALL)) == {
        "cniVersion": "1.1.0",
        "supportedVersions": ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    }
    assert SUPPORTED_VERSIONS == ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")


FIRST = {"ADD": "0.1.0", "DEL": "0.1.0", "CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}


@pytest.mark.parametrize("command", FIRST)
@pytest.mark.parametrize("version", ALL)
def test_commands_and_versions(command: str, version: str) -> None:
    if ALL.index(version) >= ALL.index(FIRST[command]):
        check_version(version, command, ALL)
        return
    with pytest.raises(CniError) as caught:
        check_version(version, command, ALL)
    assert caught.value.code == INCOMPATIBLE_VERSION


@pytest.mark.parametrize(
    "version", ["0.2.0", "1.2.0", "2.0.0", "1.0", "1.0.0 ", "v1.0.0", "", "01.0.0"]
)
def test_versions_match_exactly(version: str) -> None:
    with pytest.raises(CniError) as caught:
        check_version(version, "ADD", SUPPORTED_VERSIONS)
    assert caught.value.code == INCOMPATIBLE_VERSION
