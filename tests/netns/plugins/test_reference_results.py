"""Results in every version, with the reference implementation (Go, libcni) as the witness.

Its ``static`` plugin prints the addresses and routes of its configuration as a result, in the
version of its configuration, and touches nothing.
"""

import json
import subprocess
from pathlib import Path

import pytest

from podway.cni.results import Result, parse_result, render_result

STATIC = Path("/usr/lib/cni/static")

pytestmark = pytest.mark.skipif(
    not STATIC.exists(),
    reason="needs the reference plugins: apt-get install containernetworking-plugins",
)

FOUR = {"address": "10.0.0.5/24", "gateway": "10.0.0.1"}
SIX = {"address": "FD00:0::0005/64", "gateway": "fd00::1"}
ROUTES = [
    {"dst": "0.0.0.0/0", "gw": "10.0.0.1"},
    {"dst": "10.1.0.0/16"},
    {"dst": "FD01::/48", "gw": "fd00::1"},
]
DNS = {"nameservers": ["10.96.0.10"], "domain": "d", "search": ["a", "b"], "options": ["o"]}
CASES: dict[str, dict[str, object]] = {
    "dual stack, routes, dns": {"addresses": [FOUR, SIX], "routes": ROUTES, "dns": DNS},
    "IPv4 alone": {"addresses": [FOUR], "routes": ROUTES, "dns": {}},
    "IPv6 alone": {"addresses": [SIX], "dns": {}},
}


def reference(ipam: dict[str, object], version: str) -> dict[str, object]:
    """Return what the reference says in *version*."""
    config = {
        "cniVersion": version,
        "name": "n",
        "type": "static",
        "ipam": {"type": "static", **ipam},
    }
    done = subprocess.run(
        [STATIC],
        input=json.dumps(config),
        env={
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": "c",
            "CNI_NETNS": "/x",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/x",
        },
        check=True,
        capture_output=True,
        text=True,
    )
    document: dict[str, object] = json.loads(done.stdout)
    if version >= "1.0.0" and not document["dns"]:
        # Newer than Debian's: since libcni 1.2 an empty dns is left out.
        del document["dns"]
    return document


def result_of(ipam: dict[str, object]) -> Result:
    return parse_result(reference(ipam, "1.0.0"))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"])
def test_results_are_as_the_reference_says_them(case: str, version: str) -> None:
    said = reference(CASES[case], version)
    assert json.loads(render_result(result_of(CASES[case]), version)) == said
    assert json.loads(render_result(parse_result(said, version), version)) == said
