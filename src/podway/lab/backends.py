"""How a lab configures each backend. Pure.

``extension`` has programs that write plain routes, as host-gw has them, and serves as the example
of such programs: `sh` is asked for by name, and finds the variables in its environment. For
``alloc`` the fabric plays the router that reads the leases.
"""

from typing import Any

from podway.lab.specs import LabSpec

# Both are run anew after any failure, so what is there already or gone already is no failure.
_ADD = (
    '[ -z "$SUBNET" ] || ip route replace "$SUBNET" via "$PUBLIC_IP"; '
    '[ -z "$IPV6SUBNET" ] || ip route replace "$IPV6SUBNET" via "$PUBLIC_IPV6"'
)
_REMOVE = (
    '[ -z "$SUBNET" ] || ip route flush exact "$SUBNET"; '
    '[ -z "$IPV6SUBNET" ] || ip -6 route flush exact "$IPV6SUBNET"'
)


def backend_document(spec: LabSpec) -> dict[str, Any]:
    """Return the object ``Backend`` of the lab's net-conf.json."""
    if spec.backend != "extension":
        return {"Type": spec.backend}
    return {
        "Type": "extension",
        "SubnetAddCommand": ["sh", "-ec", _ADD],
        "SubnetRemoveCommand": ["sh", "-ec", _REMOVE],
    }
