"""What plugins alike take from a request: addresses that are asked for, and prevResult."""

import pytest

from podway.cni.errors import INVALID_CONFIG, CniError
from podway.cni.results import Interface, Result, result_document
from podway.plugins.orders import ordered_ips
from podway.plugins.previous import container_interface, required_previous_result
from unit.plugins.plugin_calls import call_of


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
