"""Names of labs, pods and namespaces: what may be called so, and what is found again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.errors import ConfigError
from podway.lab.names import (
    check_lab_name,
    check_pod_name,
    namespace_of,
    node_name,
    node_number,
    parse_namespace,
)
from podway.lab.state import natural

LABS = st.from_regex(r"[a-z][a-z0-9]{0,14}", fullmatch=True)
MEMBERS = st.from_regex(r"[a-z][a-z0-9-]{0,29}", fullmatch=True)


@given(LABS, MEMBERS)
def test_a_namespace_names_its_lab_and_member(lab: str, member: str) -> None:
    assert parse_namespace(namespace_of(lab, member)) == (lab, member)


@pytest.mark.parametrize(
    "name", ["podway", "podway-", "podway-a", "cni-1234", "podway-A-n1", "podway-a-n1\n"]
)
def test_what_is_no_namespace_of_a_lab(name: str) -> None:
    assert parse_namespace(name) is None


@pytest.mark.parametrize("name", ["web", "p1", "db-0", "a" * 30])
def test_pod_names(name: str) -> None:
    assert check_pod_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "n1", "n250", "hub", "fabric", "Web", "-a", "a/b", "..", "a" * 31, "a\n"]
)
def test_names_that_no_pod_can_have(name: str) -> None:
    with pytest.raises(ConfigError):
        check_pod_name(name)


@pytest.mark.parametrize("name", ["Lab", "1a", "a_b", "a b", "a\n"])
def test_names_that_no_lab_can_have(name: str) -> None:
    with pytest.raises(ConfigError):
        check_lab_name(name)


@given(st.integers(1, 999))
def test_node_names(number: int) -> None:
    assert node_number(node_name(number)) == number


def test_names_sort_as_people_count() -> None:
    names = ["p10", "web", "p2", "p1", "db-2"]
    assert sorted(names, key=natural) == ["db-2", "p1", "p2", "p10", "web"]
