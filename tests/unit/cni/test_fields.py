"""Typed reading of JSON objects."""

import pytest

from podway.cni.errors import DECODING_FAILURE, INVALID_CONFIG, CniError
from podway.cni.fields import Fields

DOCUMENT = {
    "name": "a",
    "mtu": 1400,
    "on": True,
    "dns": {"search": ["x", "y"]},
    "ips": [{"address": "10.0.0.1/24"}, {}],
    "nothing": None,
}


def test_reading() -> None:
    fields = Fields(DOCUMENT)
    assert fields.text("name") == "a"
    assert fields.integer("mtu") == 1400
    assert fields.integer_within("mtu", 68, 1400) == 1400
    assert fields.boolean("on") is True
    assert fields.mapping("dns") == {"search": ["x", "y"]}
    assert fields.fields("dns").texts("search") == ("x", "y")
    assert [each.text("address") for each in fields.each("ips")] == ["10.0.0.1/24", ""]


@pytest.mark.parametrize("key", ["absent", "nothing"])
def test_null_counts_as_absent(key: str) -> None:
    fields = Fields(DOCUMENT)
    assert fields.text(key) == ""
    assert fields.integer(key) is None
    assert fields.integer_within(key, 1, 2) is None
    assert fields.boolean(key) is False
    assert fields.boolean(key, default=True) is True
    assert fields.mapping(key) == {}
    assert fields.texts(key) == ()
    assert fields.each(key) == ()
    assert fields.has(key) is (key == "nothing")


@pytest.mark.parametrize(
    ("document", "key", "value"),
    [
        pytest.param({"CniVersion": "1"}, "cniVersion", "1", id="another case"),
        pytest.param({"name": "a", "NAME": "b"}, "name", "b", id="the last spelling wins"),
        pytest.param({"NAME": "b", "name": "a"}, "name", "a", id="also when it is the exact one"),
        pytest.param({"ip\u017f": "b"}, "ips", "b", id="long s"),
        pytest.param({"\u212aey": "b"}, "key", "b", id="Kelvin sign"),
    ],
)
def test_keys_match_without_case(document: dict[str, object], key: str, value: str) -> None:
    assert Fields(document).value(key) == value


@pytest.mark.parametrize(
    ("method", "key", "path"),
    [
        pytest.param("text", "mtu", "mtu = 1400", id="number for a string"),
        pytest.param("integer", "name", "name = 'a'", id="string for a number"),
        pytest.param("integer", "on", "on = True", id="boolean for a number"),
        pytest.param("boolean", "mtu", "mtu = 1400", id="number for a boolean"),
        pytest.param("mapping", "ips", "ips = [", id="array for an object"),
        pytest.param("texts", "dns", "dns = {", id="object for an array"),
        pytest.param("texts", "ips", "ips[0] = {", id="object in an array of strings"),
        pytest.param("each", "name", "name = 'a'", id="string for an array"),
    ],
)
def test_wrong_types(method: str, key: str, path: str) -> None:
    with pytest.raises(CniError) as caught:
        getattr(Fields(DOCUMENT), method)(key)
    assert caught.value.code == DECODING_FAILURE
    assert caught.value.msg.startswith(path)


@pytest.mark.parametrize(("least", "most"), [(0, 1399), (1401, 2000)])
def test_range(least: int, most: int) -> None:
    with pytest.raises(CniError, match=f"mtu = 1400: must be {least} to {most}"):
        Fields(DOCUMENT).integer_within("mtu", least, most)


def test_paths_and_codes_are_handed_down() -> None:
    fields = Fields({"ips": [{}, {"dns": {"search": ["a", 1]}}]}, "prevResult", INVALID_CONFIG)
    with pytest.raises(CniError) as caught:
        fields.each("ips")[1].fields("dns").texts("search")
    assert caught.value.code == INVALID_CONFIG
    assert caught.value.msg.startswith("prevResult.ips[1].dns.search[1] = 1: ")
    with pytest.raises(CniError, match=r"list\[1\] = 3"):
        Fields({"list": [{}, 3]}).each("list")
