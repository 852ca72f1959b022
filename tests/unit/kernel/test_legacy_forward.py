"""Which prefixes a listing of iptables would drop."""

from ipaddress import ip_network

import pytest

from podway.kernel.legacy_forward import dropped_by

NET = ip_network("10.244.0.0/16")
OTHER = ip_network("10.9.0.0/16")
DROP = "-P FORWARD DROP"
BOTH_WAYS = ["-A FORWARD -s 10.244.0.0/16 -j ACCEPT", "-A FORWARD -d 10.244.0.0/16 -j ACCEPT"]
IN_CHAIN = ["-N MINE", *(line.replace("FORWARD", "MINE") for line in BOTH_WAYS)]
COMMENTED = [line.replace("-j", '-m comment --comment "podway\'s net" -j') for line in BOTH_WAYS]


@pytest.mark.parametrize(
    ("lines", "dropped"),
    [
        pytest.param(["-P FORWARD ACCEPT"], [], id="accepted by policy"),
        pytest.param([DROP], [NET, OTHER], id="dropped by policy"),
        pytest.param(["-A FORWARD -j REJECT --reject-with x"], [NET, OTHER], id="a rule rejects"),
        pytest.param(["-A FORWARD -s 192.0.2.1/32 -j DROP"], [], id="a rule about others"),
        pytest.param([DROP, "-A FORWARD -j ACCEPT"], [], id="all accepted"),
        pytest.param([DROP, *BOTH_WAYS], [OTHER], id="one allowed"),
        pytest.param([DROP, *COMMENTED], [OTHER], id="allowed, with a comment"),
        pytest.param([DROP, BOTH_WAYS[0]], [NET, OTHER], id="one way only"),
        pytest.param([DROP, f"{BOTH_WAYS[0][:-6]}LOG", BOTH_WAYS[1]], [NET, OTHER], id="logged"),
        pytest.param([DROP, *IN_CHAIN], [NET, OTHER], id="in a chain that nothing leads to"),
        pytest.param([DROP, *IN_CHAIN, "-A FORWARD -j MINE"], [OTHER], id="in a chain"),
        pytest.param(
            [DROP, *IN_CHAIN, "-A FORWARD -p tcp -j MINE"], [NET, OTHER], id="for some packets"
        ),
        pytest.param(
            [DROP, "-A FORWARD -s 10.0.0.0/8 -j ACCEPT", "-A FORWARD -d 10.0.0.0/8 -j ACCEPT"],
            [],
            id="a prefix that holds both",
        ),
        pytest.param(
            [DROP, "-A FORWARD -s 10.0.3.0/255.0.255.0 -j ACCEPT", *BOTH_WAYS],
            [OTHER],
            id="a mask that is no prefix",
        ),
        pytest.param(
            [DROP, '-A FORWARD -m comment --comment "one', 'two" -j ACCEPT', "", *BOTH_WAYS],
            [OTHER],
            id="a comment of two lines",
        ),
        pytest.param(
            [DROP, *(line.replace("-s", "-i eth0 -s") for line in BOTH_WAYS)],
            [NET, OTHER],
            id="by one device alone",
        ),
    ],
)
def test_what_is_dropped(lines: list[str], dropped: list[object]) -> None:
    assert dropped_by(lines, [NET, OTHER]) == dropped
